"""Neurons for direct training: whole trains at once, from rest in every call, lean in memory.

They are spikingjelly's IF, LIF and PLIF neurons in step mode "m": same values, same gradients. Two
things differ. No state outlives a call, so calls and batches cannot leak into one another. And the
backward pass is written out, which needs only the charged potentials h where automatic
differentiation keeps h, h - v_threshold and 1 - s.

    name -> symbol: v -> V[n], h -> H[n], spikes -> s[n], weight -> 1 / tau, v_threshold -> theta
    charge  IF: H[n] = V[n-1] + X[n];  LIF, PLIF: H[n] = V[n-1] + (X[n] - (V[n-1] - V_reset)) / tau
    fire    s[n] = 1 where H[n] >= theta
    reset   hard: V[n] = V_reset where s[n] fires, else H[n];  soft: V[n] = H[n] - theta * s[n]
"""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import torch
from spikingjelly.activation_based import functional, surrogate
from spikingjelly.activation_based.neuron import BaseNode
from torch import Tensor, nn

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
    """[T, B, ...] currents -> [T, B, ...] spikes; V = v_reset (soft reset: 0) before every call.

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
        if neuron == "plif":
            self.w = nn.Parameter(torch.tensor(-math.log(self.tau - 1.0)))

    def supported_step_mode(self) -> tuple[str]:
        """Whole trains only: there is no state to go on from."""
        return ("m",)

    def multi_step_forward(self, x_seq: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.backend == "torch" and self.surrogate_function.spiking:
            weight = {"if": None, "lif": 1.0 / self.tau}.get(self.neuron, 0.0)
            learned = self.w.sigmoid() if self.neuron == "plif" else None
            return LeanSpikes.apply(x_seq, learned, weight, self)
        rest = torch.full_like(x_seq[0], self.v_reset or 0.0, dtype=membrane_type(x_seq))
        common = (self.v_threshold, self.v_reset, self.surrogate_function)
        if self.neuron == "if":
            return functional.if_multi_step(x_seq, rest, *common)[0]
        if self.neuron == "lif":
            return functional.lif_multi_step(x_seq, rest, self.tau, True, *common)[0]
        return functional.plif_multi_step(x_seq, rest, self.w, True, *common)[0]

    def extra_repr(self) -> str:
        tau = "" if self.neuron == "if" else f", tau={self.tau}"
        return f"{self.neuron}, v_threshold={self.v_threshold}, v_reset={self.v_reset}{tau}"


def check_neuron(neuron: str, tau: float, v_threshold: float, reset: str, backend: str) -> None:
    """Refuse what no neuron can be.

    Raises:
        InputError: says which argument, and what it may be.
    """
    problems = [
        (neuron not in NEURONS, f"neuron: found {neuron!r}, allowed are {', '.join(NEURONS)}"),
        (not tau > 1, f"tau: found {tau}, allowed are numbers above 1"),
        (not 0 < v_threshold < math.inf, f"v_threshold: found {v_threshold}, allowed are above 0"),
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


class LeanSpikes(torch.autograd.Function):
    """The spike train of a `RestingNode` with its backward pass."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, learned: Tensor | None, weight: float | None, node: RestingNode
    ) -> Tensor:
        """`weight`: 1 / tau, None without a leak; `learned` takes its place in a PLIF neuron."""
        leak = weight if learned is None else learned
        kept = torch.empty_like(x, dtype=membrane_type(x))  # dense even where x is expanded
        spikes = torch.empty_like(x)
        v: Tensor | None = None
        for current, h, spike in zip(x, kept, spikes, strict=True):
            charge_(h, v, current, leak, node)
            fired = h >= node.v_threshold
            spike.copy_(fired)
            v = after_reset(h, fired, node)
        ctx.save_for_backward(kept, learned)
        ctx.node, ctx.weight, ctx.dtype = node, weight, x.dtype
        return spikes

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        kept, learned = ctx.saved_tensors
        node: RestingNode = ctx.node
        leak = ctx.weight if learned is None else learned
        out = torch.empty_like(kept, dtype=ctx.dtype)
        carry: Tensor | None = None  # gradient of V[n]
        leak_grad = None if learned is None else torch.zeros_like(learned)
        for n in range(len(kept) - 1, -1, -1):
            h = kept[n]
            slope = firing_slope(h, node)
            step = grad[n] * slope
            if carry is not None:
                step += carry * reset_slope(h, slope, node)
            if leak is None:
                out[n] = carry = step
                continue
            out[n] = step * leak
            carry = step * (1 - leak)
            if leak_grad is not None:
                before = potential_before(n, kept, node)
                leak_grad += (step * (h - before)).sum() / leak  # (h - V) / leak = X - V + V_reset
        return out, leak_grad, None, None


def charge_(h: Tensor, v: Tensor | None, x: Tensor, leak: Any, node: RestingNode) -> None:
    """Write H[n] into `h`, in spikingjelly's order of operations; `v` None is rest."""
    rest = node.v_reset or 0.0
    if leak is None:
        h.copy_(x + rest if v is None else torch.add(v, x))
        return
    driven = x.to(h.dtype) - (0.0 if v is None else v - rest)
    driven = driven / node.tau if isinstance(leak, float) else driven * leak
    h.copy_(driven + (rest if v is None else v))


def firing_slope(h: Tensor, node: RestingNode) -> Tensor:
    """ds/dh, by the surrogate."""
    fire = node.surrogate_function
    over = h - node.v_threshold
    if type(fire) is surrogate.ATan:
        half = fire.alpha / 2
        square = over.mul_(math.pi * half).square_()
        return square.add_(1).reciprocal_().mul_(half)
    return type(fire).backward(torch.ones_like(over), over, **fire._sg_params)


def reset_slope(h: Tensor, slope: Tensor, node: RestingNode) -> Tensor:
    """dV[n]/dH[n]."""
    if node.v_reset is None:
        return 1 - node.v_threshold * slope
    fired = h >= node.v_threshold
    return (node.v_reset - h).mul_(slope).add_(~fired)


def after_reset(h: Tensor, fired: Tensor, node: RestingNode) -> Tensor:
    """V[n] from H[n]."""
    if node.v_reset is None:
        return h - fired.to(h) * node.v_threshold
    return h.masked_fill(fired, node.v_reset)


def potential_before(n: int, kept: Tensor, node: RestingNode) -> Tensor:
    """V[n - 1]."""
    if n == 0:
        return torch.full_like(kept[0], node.v_reset or 0.0)
    return after_reset(kept[n - 1], kept[n - 1] >= node.v_threshold, node)
