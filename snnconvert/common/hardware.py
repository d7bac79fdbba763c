"""What this machine computes fastest: device, precision and memory format of a training."""

from __future__ import annotations

import torch

from snnconvert.errors import InputError

DEVICES = ("auto", "cpu", "cuda")


def choose_device(wanted: str) -> str:
    """ "cuda" or "cpu"; "auto" takes the GPU where there is one. InputError if it is not there."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("device: found 'cuda', but no GPU is available here; use 'auto' or 'cpu'")
    return ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted


def checked_device(name: str, local: int = 0) -> torch.device:
    """The device called "cpu", "cuda", "cuda:1", ...; "auto" is a GPU where there is one.

    Args:
        local: number of this process on its machine; each takes a GPU of its own.

    Raises:
        InputError: this machine has no such device.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if gpus else "cpu"
    if name == "cuda" and gpus:
        name = f"cuda:{local % gpus}"
    try:
        found = torch.device(name)
        if found.type not in ("cpu", "cuda"):
            raise RuntimeError("only cpu and cuda compute here")
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"device: found {name!r}, which cannot be used ({reason}); allowed are auto, cpu, "
            "cuda, cuda:0, ..."
        ) from error
    return found


def best_precision(device: str) -> str:
    """bfloat16 on a GPU that multiplies it, else float32.

    Of two processors with AVX-512-BF16, one trains in bfloat16 at 0.65 to 0.87 times the speed of
    float32, the other at 1.4 to 1.7 times (`benchmarks/training_speed.py`). A choice by stopwatch
    would make weights depend on what else the machine does, so the recipe says it: `precision`.
    """
    return "bfloat16" if device == "cuda" and torch.cuda.is_bf16_supported() else "float32"


def best_memory_format(device: str, precision: str) -> torch.memory_format:
    """channels_last in bfloat16 on a GPU, and in float32 on a CPU.

    On those processors, over the contiguous format: U-Net 1.06 to 1.14 times as fast, spiking
    U-Net 1.02 to 1.11 times, ResNet-20 0.85 to 0.87 times; in bfloat16 0.9 to 1.0 times.
    """
    faster = (precision == "bfloat16") == (device == "cuda")
    return torch.channels_last if faster else torch.contiguous_format
