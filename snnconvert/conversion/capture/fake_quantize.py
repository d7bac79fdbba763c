"""PyTorch's own fake-quantise modules, made fit for capture.

Their Python code branches on buffers and updates statistics, which no export can hold; and their
operators lack shape functions. For the time of a capture each module is replaced by what it
computes when deployed: the operator with its present scale and zero point.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.ao.quantization import FakeQuantize

_LIBRARY: list[torch.library.Library] = []  # a library unregisters its kernels when it dies
MASKED = ("fake_quantize_per_tensor_affine_cachemask", "fake_quantize_per_channel_affine_cachemask",
          "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams")  # fmt: skip


class Frozen(nn.Module):
    """What a `FakeQuantize` computes with its present parameters."""

    scale: Tensor
    zero_point: Tensor

    def __init__(self, module: FakeQuantize) -> None:
        super().__init__()
        self.enabled = bool(module.fake_quant_enabled[0])
        self.per_channel = bool(module.is_per_channel)
        self.axis = int(getattr(module, "ch_axis", 1))
        self.low = int(module.activation_post_process.quant_min)
        self.high = int(module.activation_post_process.quant_max)
        self.register_buffer("scale", module.scale.detach().clone())
        self.register_buffer("zero_point", module.zero_point.detach().to(torch.int32))
        self.first = float(module.scale.flatten()[0])
        self.first_zero = int(module.zero_point.flatten()[0])

    def forward(self, x: Tensor) -> Tensor:
        if not self.enabled:
            return x
        if self.per_channel:
            return torch.fake_quantize_per_channel_affine(
                x, self.scale, self.zero_point, self.axis, self.low, self.high
            )
        return torch.fake_quantize_per_tensor_affine(
            x, self.first, self.first_zero, self.low, self.high
        )


@contextmanager
def frozen_fake_quantizers(model: nn.Module) -> Iterator[None]:
    """Inside, every `FakeQuantize` of `model` is replaced; afterwards all is as before."""
    _add_shape_functions()
    replaced = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, FakeQuantize)
    ]
    try:
        for parent, name, child in replaced:
            parent._modules[name] = Frozen(child)
        yield
    finally:
        for parent, name, child in replaced:
            parent._modules[name] = child


def _add_shape_functions() -> None:
    """Shapes of the operators behind fake quantisation, where PyTorch does not know them."""
    if _LIBRARY:
        return
    library = torch.library.Library("aten", "IMPL")
    for name in MASKED:
        if not torch._C._dispatch_has_kernel_for_dispatch_key(f"aten::{name}", "Meta"):
            library.impl(name, _masked_shape, "Meta")
    _LIBRARY.append(library)


def _masked_shape(x: Tensor, *_others: object) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(x, dtype=torch.bool)
