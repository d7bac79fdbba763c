"""Our own PyTorch operations: the quantised clip, weights of few bits, tables of thresholds."""
