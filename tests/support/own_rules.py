"""Operations of a user's own, and their rules: registered for the time of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F

from snnconvert.conversion.rules import Rule, register, unregister


@contextmanager
def own_rule(op: str, rule: Rule) -> Iterator[None]:
    """Inside, `op` has `rule`; afterwards the table is what it was."""
    register(op, rule)
    try:
        yield
    finally:
        unregister(op)


@torch.library.custom_op("snntest::mix", mutates_args=())
def mix(
    x: torch.Tensor, scale: float, weight: torch.Tensor, groups: int = 1,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """A convolution times `scale`; its weight and bias are not where ATen has them."""
    y = F.conv2d(x, weight, groups=groups) * scale
    return y if bias is None else y + bias.view(-1, 1, 1)


@mix.register_fake
def _(x, scale, weight, groups=1, bias=None):
    return F.conv2d(x, weight, groups=groups)


@torch.library.custom_op("snntest::rows", mutates_args=())
def rows(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """A linear layer: its channels come last."""
    return F.linear(x, weight, bias)


@rows.register_fake
def _(x, weight, bias=None):
    return F.linear(x, weight)


@torch.library.custom_op("snntest::smooth", mutates_args=())
def smooth(x: torch.Tensor) -> torch.Tensor:
    return x * torch.sigmoid(3 * x)


@smooth.register_fake
def _(x):
    return torch.empty_like(x)


@torch.library.custom_op("snntest::halve", mutates_args=())
def halve(x: torch.Tensor) -> torch.Tensor:
    """The larger one of neighbours along the last axis."""
    return F.max_pool1d(x, 2)


@halve.register_fake
def _(x):
    return F.max_pool1d(x, 2)
