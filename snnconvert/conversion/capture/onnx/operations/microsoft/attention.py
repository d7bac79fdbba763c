"""Attention as onnxruntime's optimiser for transformers writes it."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from snnconvert.conversion.capture.onnx.operations.attention import heads
from snnconvert.conversion.capture.onnx.steps.call import Call
from snnconvert.conversion.capture.onnx.steps.registry import operation

DOMAIN = "com.microsoft::"


@operation(f"{DOMAIN}Attention")
def packed_attention(call: Call) -> Any:
    """Queries, keys and values by one product; some keys are masked."""
    x, count = call.tensor(0), call.attribute("num_heads")
    if call.has(4) or call.attribute("do_rotary", 0):
        call.refuse("continues an earlier call", "export the network without a cache")
    weight = call.weight(1, "weight", lambda array: array.T)
    bias = call.weight(2, "bias") if call.has(2) else None
    sizes = list(call.attribute("qkv_hidden_sizes") or [weight.shape[0] // 3] * 3)
    parts = F.linear(x, weight, bias).split(sizes, -1)
    q, k, v = (part.unflatten(2, (count, -1)).transpose(1, 2) for part in parts)
    return attended(call, q, k, v, mask_at=3, added_at=5)


@operation(f"{DOMAIN}MultiHeadAttention")
def several_heads(call: Call) -> Any:
    """Queries [B, N, heads * D], keys and values so or by heads, each with its part of a bias."""
    if call.has(6) or call.has(7):
        call.refuse("continues an earlier call", "export the network without a cache")
    if not call.has(1) or not call.has(2) or call.tensor(0).ndim != 3:
        call.refuse("packs queries, keys and values", "optimise without packing them")
    parts, count = [call.tensor(index) for index in range(3)], call.attribute("num_heads")
    if call.has(3):
        sizes = [part.shape[2] if part.ndim == 3 else part.shape[1] * part.shape[3]
                 for part in parts]  # fmt: skip
        pieces = call.tensor(3, "bias", trainable=True).split(sizes)
        parts = [part + piece if part.ndim == 3 else part
                 for part, piece in zip(parts, pieces, strict=True)]  # fmt: skip
    q, k, v = (heads(part, count) for part in parts)
    found = attended(call, q, k, v, mask_at=4, added_at=5)
    return (found, k, v)[: len(call.node.outputs)]


def attended(call: Call, q: Tensor, k: Tensor, v: Tensor, mask_at: int, added_at: int) -> Tensor:
    """What the heads [B, heads, N, D] see, side by side; the mask says which keys count."""
    hidden = call.attribute("mask_filter_value", -10000.0)
    added: Tensor | None = call.tensor(added_at) if call.has(added_at) else None
    if call.has(mask_at):
        mask = call.tensor(mask_at)
        if mask.ndim == 1:  # how many keys each row has
            mask = torch.arange(k.shape[2]) < mask.reshape(-1, 1)[: q.shape[0]]
        mask = mask.reshape([mask.shape[0], *[1] * (4 - mask.ndim), *mask.shape[1:]])
        added_mask = (1 - mask.to(q.dtype)) * hidden
        added = added_mask if added is None else added + added_mask
    if call.attribute("unidirectional", 0):
        later = torch.ones([q.shape[2], k.shape[2]]).triu(1) * hidden
        added = later if added is None else added + later
    scale = call.attribute("scale") or 1 / math.sqrt(q.shape[-1])
    found = F.scaled_dot_product_attention(q, k, v, added, scale=scale)
    return found.transpose(1, 2).flatten(2)
