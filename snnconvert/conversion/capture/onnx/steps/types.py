"""Element types of ONNX as those of PyTorch and numpy.

Half precisions are read as float32 and unsigned integers as wider signed ones, where PyTorch has
little for them.
"""

from __future__ import annotations

import numpy as np
import torch

TORCH_TYPES = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 4: torch.int32, 5: torch.int16,
    6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float32, 11: torch.float64,
    12: torch.int64, 13: torch.int64, 16: torch.float32, 17: torch.float32, 18: torch.float32,
    19: torch.float32, 20: torch.float32, 21: torch.uint8, 22: torch.int8, 23: torch.float32,
}  # fmt: skip
NUMPY_TYPES = {
    torch.float32: np.float32, torch.float64: np.float64, torch.uint8: np.uint8,
    torch.int8: np.int8, torch.int16: np.int16, torch.int32: np.int32, torch.int64: np.int64,
    torch.bool: np.bool_,
}  # fmt: skip
HALVES = (10, 16)


def known(array: np.ndarray, code: int) -> np.ndarray | None:
    """An array of the file as its own memory, in the type that stands for `code`; None: no such."""
    dtype = TORCH_TYPES.get(code)
    if dtype is None:
        return None
    return np.array(array, dtype=NUMPY_TYPES[dtype], copy=True, order="C")
