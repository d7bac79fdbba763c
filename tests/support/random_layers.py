"""Random layers with weights, and the patterns that people build networks of."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NAMES = (
    "relu relu6 hardtanh silu gelu mish hardswish leaky_relu elu selu celu logsigmoid tanh "
    "softplus sigmoid hardsigmoid softsign tanhshrink"
)
ACTIVATIONS = NAMES.split()
CONVOLUTIONS = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
TRANSPOSED = {3: nn.ConvTranspose1d, 4: nn.ConvTranspose2d, 5: nn.ConvTranspose3d}
BATCH_NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
INSTANCE_NORMS = {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d, 5: nn.InstanceNorm3d}


class Function(nn.Module):
    """A function of tensors with the parameters that it is given, by its name."""

    def __init__(self, name: str, call: Callable[..., Tensor], *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.name, self.call = name, call
        scale = [max(1, shape[-1]) ** -0.5 for shape in shapes]
        made = (torch.randn(shape) * s for shape, s in zip(shapes, scale, strict=True))
        self.weights = nn.ParameterList(nn.Parameter(value) for value in made)

    def forward(self, *values: Tensor) -> Tensor:
        return self.call(*values, *self.weights)

    def extra_repr(self) -> str:
        return self.name


class Masks(nn.Module):
    """Attention over axis 1 of [B, N, D] with a causal or an additive mask, or none."""

    def __init__(self, width: int, mask: str) -> None:
        super().__init__()
        self.qkv, self.mask = nn.Linear(width, 3 * width), mask

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        if self.mask == "by hand":
            scores = q @ k.mT / q.shape[-1] ** 0.5
            length = x.shape[1]
            later = torch.ones(length, length, dtype=torch.bool).triu(1)
            return scores.masked_fill(later, float("-inf")).softmax(-1) @ v
        return F.scaled_dot_product_attention(q, k, v, is_causal=self.mask == "causal")


class InPlace(nn.Module):
    """A layer whose result is written to, through views of it too."""

    def __init__(self, layer: nn.Module, how: int) -> None:
        super().__init__()
        self.layer, self.how = layer, how

    def forward(self, x: Tensor) -> Tensor:
        h = self.layer(x)
        if self.how == 0:
            return h.relu_()
        if self.how == 1:
            part = h[:, 1:]
            part.mul_(0.5)
            return F.silu(h)
        if self.how == 2:
            h += x.mean()
            h[:, 0] = h[:, -1].relu()
            return h
        flat = h.flatten(1)
        flat.add_(0.25).clamp_(min=0)
        return h.mul_(2)


class Residual(nn.Module):
    """x + layer(act(x)), or that concatenated with x, or multiplied."""

    def __init__(self, layer: nn.Module, act: nn.Module, how: str) -> None:
        super().__init__()
        self.layer, self.act, self.how = layer, act, how

    def forward(self, x: Tensor) -> Tensor:
        h = self.layer(self.act(x))
        if self.how == "cat":
            return torch.cat([x, h], 1)
        if self.how == "gate":
            return x * torch.sigmoid(h)
        return h + x


class Joined(nn.Module):
    """One value with the mean of another of any shape: added, or as its gate."""

    def __init__(self, gates: bool) -> None:
        super().__init__()
        self.gates = gates

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        one = y.flatten(1).mean(1).reshape(-1, *[1] * (x.ndim - 1))
        return x * torch.sigmoid(one) if self.gates else x + one


def activation(random: Random) -> nn.Module:
    """One of every kind, as a function of `torch.nn.functional`."""
    name = random.choice(ACTIVATIONS if random.random() < 0.6 else ["relu", "silu", "gelu"])
    return Function(name, getattr(F, name))


def channels_kept(value: Tensor, random: Random) -> nn.Module:
    """A layer with weights whose result has the shape of `value`."""
    if value.ndim in CONVOLUTIONS and random.random() < 0.7:
        width = value.shape[1]
        groups = width if random.random() < 0.2 else 1
        size = random.choice([1, 3])
        return CONVOLUTIONS[value.ndim](
            width, width, size, padding=size // 2, groups=groups, bias=random.random() < 0.8
        )
    return nn.Linear(value.shape[-1], value.shape[-1], bias=random.random() < 0.8)


def weighted(value: Tensor, random: Random) -> nn.Module:
    """A layer with weights that may change the shape."""
    width, out = value.shape[1], random.randrange(1, 6)
    if value.ndim in CONVOLUTIONS and random.random() < 0.7:
        if random.random() < 0.2:
            return TRANSPOSED[value.ndim](width, out, 2, stride=2)
        smallest = min(value.shape[2:])
        size = random.randrange(1, 1 + min(3, smallest))
        same = random.random() < 0.3
        return CONVOLUTIONS[value.ndim](
            width, out, size, stride=1 if same else random.randrange(1, 3),
            padding="same" if same else size // 2, padding_mode="zeros",
        )  # fmt: skip
    last = value.shape[-1]
    how = random.randrange(5)
    if how == 0:
        return Function("x @ w", torch.matmul, (last, out))
    if how == 1 and value.ndim == 2:
        return Function("addmm", lambda x, w, b: torch.addmm(b, x, w), (last, out), (out,))
    if how == 2:
        return Function("einsum", lambda x, w: torch.einsum("...d,de->...e", x, w), (last, out))
    return nn.Linear(last, out, bias=random.random() < 0.8)


def norm(value: Tensor, random: Random) -> nn.Module:
    width = value.shape[1]
    how = random.randrange(5)
    if how == 0 and value.ndim > 2:
        return nn.GroupNorm(2 if width % 2 == 0 else 1, width)
    if how == 1 and value.ndim > 2:
        return INSTANCE_NORMS[value.ndim](width, affine=random.random() < 0.5)
    if how == 2:
        return nn.LayerNorm(value.shape[-1])
    if how == 3:
        return nn.RMSNorm(value.shape[-1])
    made = BATCH_NORMS[value.ndim](width)
    nn.init.uniform_(made.running_mean, -0.3, 0.3)
    nn.init.uniform_(made.running_var, 0.5, 1.5)
    return made


def pattern(value: Tensor, random: Random) -> nn.Module:
    """Residuals, gates, in-place operations, attention, products of tokens, transforms."""
    choices: list[Callable[[], nn.Module]] = [
        lambda: Residual(
            channels_kept(value, random), activation(random),
            random.choice(["add", "cat", "gate"]),
        ),
        lambda: InPlace(channels_kept(value, random), random.randrange(4)),
        lambda: Function("mask", lambda x: x * (x > 0)),
        lambda: Function("where", lambda x: torch.where(x > 0, x, 0.1 * x)),
        lambda: Function("square mean", lambda x: x / (1 + x.square().mean(-1, keepdim=True))),
    ]  # fmt: skip
    if value.ndim == 3:
        width = value.shape[2]
        choices += [
            lambda: Masks(width, random.choice(["none", "causal", "by hand"])),
            lambda: nn.MultiheadAttention(width, 1, batch_first=True),
            lambda: Function("x x^T x", lambda x: torch.bmm(torch.bmm(x, x.mT), x) * 0.1),
            lambda: Function("einsum", lambda x: torch.einsum("bnd,bmd->bnm", x, x) * 0.3),
        ]
    if value.ndim >= 3:
        choices += [
            lambda: Function("fft", lambda x: torch.fft.irfft(torch.fft.rfft(x), n=x.shape[-1])),
            lambda: Function("squeeze", lambda x: x * x.mean(-1, keepdim=True).sigmoid()),
        ]
    return random.choice(choices)()
