"""Attention, and rotary positions."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from snnconvert.conversion.capture.onnx.steps.call import Call
from snnconvert.conversion.capture.onnx.steps.registry import operation


def heads(x: Tensor, count: int | None) -> Any:
    """[B, N, heads * D] as [B, heads, N, D]."""
    if x.ndim == 4:
        return x
    return x.unflatten(2, (count or 1, -1)).transpose(1, 2)


@operation("Attention")
def attention(call: Call) -> Any:
    flat = call.tensor(0).ndim == 3
    q = heads(call.tensor(0), call.attribute("q_num_heads"))
    k = heads(call.tensor(1), call.attribute("kv_num_heads"))
    v = heads(call.tensor(2), call.attribute("kv_num_heads"))
    if call.has(4):
        k, v = torch.cat([call.tensor(4), k], 2), torch.cat([call.tensor(5), v], 2)
    present = k, v
    if q.shape[1] != k.shape[1]:
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    scale = call.attribute("scale") or 1 / math.sqrt(q.shape[-1])
    bias = bias_of(call, q, k)
    mode, wanted = call.attribute("qk_matmul_output_mode", 0), len(call.node.outputs) > 3
    if bias is None and not wanted and not call.attribute("softcap"):
        result, scores = F.scaled_dot_product_attention(q, k, v, scale=scale), q
    else:
        result, scores = written_out(call, (q, k, v), scale, bias, mode)
    result = result.transpose(1, 2).flatten(2) if flat else result
    return (result, *present, scores)[: len(call.node.outputs)]


def written_out(
    call: Call, qkv: tuple[Tensor, Tensor, Tensor], scale: float, bias: Tensor | None, mode: int
) -> tuple[Tensor, Tensor]:
    """Result, and the scores of the stage that `mode` names."""
    q, k, v = qkv
    scores = shown = torch.matmul(q, k.transpose(-1, -2)) * scale
    cap = call.attribute("softcap", 0.0)
    if cap:
        scores = torch.tanh(scores / cap) * cap
        shown = scores if mode == 1 else shown
        shown = scores if mode == 0 else shown
    if bias is not None:
        scores = scores + bias
    shown = scores if mode == 2 else shown
    shares = torch.softmax(scores, -1)
    if bias is not None:  # a query that may see nothing sees nothing
        blind = (bias == -math.inf).all(-1, keepdim=True)
        shares = torch.where(blind, torch.zeros_like(shares), shares)
    shown = shares if mode == 3 else shown
    return torch.matmul(shares, v), shown


def bias_of(call: Call, q: Tensor, k: Tensor) -> Tensor | None:
    """What is added to the scores: -inf where a query may not look."""
    found: Tensor | None = None
    if call.has(3):
        mask = call.tensor(3)
        missing = k.shape[2] - mask.shape[-1]
        if mask.dtype == torch.bool:
            mask = torch.where(mask, 0.0, -math.inf).to(q.dtype)
        found = F.pad(mask, (0, missing), value=-math.inf) if missing else mask
    lengths = call.tensor(6) if call.has(6) else None
    first: Any = call.tensor(4).shape[2] if call.has(4) else 0
    if lengths is not None:
        first = lengths.reshape(-1, 1, 1, 1) - q.shape[2]
    at = torch.arange(q.shape[2]).reshape(-1, 1) + first
    to = torch.arange(k.shape[2])
    left, right = call.attribute("left_window_size", -1), call.attribute("right_window_size", -1)
    allowed: list[Tensor] = []
    if call.attribute("is_causal", 0):
        allowed.append(to <= at)
    if left >= 0:
        allowed.append(at - to <= left)
    if right >= 0:
        allowed.append(to - at <= right)
    if lengths is not None:
        allowed.append(to < lengths.reshape(-1, 1, 1, 1))
    for seen in allowed:
        part = torch.where(seen, 0.0, -math.inf).to(q.dtype)
        found = part if found is None else found + part
    return found


@operation("RotaryEmbedding")
def rotary_embedding(call: Call) -> Tensor:
    given = call.tensor(0)
    x = given.transpose(1, 2) if given.ndim == 4 else (
        given.unflatten(2, (call.attribute("num_heads"), -1))
    )  # fmt: skip
    cosine, sine = call.tensor(1), call.tensor(2)
    if call.has(3):
        at = call.tensor(3).to(torch.int64)
        cosine, sine = F.embedding(at, cosine), F.embedding(at, sine)
    size = call.attribute("rotary_embedding_dim", 0) or x.shape[3]
    result = turned(x, cosine, sine, size, bool(call.attribute("interleaved", 0)))
    return result.flatten(2) if given.ndim == 3 else result.transpose(1, 2)


def turned(x: Tensor, cosine: Tensor, sine: Tensor, size: int, interleaved: bool) -> Tensor:
    """[B, N, heads, D], the first `size` numbers of each head turned by the angles of their places.

    Args:
        cosine, sine: of the angles, [B or 1, N, size / 2].
        interleaved: whether pairs lie side by side, not half a head apart.
    """
    part, rest = x[..., :size], x[..., size:]
    a, b = (part[..., 0::2], part[..., 1::2]) if interleaved else part.chunk(2, -1)
    cosine, sine = cosine.unsqueeze(2), sine.unsqueeze(2)
    found = [cosine * a - sine * b, sine * a + cosine * b]
    pairs = torch.stack(found, -1).flatten(-2) if interleaved else torch.cat(found, -1)
    return torch.cat([pairs, rest], -1)
