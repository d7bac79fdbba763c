"""Spectra: Fourier transforms as products with constant matrices, windows, mel filters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from snnconvert.conversion.capture.onnx.steps.call import SYMBOLIC, Call, Value, flat
from snnconvert.conversion.capture.onnx.steps.registry import operation
from snnconvert.conversion.capture.onnx.steps.types import NUMPY_TYPES, TORCH_TYPES

AXIS_BY_INPUT = 20  # from this opset on


def waves(length: int, sign: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines [time, frequency] of a transform of `length`."""
    angles = 2 * np.pi * (np.outer(np.arange(length), np.arange(length)) % length) / length
    return np.cos(angles), sign * np.sin(angles)


@operation("DFT")
def dft(call: Call) -> Tensor:
    """[..., 1 or 2 (real, imaginary)] over one axis; the result has both parts."""
    x, one_sided = call.tensor(0), bool(call.attribute("onesided", 0))
    if call.opset >= AXIS_BY_INPUT:
        axis = int(flat(call.host(2))[0]) if call.has(2) else -2
    else:
        axis = call.attribute("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    back = bool(call.attribute("inverse", 0))
    x = x.movedim(axis, -2)
    half = back and one_sided  # of the spectrum of a real signal
    length: Any = x.shape[-2] if not half else 2 * (x.shape[-2] - 1)
    length = call.ints(1)[0] if call.has(1) else length
    if isinstance(length, SYMBOLIC):
        call.refuse("its length is not fixed", "export the network with fixed shapes")
    found = _inverse_half(call, x, length) if half else _transformed(call, x, length, back)
    if one_sided and not back:
        found = found.narrow(-2, 0, length // 2 + 1)
    return found.movedim(-2, axis)


def _fitted(x: Tensor, length: int) -> Tensor:
    """[..., parts, length] with zeros behind, or cut."""
    return F.pad(x.transpose(-1, -2), (0, length - x.shape[-2]))


def _matrix(call: Call, role: str, array: np.ndarray) -> Tensor:
    return call.made(role, array.astype(NUMPY_TYPES[call.tensor(0).dtype]))


def _transformed(call: Call, x: Tensor, length: int, back: bool) -> Tensor:
    cosine, sine = waves(length, 1 if back else -1)
    scale = 1 / length if back else 1.0
    c, s = _matrix(call, "cosine", cosine * scale), _matrix(call, "sine", sine * scale)
    x = _fitted(x, length)
    real = x.select(-2, 0)
    found = real @ c, real @ s
    if x.shape[-2] > 1:
        imaginary = x.select(-2, 1)
        found = found[0] - imaginary @ s, found[1] + imaginary @ c
    return torch.stack(found, -1)


def _inverse_half(call: Call, x: Tensor, length: int) -> Tensor:
    """The real signal of which `x` is the first half of the spectrum."""
    cosine, sine = waves(length, 1)
    count = length // 2 + 1
    twice = np.full(count, 2.0)
    twice[0] = 1.0
    if length % 2 == 0:
        twice[-1] = 1.0
    weights = twice[:, None] / length
    x = _fitted(x, count)
    real = x.select(-2, 0) @ _matrix(call, "cosine", cosine[:count] * weights)
    imaginary = x.select(-2, 1) @ _matrix(call, "sine", sine[:count] * weights)
    return (real - imaginary).unsqueeze(-1)


@operation("STFT")
def stft(call: Call) -> Tensor:
    """[B, frames, frequencies, 2] of a signal [B, N] or [B, N, 1 or 2], without padding."""
    x = call.tensor(0)
    x = x.unsqueeze(-1) if x.ndim == 2 else x
    step = call.ints(1)[0]
    length = call.ints(3)[0] if call.has(3) else call.value(2).shape[0]
    cosine, sine = waves(length, -1)
    if call.attribute("onesided", 1):
        cosine, sine = cosine[:, : length // 2 + 1], sine[:, : length // 2 + 1]
    both = np.concatenate([cosine, sine], 1).T[:, None]
    if call.has(2):
        both = both * call.host(2)
    kernel = _matrix(call, "waves", both)
    found = F.conv1d(x.transpose(1, 2)[:, :1], kernel, stride=step)
    real, imaginary = found.chunk(2, 1)
    if x.shape[-1] > 1:
        other = F.conv1d(x.transpose(1, 2)[:, 1:], kernel, stride=step)
        real, imaginary = real - other.chunk(2, 1)[1], imaginary + other.chunk(2, 1)[0]
    return torch.stack([real, imaginary], -1).transpose(1, 2)


def window(name: str, shares: tuple[float, ...]) -> None:
    """File a sum of cosines."""

    def made(call: Call) -> Value:
        size = call.ints(0)[0]
        if isinstance(size, SYMBOLIC):
            call.refuse("its size is not fixed", "export the network with fixed shapes")
        period = size if call.attribute("periodic", 1) else size - 1
        angles = 2 * np.pi * np.arange(size) / max(period, 1)
        found = sum(share * np.cos(k * angles) for k, share in enumerate(shares))
        dtype = TORCH_TYPES[call.attribute("output_datatype", 1)]
        return np.asarray(found).astype(NUMPY_TYPES[dtype])

    operation(name, host=made)(made)


window("HannWindow", (0.5, -0.5))
window("HammingWindow", (25 / 46, -21 / 46))
window("BlackmanWindow", (0.42, -0.5, 0.08))


def mel_weights(call: Call) -> Value:
    """[bins of a spectrum, mel bins]: triangles that are equally wide in mel."""
    bins, length, rate = (int(flat(call.host(index))[0]) for index in range(3))
    low, high = (float(flat(call.host(index))[0]) for index in (3, 4))
    spectrum = length // 2 + 1
    ends = [2595 * math.log10(1 + edge / 700) for edge in (low, high)]
    step = (ends[1] - ends[0]) / (bins + 2)
    mel = np.arange(bins + 2) * step + ends[0]
    edges = (700 * (10 ** (mel / 2595) - 1) * (length + 1)) // rate
    edges = edges.astype(np.int64)
    found = np.zeros([spectrum, bins])
    at = np.arange(spectrum)
    for column in range(bins):
        lower, centre, upper = edges[column : column + 3]
        rising = (at >= lower) & (at <= centre)
        falling = (at >= centre) & (at < upper)
        found[rising, column] = (at[rising] - lower) / max(centre - lower, 1)
        if centre == lower:
            found[centre, column] = 1
        found[falling, column] = (upper - at[falling]) / max(upper - centre, 1)
    dtype = TORCH_TYPES[call.attribute("output_datatype", 1)]
    return found.astype(NUMPY_TYPES[dtype])


operation("MelWeightMatrix", host=mel_weights)(mel_weights)
