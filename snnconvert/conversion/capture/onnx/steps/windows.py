"""What convolutions and pools share: where their windows lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from snnconvert.conversion.capture.onnx.steps.call import Call

Pads = list[tuple[Any, Any]]  # before and behind, per axis


def paddings_of(
    call: Call, sizes: Sequence[Any], kernel: Sequence[int], stride: Sequence[int],
    dilation: Sequence[int],
) -> Pads:  # fmt: skip
    """Padding of each spatial axis by `pads` or `auto_pad`."""
    axes = len(kernel)
    mode = call.attribute("auto_pad", "NOTSET") or "NOTSET"
    if mode in ("NOTSET", "VALID"):
        pads = call.attribute("pads", [0] * 2 * axes) if mode == "NOTSET" else [0] * 2 * axes
        return [(pads[axis], pads[axis + axes]) for axis in range(axes)]
    found = []
    for axis in range(axes):
        windows = -(-sizes[axis] // stride[axis])
        reach = (windows - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1
        total = max(reach - sizes[axis], 0)
        smaller = total // 2
        more = total - smaller
        found.append((smaller, more) if mode == "SAME_UPPER" else (more, smaller))
    return found


def torch_pads(pads: Sequence[tuple[Any, Any]]) -> list[Any]:
    """As `F.pad` takes them: last axis first."""
    return [size for pair in reversed(pads) for size in pair]
