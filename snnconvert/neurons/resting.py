"""Neurons for direct training: whole trains at once, from rest in every call, lean in memory.

They are spikingjelly's IF, LIF and PLIF neurons in step mode "m": same values, same gradients. Two
things differ. No state outlives a call, so calls and batches cannot leak into one another. And the
backward pass is written out, which needs only the charged potentials h where automatic
differentiation keeps h, h - v_threshold and 1 - s.

    name -> symbol: v -> V[n], h -> H[n], spikes -> s[n], weight -> 1 / tau, v_threshold -> theta
    charge  IF: H[n] = V[n-1] + X[n];  LIF, PLIF: H[n] = V[n-1] + (X[n] - V[n-1]) / tau
    fire    s[n] = 1 where H[n] >= theta
    reset   hard: V[n] = (1 - s[n]) * H[n];  soft: V[n] = H[n] - theta * s[n]
"""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import torch
from spikingjelly.activation_based import functional, surrogate
from spikingjelly.activation_based.neuron import BaseNode
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from snnconvert.common.checks import checked_number
from snnconvert.errors import InputError

NEURONS = ("if", "lif", "plif")
RESETS = {"hard": 0.0, "soft": None}
BACKENDS = ("torch", "triton")
SURROGATES: dict[str, type[surrogate.SurrogateFunctionBase]] = {
    "atan": surrogate.ATan,
    "sigmoid": surrogate.Sigmoid,
    "erf": surrogate.Erf,
    "soft_sign": surrogate.SoftSign,
    "piecewise_quadratic": surrogate.PiecewiseQuadratic,
    "piecewise_exp": surrogate.PiecewiseExp,
    "rect": surrogate.Rect,
}


def surrogate_of(name: str, sharpness: float) -> surrogate.SurrogateFunctionBase:
    """spikingjelly's surrogate gradient of that name, its alpha being `sharpness`."""
    if name not in SURROGATES:
        raise InputError(f"surrogate: found {name!r}, allowed are {', '.join(SURROGATES)}")
    return SURROGATES[name](alpha=float(sharpness))


class RestingNode(BaseNode):
    """[T, B, ...] currents -> [T, B, ...] spikes; the potential is 0 before every call.

    Attributes:
        neuron: "if", "lif" or "plif" (1 / tau is then learned, as sigmoid(w)).
        tau: membrane time constant in steps, above 1; initial value for "plif".
        surrogate_function: gradient of the firing; with `spiking=False` the neuron really fires its
            smooth primitive, for numerical gradients.
        backend: "torch" is the lean backward pass of this file; "triton" hands the train to
            spikingjelly, which runs a fused kernel on an NVIDIA GPU (its own CUDA one where it was
            built with it, else Triton) and its reference code elsewhere.

    Raises:
        InputError: an unknown neuron or reset; a backend that is unknown or not installed.
    """

    def __init__(
        self,
        neuron: str = "if",
        tau: float = 2.0,
        v_threshold: float = 1.0,
        reset: str = "hard",
        surrogate_function: surrogate.SurrogateFunctionBase | None = None,
        backend: str = "torch",
    ) -> None:
        check_neuron(neuron, tau, v_threshold, reset, backend)
        fire = surrogate.ATan() if surrogate_function is None else surrogate_function
        super().__init__(float(v_threshold), RESETS[reset], fire, step_mode="m")
        self.neuron, self.tau, self.backend = neuron, float(tau), backend
        self.leak = None if neuron == "if" else 1.0 / self.tau
        if neuron == "plif":
            self.w = nn.Parameter(torch.tensor(-math.log(self.tau - 1.0)))

    def supported_step_mode(self) -> tuple[str]:
        """Whole trains only: there is no state to go on from."""
        return ("m",)

    def multi_step_forward(self, x_seq: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.backend == "torch" and self.surrogate_function.spiking:
            weight = self.w.sigmoid() if self.neuron == "plif" else None
            learning = torch.is_grad_enabled() and (x_seq.requires_grad or weight is not None)
            return (
                LeanSpikes.apply(x_seq, weight, self)
                if learning
                else spike_train(x_seq, weight, self)
            )
        rest = torch.zeros_like(x_seq[0], dtype=membrane_type(x_seq))
        common = (self.v_threshold, self.v_reset, self.surrogate_function)
        spikes: Tensor
        if self.neuron == "if":
            spikes = functional.if_multi_step(x_seq, rest, *common)[0]
        elif self.neuron == "lif":
            spikes = functional.lif_multi_step(x_seq, rest, self.tau, True, *common)[0]
        else:
            spikes = functional.plif_multi_step(x_seq, rest, self.w, True, *common)[0]
        return spikes

    def extra_repr(self) -> str:
        tau = "" if self.neuron == "if" else f", tau={self.tau}"
        return f"{self.neuron}, v_threshold={self.v_threshold}, v_reset={self.v_reset}{tau}"


def check_neuron(neuron: str, tau: float, v_threshold: float, reset: str, backend: str) -> None:
    """Refuse what no neuron can be.

    Raises:
        InputError: says which argument, and what it may be.
    """
    checked_number("tau", tau, "(1, inf]")
    checked_number("v_threshold", v_threshold, "(0, inf)")
    problems = [
        (neuron not in NEURONS, f"neuron: found {neuron!r}, allowed are {', '.join(NEURONS)}"),
        (reset not in RESETS, f"reset: found {reset!r}, allowed are {', '.join(RESETS)}"),
        (backend == "cupy", "backend: spikingjelly 2 has no cupy kernels; use triton, or torch"),
        (backend not in BACKENDS, f"backend: found {backend!r}, allowed are {', '.join(BACKENDS)}"),
        (backend == "triton" and importlib.util.find_spec("triton") is None,
         "backend: the package triton is missing; pip install triton, or use torch"),
    ]  # fmt: skip
    for wrong, message in problems:
        if wrong:
            raise InputError(message)


def membrane_type(x: Tensor) -> torch.dtype:
    """Potentials are added up in float32 where currents have fewer bits."""
    return torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype


def spike_train(
    x: Tensor, weight: Tensor | None, node: RestingNode, charged: Tensor | None = None
) -> Tensor:
    """Spikes of the currents `x`; `weight` is 1 / tau of PLIF neurons.

    Written without masks, which are slow on CPUs: with s in {0, 1}, H - H * s is the hard reset to
    0, bit for bit.

    Args:
        charged: room for every H[n], like `x` in the type of potentials; without it one step's
            room is used again in the next.
    """
    spikes = torch.empty_like(x)
    v: Tensor | None = None
    h = torch.empty_like(x[0], dtype=membrane_type(x)) if charged is None else charged[0]
    for n, (current, spike) in enumerate(zip(x, spikes, strict=True)):
        h = h if charged is None else charged[n]
        charge_(h, v, current, weight, node)
        torch.ge(h, node.v_threshold, out=spike)
        v = after_reset(h, spike, node, out=h if charged is None else None)
    return spikes


class LeanSpikes(torch.autograd.Function):
    """`train` with its backward pass, which needs H and s alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, node: RestingNode) -> Tensor:
        charged = torch.empty_like(x, dtype=membrane_type(x))
        spikes = spike_train(x, weight, node, charged)
        ctx.save_for_backward(charged, spikes, weight)
        ctx.node = node
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """gH[n] = ds/dH * (gs[n] + gV[n] * dV/ds) + gV[n] * dV/dH at fixed s."""
        charged, spikes, weight = ctx.saved_tensors
        node: RestingNode = ctx.node
        leak = weight if weight is not None else node.leak
        out = torch.empty_like(charged)
        potential: Tensor | None = None  # gV[n]
        weight_grad = None if weight is None else torch.zeros_like(weight)
        for n in range(len(charged) - 1, -1, -1):
            h, gh = charged[n], out[n]
            if potential is None:
                add_fired(None, grad[n], h, node, gh)
            elif node.v_reset is None:
                through = torch.sub(grad[n], potential, alpha=node.v_threshold)
                add_fired(potential, through, h, node, gh)
            else:
                through = torch.addcmul(grad[n], potential, h, value=-1)
                kept = torch.addcmul(potential, potential, spikes[n], value=-1)
                add_fired(kept, through, h, node, gh)
            if leak is None:
                potential = gh
                continue
            if weight_grad is not None:
                before = after_reset(charged[n - 1], spikes[n - 1], node) if n else 0.0
                weight_grad += (gh * (h - before)).sum() / leak  # (H - V) / leak is X - V
            potential = gh * (1 - leak)
            gh.mul_(leak)
        return out.to(grad.dtype), weight_grad, None


def charge_(
    h: Tensor, v: Tensor | None, x: Tensor, weight: Tensor | None, node: RestingNode
) -> None:
    """Write H[n] into `h`, in spikingjelly's order of operations; `v` None is rest."""
    if node.leak is None:
        h.copy_(x) if v is None else torch.add(v, x, out=h)
        return
    driven = x.to(h.dtype, copy=True) if v is None else torch.sub(x, v)
    driven = driven.div_(node.tau) if weight is None else driven.mul_(weight)
    h.copy_(driven) if v is None else torch.add(v, driven, out=h)


def after_reset(h: Tensor, spike: Tensor, node: RestingNode, out: Tensor | None = None) -> Tensor:
    """V[n] from H[n]."""
    if node.v_reset is None:
        return torch.sub(h, spike, alpha=node.v_threshold, out=out)
    return torch.addcmul(h, h, spike, value=-1, out=out)


def add_fired(base: Tensor | None, grad: Tensor, h: Tensor, node: RestingNode, out: Tensor) -> None:
    """Write base + grad * ds/dH into `out`; `base` None is 0."""
    fire = node.surrogate_function
    over = h - node.v_threshold
    if type(fire) is not surrogate.ATan:
        slope = type(fire).backward(torch.ones_like(over), over, **fire._sg_params)
        torch.mul(grad, slope, out=out) if base is None else torch.addcmul(
            base, grad, slope, out=out
        )
        return
    # ds/dH = a / (1 + (pi * a * over)^2) with a = alpha / 2; its inverse takes fewer passes.
    half = fire.alpha / 2
    first = torch.full((), 1 / half, dtype=over.dtype, device=over.device)
    inverse = torch.addcmul(first, over, over, value=math.pi**2 * half, out=over)
    torch.div(grad, inverse, out=out) if base is None else torch.addcdiv(
        base, grad, inverse, out=out
    )
