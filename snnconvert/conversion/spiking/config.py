"""How a converted network spikes: every option, and every combination that is refused, with why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from snnconvert.common.checks import checked_integer, checked_number, set_integers
from snnconvert.errors import InputError

LONGEST_RADIX = 16  # 2^16 - 1 levels: more than the rounding of a float32 network can tell apart
LONGEST = 2**LONGEST_RADIX - 1  # steps, likewise
STARTS = ("half", "optimised")  # or a number
CHOICES = {
    "firing": ("immediate", "deferred"),
    "code": ("rate", "radix"),
    "simulate": ("steps", "counts"),
    "norm": ("accumulated", "per_step"),
    "reset": ("call", "trajectory"),
    "neuron": ("if", "lif"),
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
        neuron: "if", or "lif" with a leak (threshold, gain and bias fitted to calibration data).
        reset: "call" (counts start at zero in every call) or "trajectory" (they stay, and the
            next call's input arrives as a change).
        tau: membrane time constant of "lif" in steps, above 1.
        v_reset: after a spike the threshold is subtracted (None) or v set to it (0.0).
        v_init: start of the potential, in thresholds, inside [0, 1); "half" is 0.5; "optimised":
            each channel's own, fitted to calibration data.
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
    tau: float = 2.0
    v_reset: float | None = None
    v_init: float | str = 0.5

    @property
    def levels(self) -> int:
        """Largest count of a neuron; the network computes the quantised ANN of so many levels."""
        return self.levels_of(self.code, self.timesteps)

    @staticmethod
    def levels_of(code: str, timesteps: int) -> int:
        """What `timesteps` spikes carry: their number, or their binary number."""
        radix = code == "radix" and 0 < timesteps <= LONGEST_RADIX
        return 2**timesteps - 1 if radix else timesteps

    @property
    def leak(self) -> float | None:
        """Membrane time constant; None where there is no leak."""
        return float(self.tau) if self.neuron == "lif" else None

    @property
    def start(self) -> float:
        """`v_init` as a number; 0.5 for neurons without one of their own."""
        return 0.5 if isinstance(self.v_init, str) else float(self.v_init)

    @property
    def forgets(self) -> bool:
        """Whether the reset or the leak loses charge, so that no spike can be taken back."""
        return self.neuron == "lif" or self.v_reset is not None

    @property
    def held_as_counts(self) -> bool:
        """Whether a spike count tells all of a neuron's state; else its potential is needed."""
        return not self.forgets

    @property
    def exact(self) -> bool:
        """Whether a network is known to end as its quantised ANN."""
        if not self.held_as_counts or self.norm != "accumulated":
            return False
        return self.firing == "deferred" or (self.signed and self.settle is None)

    def __post_init__(self) -> None:
        set_integers(self, {"timesteps": 1}, most={"timesteps": LONGEST})
        for key, choices in CHOICES.items():
            if getattr(self, key) not in choices:
                found = getattr(self, key)
                raise InputError(f"{key}: found {found!r}, allowed: {', '.join(choices)}")
        if self.settle is not None:
            settle = checked_integer("settle", self.settle, 0, LONGEST, " and 'auto'")
            object.__setattr__(self, "settle", settle)
        object.__setattr__(self, "tau", checked_number("tau", self.tau, "(1, inf)"))
        if self.v_reset is not None:
            hard = checked_number("v_reset", self.v_reset, "[0, 0]", note=" (hard) and None (soft)")
            object.__setattr__(self, "v_reset", hard)
        if self.v_init not in STARTS:
            named = f" (of the threshold), {' and '.join(map(repr, STARTS))}"
            checked_number("v_init", self.v_init, "[0, 1)", note=named)
        if self.v_init != "optimised":
            object.__setattr__(self, "v_init", self.start)  # one value for one meaning
        for wrong, message in contradictions(self):
            if wrong:
                raise InputError(message)


def spiking_config(
    *, firing: str | None = None, signed: bool | None = None, settle: int | str | None = None,
    **options: Any,
) -> SpikingConfig:  # fmt: skip
    """The configuration of these options.

    Args:
        firing: None: "deferred" for the radix code, which needs it, else "immediate".
        signed: None: True, but False where a leak or a hard reset loses charge.
        settle: steps, or "auto" (until silence); None: "auto", but 0 for `norm="per_step"` and for
            neurons whose silence proves nothing (a leak, a hard reset).
        options: of `SpikingConfig`.

    Raises:
        InputError: as `SpikingConfig`.
    """
    loses = options.get("neuron") == "lif" or options.get("v_reset") is not None
    if settle is None and (options.get("norm") == "per_step" or loses):
        settle = 0
    if isinstance(settle, str):
        if settle != "auto":
            checked_integer("settle", settle, 0, note=" and 'auto'")
        settle = None
    if firing is None:
        firing = "deferred" if options.get("code") == "radix" else "immediate"
    signed = not loses if signed is None else signed
    return SpikingConfig(firing=firing, signed=signed, settle=settle, **options)


def contradictions(c: SpikingConfig) -> list[tuple[Any, str]]:
    """(holds, message) for every combination of options that means nothing."""
    deferred, radix, trajectory = c.firing == "deferred", c.code == "radix", c.reset != "call"
    fixed = not deferred and (c.settle is not None or not c.signed)
    plain = "neuron='if' and v_reset=None"
    return [
        (not c.held_as_counts and (radix or trajectory),
         f"code='radix' and reset='trajectory' need neurons that lose no charge: {plain}"),
        (not c.held_as_counts and c.v_init == "optimised",
         f"v_init='optimised' fits where counts are rounded, which needs neurons that lose no "
         f"charge: {plain}"),
        (not c.held_as_counts and not deferred and c.settle is None,
         "settle='auto' waits for the silence that proves the result, and there is no such proof "
         f"without {plain}: use an integer, e.g. settle=0"),
        (c.forgets and not deferred and c.signed,
         "signed=True takes spikes back, which only neurons without leak and with soft reset "
         "(neuron='if', v_reset=None) can: use signed=False"),
        (c.simulate == "counts" and fixed,
         "simulate='counts' is exact only for deferred firing, and for immediate firing with "
         "signed spikes and settle='auto': use simulate='steps'"),
        (c.norm == "per_step" and (deferred or c.simulate == "counts"),
         "norm='per_step' reproduces networks (SDM's) that fire immediately, step by step"),
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
