"""Several operations of the standard in one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from snnconvert.conversion.capture.onnx.operations.convolutions import conv, gemm
from snnconvert.conversion.capture.onnx.operations.quantised import Integers, numbers_of
from snnconvert.conversion.capture.onnx.operations.recurrent import function
from snnconvert.conversion.capture.onnx.steps.call import Call
from snnconvert.conversion.capture.onnx.steps.registry import operation

DOMAIN = "com.microsoft::"


class Without(Call):
    """A call that shows fewer inputs."""

    def __init__(self, call: Call, *hidden: int) -> None:
        super().__init__(call.step, call.values)
        self.hidden = hidden

    def has(self, index: int) -> bool:
        return index not in self.hidden and super().has(index)


def activated(call: Call, x: Tensor, parameters: list[float]) -> Tensor:
    """`x` behind the activation that a fused operation names."""
    name = call.attribute("activation", "")
    if not name:
        return x
    if name == "Clip":
        return x.clamp(parameters[0], parameters[1])
    a, b = [*parameters, None, None][:2]
    return function(name, a, b)(x)


@operation(f"{DOMAIN}FusedConv")
def fused_conv(call: Call) -> Tensor:
    """Inputs x, weight, bias, and what is added before the activation."""
    x = conv(Without(call, 3))
    x = x + call.tensor(3) if call.has(3) else x
    return activated(call, x, list(call.attribute("activation_params") or []))


@operation(f"{DOMAIN}FusedGemm")
def fused_gemm(call: Call) -> Tensor:
    names = ("activation_alpha", "activation_beta", "activation_gamma")
    given = [value for value in map(call.attribute, names) if value is not None]
    return activated(call, gemm(call), given)


@operation(f"{DOMAIN}FusedMatMul", f"{DOMAIN}TransposeMatMul")
def fused_matmul(call: Call) -> Any:
    a, b = call.tensor(0), call.tensor(1)
    if call.attribute("transBatchA", 0) or call.attribute("transBatchB", 0):
        call.refuse("moves batch axes behind", "export without onnxruntime's optimiser")
    a = a.transpose(-1, -2) if call.attribute("transA", 0) else a
    b = b.transpose(-1, -2) if call.attribute("transB", 0) else b
    scale = call.attribute("alpha", 1.0)
    return torch.matmul(a, b) * scale if scale != 1 else torch.matmul(a, b)


@operation(f"{DOMAIN}MatMulNBits")
def matmul_of_few_bits(call: Call) -> Tensor:
    """By a weight of 4 or 8 bits in blocks, each with a scale and, if not half way, a zero point.

    Inputs x, codes [N, blocks, bytes], scales, zero points, places of the inputs, bias.
    """
    bits, rows, length = (call.attribute(name) for name in ("bits", "N", "K"))
    if bits not in (4, 8) or call.has(4):
        call.refuse(f"has a weight of {bits} bits, or reordered ones", "quantise to 4 or 8 bits")

    def codes(array: np.ndarray) -> np.ndarray:
        if bits == 8:
            return array
        return np.stack([array & 15, array >> 4], -1).reshape(*array.shape[:-1], -1)

    scale = call.host(2).reshape(rows, -1, 1)
    zero = np.full_like(scale, 1 << (bits - 1))
    if call.has(3):
        given = call.host(3)
        zero = codes(given.reshape(rows, -1)) if given.dtype == np.uint8 else given
        zero = zero.reshape(rows, -1)[:, : scale.shape[1], None]

    def real(array: np.ndarray) -> np.ndarray:
        return numbers_of(codes(array), scale, zero).reshape(rows, -1)[:, :length]

    bias = call.tensor(5, "bias", trainable=True) if call.has(5) else None
    return F.linear(call.tensor(0), call.weight(1, "weight", real), bias)


def gelu(name: str, approximate: str) -> None:
    """File a GELU of a value and, where it is given, a bias."""

    @operation(f"{DOMAIN}{name}")
    def run(call: Call) -> Tensor:
        x = call.tensor(0)
        return F.gelu(x + call.tensor(1) if call.has(1) else x, approximate=approximate)


gelu("Gelu", "none")
gelu("BiasGelu", "none")
gelu("FastGelu", "tanh")


@operation(f"{DOMAIN}QuickGelu")
def quick_gelu(call: Call) -> Any:
    x = call.tensor(0)
    return x * torch.sigmoid(call.attribute("alpha", 1.702) * x)


def skip_norm(name: str, norm: Callable[[Call, Tensor, int], Tensor], bias: int) -> None:
    """File a sum of a block and what skips it, normalised; `bias` is the input that is added."""

    @operation(f"{DOMAIN}{name}")
    def run(call: Call) -> tuple[Tensor, ...]:
        total = call.tensor(0) + call.tensor(1)
        total = total + call.tensor(bias) if call.has(bias) else total
        unread = total.new_zeros([])  # statistics for training
        return norm(call, total, bias), unread, unread, total


def layer_normed(call: Call, x: Tensor, bias: int) -> Tensor:
    weight = call.tensor(2, "weight", trainable=True)
    shift = call.tensor(3, "bias", trainable=True) if bias != 3 and call.has(3) else None
    return F.layer_norm(x, weight.shape, weight, shift, call.attribute("epsilon", 1e-12))


def root_normed(call: Call, x: Tensor, _bias: int) -> Tensor:
    weight = call.tensor(2, "weight", trainable=True)
    return F.rms_norm(x, weight.shape, weight, call.attribute("epsilon", 1e-12))


skip_norm("SkipLayerNormalization", layer_normed, 4)
skip_norm("SkipSimplifiedLayerNormalization", root_normed, 3)


@operation(f"{DOMAIN}EmbedLayerNormalization")
def embedded(call: Call) -> tuple[Tensor, ...]:
    """Words, places and segments looked up, added, normalised; also the length of each mask."""
    words = call.tensor(0).to(torch.int64)
    places = call.tensor(8).to(torch.int64) if call.has(8) else torch.arange(words.shape[1])
    x = F.embedding(words, call.tensor(2, "words", True))
    x = x + F.embedding(places, call.tensor(3, "places", True))
    if call.has(4):
        x = x + F.embedding(call.tensor(1).to(torch.int64), call.tensor(4, "segments", True))
    weight, bias = call.tensor(5, "weight", True), call.tensor(6, "bias", True)
    found = F.layer_norm(x, weight.shape, weight, bias, call.attribute("epsilon", 1e-12))
    length = call.tensor(7).sum(1) if call.has(7) else words.new_zeros(words.shape[0])
    return found, length.to(torch.int32), x


@operation(f"{DOMAIN}QEmbedLayerNormalization")
def quantised_embedded(call: Call) -> Any:
    """The same of 8-bit tables; their scales begin at input 8, their zero points at 13."""
    seen = {index: call.tensor(index) for index in (0, 1, 7) if call.has(index)}
    for place, index in enumerate(range(2, 7)):
        if call.has(index):
            scale, zero = call.host(8 + place), call.host(13 + place)
            seen[index] = call.weight(
                index, f"table_{place}", functools.partial(numbers_of, scale=scale, zero=zero)
            )
    return embedded(Integers(call, seen))
