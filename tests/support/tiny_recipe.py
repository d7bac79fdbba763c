"""The recipe of a classifier so small that a test trains it in a second; images in `images/`."""

TINY_RECIPE = """
model = "resnet"
dataset = "folder"
data_root = "images"
image_size = 8
channels = 2
channel_mult = [1]
blocks = 1
classes = 2
levels = 3
batch_size = 4
warmup = 2
"""


def tiny_recipe(steps: int, quantized_steps: int, save_every: int) -> str:
    """TOML of it."""
    lengths = {"steps": steps, "quantized_steps": quantized_steps, "save_every": save_every}
    return TINY_RECIPE + "".join(f"{key} = {value}\n" for key, value in lengths.items())
