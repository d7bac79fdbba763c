"""What would help: remedies for the causes of an error, each tried on data before it is advised."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from snnconvert.conversion.spiking.config import SpikingConfig
from snnconvert.errors import SnnconvertError
from snnconvert.report.trials.calls import Call
from snnconvert.report.trials.conversions import Trials
from snnconvert.report.trials.quick import answers, distance, quick

CAUSES = ("clipping", "quantisation", "temporal")
RADIX_STEPS = 6  # beyond, the levels are finer than anything needs
NOTICED = 0.02  # a relative gain below is none


@dataclass(frozen=True)
class Remedy:
    """A change of options.

    Attributes:
        words: what to do, and `flags` of the command line that do it.
        cures: causes.
        changes: options of `convert`.
        applies: whether it says anything new.
    """

    words: str
    flags: str
    cures: tuple[str, ...]
    changes: dict[str, Any]
    applies: bool


def remedies(config: SpikingConfig, calibration: dict[str, Any], takes_t: bool) -> list[Remedy]:
    """All that might help a network of this configuration."""
    steps, radix = config.timesteps, config.code == "radix"
    plain = config.held_as_counts and config.norm == "accumulated"
    more = steps + 1 if radix else 2 * steps
    digits = max(steps, 4) if 2 ** max(steps, 4) - 1 > config.levels else RADIX_STEPS
    exact = {"signed": True, "settle": "auto", "firing": "immediate"}
    lossy = plain and config.firing == "immediate" and (config.settle is not None
                                                        or not config.signed)  # fmt: skip
    rule = calibration.get("threshold")
    per_channel = calibration.get("per_channel", True)
    over_t = calibration.get("over_t") is not None
    return [
        Remedy(f"{more} timesteps instead of {steps}", f"--timesteps {more}",
               ("quantisation", "clipping"), {"timesteps": more}, True),
        Remedy(f"the radix code: {digits} binary spikes carry {2**digits - 1} levels",
               f"--code radix --timesteps {digits}", ("quantisation", "clipping"),
               {"code": "radix", "timesteps": digits, "firing": "deferred", "settle": "auto",
                "signed": True}, plain and not radix and 2**digits - 1 > config.levels),
        Remedy("thresholds at the 99.9th percentile, below the largest value", "--threshold 99.9%",
               ("clipping", "quantisation"), {"threshold": "99.9%"},
               rule not in (None, "99.9%", "percentile")),
        Remedy("thresholds of least squared error", "--threshold mse",
               ("clipping", "quantisation"), {"threshold": "mse"}, rule not in (None, "mse")),
        Remedy("thresholds at the largest value seen", "--threshold max", ("clipping",),
               {"threshold": "max"}, rule not in (None, "max")),
        Remedy("a threshold for each channel", "without --per-layer", ("clipping", "quantisation"),
               {"per_channel": True}, not per_channel),
        Remedy("thresholds that depend on t", "--thresholds-over-t 8",
               ("clipping", "quantisation"), {"thresholds_over_t": 8},
               rule is not None and takes_t and not over_t and plain),
        Remedy("bias correction", "without --no-bias-correction", ("clipping", "quantisation"),
               {"bias_correction": True}, calibration.get("bias_correction") is False),
        Remedy("signed spikes until silence: every count becomes the quantiser's integer",
               "--signed --settle auto", ("temporal",), exact, lossy),
        Remedy(f"{2 * steps} settle steps", f"--signed --settle {2 * steps}", ("temporal",),
               {"signed": True, "settle": 2 * steps}, lossy and (config.settle or 0) < 2 * steps),
        Remedy("firing after integrating, where arrival order cannot matter", "--firing deferred",
               ("temporal",), {"firing": "deferred", "settle": "auto"},
               config.firing == "immediate" and (lossy or not plain)
               and config.norm == "accumulated"),
        Remedy("norms that see what has accumulated", "--norm accumulated", ("temporal",),
               {"norm": "accumulated", **exact}, config.norm == "per_step"),
        Remedy("neurons without a leak", "--neuron if", ("temporal",),
               {"neuron": "if", "v_reset": None, **exact}, config.neuron == "lif"),
        Remedy("a soft reset, which loses no charge", "without --hard-reset", ("temporal",),
               {"v_reset": None, **exact}, config.neuron == "if" and config.v_reset is not None),
    ]  # fmt: skip


def advise(
    ann: nn.Module,
    trials: Trials,
    worst: Sequence[dict[str, Any]],
    held_out: Sequence[Call],
    takes_t: bool,
    on_trial: Callable[[str], object] = lambda words: None,
) -> dict[str, Any]:
    """What would help, each tried: converted again on `trials.calls`, measured on others.

    Args:
        ann: what the error is measured against.
        worst: layers, with their `cause`.
        held_out: inputs.

    Returns:
        `before` (relative error with the present options, converted on the same inputs), `tried`
        (`words`, `flags`, `cures`, `after`, `gain`, the best first; also those that did not help)
        and `layers`: for each of `worst` the numbers in `tried` of what helps its cause.
    """
    wanted = answers(ann, held_out)
    present = trials.snn.config
    causes = {row["cause"] for row in worst}
    tried: list[dict[str, Any]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few inputs; what is written was calibrated on more
        before = distance(quick(trials.converted()), wanted, held_out)
        for remedy in remedies(present, trials.snn.calibration, takes_t):
            if not remedy.applies or causes.isdisjoint(remedy.cures):
                continue
            on_trial(remedy.words)
            try:
                found = trials.converted(**remedy.changes)
            except SnnconvertError:
                continue  # such a network cannot have it
            after = distance(quick(found), wanted, held_out)
            tried.append({
                "words": remedy.words, "flags": remedy.flags, "cures": list(remedy.cures),
                "after": after, "gain": 1 - after / before if before else 0.0,
            })  # fmt: skip
    tried.sort(key=lambda row: -row["gain"])
    helpful = [[i for i, row in enumerate(tried)
                if layer["cause"] in row["cures"] and row["gain"] > NOTICED]
               for layer in worst]  # fmt: skip
    return {
        "before": before, "inputs": sum(trials.snn.program.batch_size(
            trials.snn.program.bind(*call)) for call in held_out), "tried": tried,
        "layers": [{"layer": row["layer"], "cause": row["cause"], "helped_by": found}
                   for row, found in zip(worst, helpful, strict=True)],
    }  # fmt: skip
