"""How a U-Net is laid out: stages on the way down and on the way up, joined by skips."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from snnconvert.errors import InputError

Stage = Callable[[int, int, int], nn.ModuleList]  # of (width in, width out, resolution)
Resample = Callable[[int], nn.Module]  # of a width


def down_path(
    widths: Sequence[int], blocks: int, stage: Stage, shrink: Resample
) -> tuple[nn.ModuleList, list[int]]:
    """Stages from fine to coarse, and the widths that they leave as skips, the head's first."""
    path, skips, width = nn.ModuleList(), [widths[0]], widths[0]
    for level, wide in enumerate(widths):
        for _ in range(blocks):
            path.append(stage(width, wide, level))
            width = wide
            skips.append(width)
        if level + 1 < len(widths):
            path.append(nn.ModuleList([shrink(width)]))
            skips.append(width)
    return path, skips


def up_path(
    widths: Sequence[int], blocks: int, skips: Sequence[int], stage: Stage, grow: Resample
) -> nn.ModuleList:
    """Stages from coarse to fine, one block more a resolution; each takes the last skip left."""
    path, width, left = nn.ModuleList(), widths[-1], list(skips)
    for level, wide in reversed(list(enumerate(widths))):
        for _ in range(blocks + 1):
            path.append(stage(width + left.pop(), wide, level))
            width = wide
        if level > 0:
            path.append(nn.ModuleList([grow(width)]))
    return path


def check_images(x: Tensor, channels: int, patch: int) -> None:
    """InputError unless `x` is [B, channels, H, W], H and W multiples of `patch`."""
    if x.ndim != 4 or x.shape[1] != channels:
        raise InputError(
            f"x: found shape {tuple(x.shape)}, the network takes [B, {channels}, H, W]"
        )
    if x.shape[2] % patch or x.shape[3] % patch:
        raise InputError(f"x: {tuple(x.shape[2:])} must be a multiple of patch = {patch}")
