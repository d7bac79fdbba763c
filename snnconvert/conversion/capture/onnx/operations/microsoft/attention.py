"""Attention as onnxruntime's optimiser for transformers writes it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from snnconvert.conversion.capture.onnx.operations.attention import heads, turned, written_out
from snnconvert.conversion.capture.onnx.operations.quantised import numbers_of
from snnconvert.conversion.capture.onnx.steps.call import Call
from snnconvert.conversion.capture.onnx.steps.registry import operation

DOMAIN = "com.microsoft::"
CACHE = ("continues an earlier call", "export the network without a cache")


@operation(f"{DOMAIN}Attention")
def packed_attention(call: Call) -> Any:
    """Queries, keys and values by one product; some keys are masked."""
    if call.has(4) or call.attribute("do_rotary", 0):
        call.refuse(*CACHE)
    q, k, v = split_heads(call, call.tensor(0), call.weight(1, "weight", lambda array: array.T))
    return attended(call, q, k, v, mask_at=3, added_at=5)


@operation(f"{DOMAIN}QAttention")
def quantised_attention(call: Call) -> Any:
    """The same of integers: inputs x, weight, bias, both scales, mask, both zero points."""
    if call.has(8) or call.attribute("do_rotary", 0):
        call.refuse(*CACHE)
    scale, zero = call.host(4), call.host(7) if call.has(7) else np.zeros([], np.int8)
    x = call.tensor(0).to(torch.float32)
    x = x - call.tensor(6).to(torch.float32) if call.has(6) else x
    weight = call.weight(1, "weight", lambda codes: numbers_of(codes, scale, zero).T)
    q, k, v = split_heads(call, x * call.tensor(3), weight)
    return attended(call, q, k, v, mask_at=5)


def split_heads(call: Call, x: Tensor, weight: Tensor) -> list[Tensor]:
    """Queries, keys and values [B, heads, N, D] of `x`."""
    bias = call.weight(2, "bias") if call.has(2) else None
    sizes = list(call.attribute("qkv_hidden_sizes") or [weight.shape[0] // 3] * 3)
    parts = F.linear(x, weight, bias).split(sizes, -1)
    return [heads(part, call.attribute("num_heads")) for part in parts]


@operation(f"{DOMAIN}MultiHeadAttention")
def several_heads(call: Call) -> Any:
    """Queries [B, N, heads * D], keys and values so or by heads, each with its part of a bias."""
    if call.has(6) or call.has(7):
        call.refuse(*CACHE)
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


@operation(f"{DOMAIN}GroupQueryAttention")
def shared_keys(call: Call) -> tuple[Tensor, ...]:
    """Causal attention in which several heads of queries share one of keys and values.

    Inputs q, k, v, two of a cache, by row the last place that counts, the length, cosine, sine,
    places, what is added.
    """
    if any(call.has(at) and call.tensor(at).shape[2] != 0 for at in (3, 4)):
        call.refuse(*CACHE)
    if call.attribute("smooth_softmax", 0) > 0 or call.has(11) or len(call.node.outputs) > 3:
        call.refuse("has a sink, or shows its scores", "export the network without that")
    count, shared = call.attribute("num_heads"), call.attribute("kv_num_heads")
    parts: Any = [call.tensor(index) for index in range(3) if call.has(index)]
    if len(parts) == 1:
        each = parts[0].shape[2] // (count + 2 * shared)
        parts = parts[0].split([count * each, shared * each, shared * each], -1)
    q, k, v = (x.unflatten(2, (n, -1)) for x, n in zip(parts, (count, shared, shared), strict=True))
    if call.attribute("do_rotary", 0):
        places = call.tensor(9) if call.has(9) else torch.arange(q.shape[1]).reshape(1, -1)
        q, k = (turned_at(call, x, places, 7, "rotary_interleaved") for x in (q, k))
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    at, to = torch.arange(q.shape[2]).reshape(-1, 1), torch.arange(k.shape[2])
    seen = (to <= at) & (to <= call.tensor(5).reshape(-1, 1, 1, 1))
    if (window := call.attribute("local_window_size", -1)) > 0:
        seen = seen & (at - to < window)
    bias = torch.where(seen, 0.0, -math.inf).to(q.dtype)
    bias = bias + call.tensor(10) if call.has(10) else bias
    scale = call.attribute("scale") or 1 / math.sqrt(q.shape[-1])
    every = (q, *(x.repeat_interleave(count // shared, 1) for x in (k, v)))
    found = written_out(call, every, scale, bias, -1)[0].transpose(1, 2).flatten(2)
    return (found, k, v)[: len(call.node.outputs)]


@operation(f"{DOMAIN}RotaryEmbedding")
def rotary_embedding(call: Call) -> Tensor:
    """Inputs x [B, N, heads * D] or by heads, the places [B, N] or the first one, cosine, sine."""
    given, places = call.tensor(0), call.tensor(1)
    if given.ndim == 4:
        x = given.transpose(1, 2)
    else:
        partly = call.attribute("rotary_embedding_dim", 0)
        each = -1 if partly else 2 * call.tensor(2).shape[1]
        x = given.unflatten(2, (call.attribute("num_heads") if partly else -1, each))
    if places.ndim == 1:
        places = (places + torch.arange(x.shape[1])).reshape(1, -1)
    result = turned_at(call, x, places, 2, "interleaved")
    return result.transpose(1, 2) if given.ndim == 4 else result.flatten(2)


def turned_at(call: Call, x: Tensor, places: Tensor, table_at: int, interleaved: str) -> Tensor:
    """`x` [B, N, heads, D], turned by the angles in two tables, cosine and sine, at `places`."""
    found = [F.embedding(places.to(torch.int64), call.tensor(table_at + i)) for i in range(2)]
    size = 2 * found[0].shape[-1]
    return turned(x, found[0], found[1], size, bool(call.attribute(interleaved, 0)))


def attended(
    call: Call, q: Tensor, k: Tensor, v: Tensor, mask_at: int, added_at: int | None = None
) -> Tensor:
    """What the heads [B, heads, N, D] see, side by side; the mask says which keys count."""
    hidden = call.attribute("mask_filter_value", -10000.0)
    added: Tensor | None = None
    if added_at is not None and call.has(added_at):
        added = call.tensor(added_at)
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
