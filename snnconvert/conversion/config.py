"""How a converted network spikes: every option, and every combination that is refused, with why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from snnconvert.errors import InputError

LONGEST_RADIX = 16  # 2^16 - 1 levels: more than the rounding of a float32 network can tell apart
CHOICES = {
    "firing": ("immediate", "deferred"),
    "code": ("rate", "radix"),
    "simulate": ("steps", "counts"),
    "norm": ("accumulated", "per_step"),
    "reset": ("call", "trajectory"),
    "neuron": ("if",),
}


@dataclass(frozen=True)
class SpikingConfig:
    """How a converted network spikes.

    Attributes:
        timesteps: T, steps in which the input is presented.
        firing: "immediate" (fire while integrating) or "deferred" (integrate T steps, then fire).
        code: what T spikes mean: "rate" their number (T levels), "radix" their binary number
            (2^T - 1 levels; deferred firing only).
        signed: spikes may be taken back by negative ones (immediate firing only).
        settle: input-free steps after the T; None until no neuron fires ("auto").
        simulate: "steps" (the clock runs) or "counts" (one pass, where that is exact).
        norm: "accumulated", or "per_step" to reproduce SDM's conversion.
        neuron: "if".
        reset: "call" (counts start at zero in every call) or "trajectory" (they stay, and the
            next call's input arrives as a change).
    """

    timesteps: int = 4
    firing: str = "immediate"
    signed: bool = True
    settle: int | None = None
    simulate: str = "steps"
    norm: str = "accumulated"
    neuron: str = "if"
    code: str = "rate"
    reset: str = "call"

    @property
    def levels(self) -> int:
        """Largest count of a neuron; the network computes the quantised ANN of so many levels."""
        return 2**self.timesteps - 1 if self.code == "radix" else self.timesteps

    def __post_init__(self) -> None:
        if type(self.timesteps) is not int or self.timesteps < 1:
            raise InputError(f"timesteps: found {self.timesteps!r}, allowed are integers from 1 up")
        for key, choices in CHOICES.items():
            if getattr(self, key) not in choices:
                found = getattr(self, key)
                raise InputError(f"{key}: found {found!r}, allowed: {', '.join(choices)}")
        if self.settle is not None and (type(self.settle) is not int or self.settle < 0):
            raise InputError(
                f"settle: found {self.settle!r}, allowed are integers from 0 up, or 'auto'"
            )
        for wrong, message in contradictions(self):
            if wrong:
                raise InputError(message)


def contradictions(c: SpikingConfig) -> list[tuple[Any, str]]:
    """(holds, message) for every combination of options that means nothing."""
    deferred, radix, trajectory = c.firing == "deferred", c.code == "radix", c.reset != "call"
    fixed = not deferred and (c.settle is not None or not c.signed)
    return [
        (c.simulate == "counts" and fixed,
         "simulate='counts' is exact only for deferred firing, and for immediate firing with "
         "signed spikes and settle='auto': use simulate='steps'"),
        (c.norm == "per_step" and (deferred or c.simulate == "counts"),
         "norm='per_step' reproduces SDM's conversion, which fires immediately, step by step"),
        (c.norm == "per_step" and c.settle != 0,
         "norm='per_step' has no input-free steps: use settle=0"),
        (radix and not deferred,
         "code='radix' needs firing='deferred': the first spike is the most significant digit of "
         "the result, so a neuron must have seen all of its input before it fires"),
        (radix and c.timesteps > LONGEST_RADIX,
         f"code='radix': found timesteps={c.timesteps}, allowed are 1 ... {LONGEST_RADIX} "
         f"({2**LONGEST_RADIX - 1} levels; float32 tells no more apart)"),
        (trajectory and (deferred or fixed),
         "reset='trajectory' keeps the counts from call to call and corrects them until silence: "
         "it needs firing='immediate', signed spikes and settle='auto'"),
        (trajectory and c.simulate == "counts",
         "reset='trajectory' is about the steps that a call takes: use simulate='steps' "
         "(the result of simulate='counts' would be the same)"),
    ]  # fmt: skip
