"""PyTorch's own fake-quantise modules and observers, made fit for capture.

Their Python code branches on buffers and updates statistics, which no export can hold; and their
operators lack shape functions. For the time of a capture each quantiser is replaced by what it
computes when deployed, the operator with its present scale and zero point; observers let values
pass, and keep what they have seen for whoever reads it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.quantization import FakeQuantize
from torch.ao.quantization.observer import ObserverBase

LEARNABLE: tuple[type[nn.Module], ...] = ()
with suppress(ImportError):  # private: not in every PyTorch
    from torch.ao.quantization._learnable_fake_quantize import _LearnableFakeQuantize

    LEARNABLE = (_LearnableFakeQuantize,)
_LIBRARY: list[torch.library.Library] = []  # a library unregisters its kernels when it dies
MASKED = ("fake_quantize_per_tensor_affine_cachemask", "fake_quantize_per_channel_affine_cachemask",
          "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams")  # fmt: skip
LEARNED = ("_fake_quantize_learnable_per_tensor_affine",
           "_fake_quantize_learnable_per_channel_affine")  # fmt: skip
BY_CHANNEL = (torch.per_channel_affine, torch.per_channel_symmetric,
              torch.per_channel_affine_float_qparams)  # fmt: skip
REST = ("forward", "calculate_qparams")  # methods of observers that are others meanwhile
SYMMETRIC = (torch.per_tensor_symmetric, torch.per_channel_symmetric)


class Frozen(nn.Module):
    """What a fake quantiser computes with its present parameters."""

    scale: Tensor
    zero_point: Tensor

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.enabled = bool(module.fake_quant_enabled[0])
        self.per_channel = module.qscheme in BY_CHANNEL
        self.axis = int(getattr(module, "ch_axis", 1))
        learned = isinstance(module, LEARNABLE)
        limits = module if learned else module.activation_post_process
        self.low, self.high = int(limits.quant_min), int(limits.quant_max)
        scale, zero = module.scale.detach().clone(), module.zero_point.detach().clone()
        if learned:  # as its forward and the kernel behind it hold what was learned
            scale = scale.clamp(min=float(module.eps))
            zero = zero.round().clamp(self.low, self.high).to(torch.int32)
            zero = torch.zeros_like(zero) if module.qscheme in SYMMETRIC else zero
        self.register_buffer("scale", scale)
        self.register_buffer("zero_point", zero)
        self.first = float(scale.flatten()[0])
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
    """Inside, quantisers of `model` are replaced, observers observe nothing; then all is as was."""
    _add_shape_functions()
    quantisers = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent._modules.items()
        if isinstance(child, (FakeQuantize, *LEARNABLE))
    ]
    before: list[tuple[dict[str, Any], dict[str, Any]]] = []  # attributes, and what they were
    try:
        for parent, name, child in quantisers:
            parent._modules[name] = Frozen(child)
        for observer in model.modules():
            if isinstance(observer, ObserverBase):
                before.append((observer.__dict__, dict(observer.__dict__)))
                observer.__dict__.update(_at_rest(observer))
        yield
    finally:
        for parent, name, child in quantisers:
            parent._modules[name] = child
        for attributes, were in before:
            for name in REST:
                attributes.pop(name, None)
            attributes.update({name: were[name] for name in REST if name in were})


def _at_rest(observer: ObserverBase) -> dict[str, Callable[..., Any]]:
    """Methods of an observer that observes nothing; what it says of a scale is said already."""
    rest: dict[str, Callable[..., Any]] = {"forward": lambda x: x}
    with suppress(Exception), warnings.catch_warnings():  # where it has seen nothing, or has none
        warnings.simplefilter("ignore")
        said = observer.calculate_qparams()
        rest["calculate_qparams"] = lambda: said
    return rest


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
