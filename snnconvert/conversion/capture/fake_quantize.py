"""PyTorch's own fake-quantise modules and observers, made fit for capture.

Their Python code branches on buffers and updates statistics, which no export can hold; and their
operators lack shape functions. For the time of a capture each module is replaced by what it
computes when deployed: the operator with its present scale and zero point, or nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.ao.quantization import FakeQuantize
from torch.ao.quantization._learnable_fake_quantize import _LearnableFakeQuantize as Learnable
from torch.ao.quantization.observer import ObserverBase

_LIBRARY: list[torch.library.Library] = []  # a library unregisters its kernels when it dies
MASKED = ("fake_quantize_per_tensor_affine_cachemask", "fake_quantize_per_channel_affine_cachemask",
          "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams")  # fmt: skip
LEARNED = ("_fake_quantize_learnable_per_tensor_affine",
           "_fake_quantize_learnable_per_channel_affine")  # fmt: skip
BY_CHANNEL = (torch.per_channel_affine, torch.per_channel_symmetric,
              torch.per_channel_affine_float_qparams)  # fmt: skip


class Frozen(nn.Module):
    """What a fake quantiser computes with its present parameters."""

    scale: Tensor
    zero_point: Tensor

    def __init__(self, module: FakeQuantize | Learnable) -> None:
        super().__init__()
        self.enabled = bool(module.fake_quant_enabled[0])
        self.per_channel = module.qscheme in BY_CHANNEL
        self.axis = int(getattr(module, "ch_axis", 1))
        limits = module if isinstance(module, Learnable) else module.activation_post_process
        self.low, self.high = int(limits.quant_min), int(limits.quant_max)
        zero = module.zero_point.detach().round().to(torch.int32)  # a learned one is no integer
        self.register_buffer("scale", module.scale.detach().clone())
        self.register_buffer("zero_point", zero)
        self.first = float(module.scale.flatten()[0])
        self.first_zero = int(zero.flatten()[0])

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
    """Inside, every quantiser and observer of `model` is replaced; afterwards all is as before."""
    _add_shape_functions()
    replaced = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, FakeQuantize | Learnable | ObserverBase)
    ]
    try:
        for parent, name, child in replaced:
            observes = isinstance(child, ObserverBase)
            parent._modules[name] = nn.Identity() if observes else Frozen(child)
        yield
    finally:
        for parent, name, child in replaced:
            parent._modules[name] = child


def _add_shape_functions() -> None:
    """Shapes of the operators behind fake quantisation, where PyTorch does not know them."""
    if _LIBRARY:
        return
    library = torch.library.Library("aten", "IMPL")
    shapes = dict.fromkeys(MASKED, _masked_shape) | dict.fromkeys(LEARNED, _shape)
    for name, shape in shapes.items():
        if not torch._C._dispatch_has_kernel_for_dispatch_key(f"aten::{name}", "Meta"):
            library.impl(name, shape, "Meta")
    _LIBRARY.append(library)


def _masked_shape(x: Tensor, *_others: object) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(x, dtype=torch.bool)


def _shape(x: Tensor, *_others: object) -> Tensor:
    return torch.empty_like(x)
