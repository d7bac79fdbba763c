"""From a module, or a file of `torch.export`, to a program."""
