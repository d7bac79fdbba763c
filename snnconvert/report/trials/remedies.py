"""What may help a network: remedies for the causes of an error, as options of a conversion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from snnconvert.conversion.calibration.options import NAMED, WeightCalibration
from snnconvert.conversion.finetune import refuse_exact
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.errors import InputError

CAUSES = ("clipping", "quantisation", "temporal")
FEWEST_DIGITS = 4  # of the radix code
TRAINING = 100  # steps of a training that is tried
PASSES = 4  # of the network, that a training step costs about


@dataclass(frozen=True)
class Remedy:
    """A change of options.

    Attributes:
        words: what to do, and `flags` of the command line that do it.
        cures: causes.
        changes: options of `convert`.
        applies: whether it says anything new.
        tuning: training steps under the network's own spikes, after the conversion.
        passes: of the network, that its training takes; 0: nothing is trained.
    """

    words: str
    flags: str
    cures: tuple[str, ...]
    changes: dict[str, Any]
    applies: bool
    tuning: int = 0
    passes: int = 0


def remedies(snn: SpikingNetwork, takes_t: bool) -> list[Remedy]:
    """All that might help a network of this configuration."""
    return [*chosen_otherwise(snn, takes_t), *trained_along(snn)]


def trained_along(snn: SpikingNetwork) -> list[Remedy]:
    """Remedies that train weights; they are tried with few steps, and take a while."""
    output = NAMED["distilled"] or WeightCalibration()
    along = replace(output, output_steps=TRAINING)
    clock = snn.config.timesteps + (snn.config.settle or 0)
    short = f"{TRAINING} training steps tried"
    return [
        Remedy(f"weights trained along, without labels ({short})", "--weights distilled",
               ("clipping", "quantisation"), {"weights": along},
               snn.calibration.get("weights", {}) is None, passes=PASSES * TRAINING),
        Remedy(f"fine-tuning under its own spikes ({short})", "then: finetune SNN --teacher ANN",
               CAUSES, {}, can_be_tuned(snn), TRAINING, PASSES * TRAINING * clock),
    ]  # fmt: skip


def can_be_tuned(snn: SpikingNetwork) -> bool:
    """Whether `finetune` takes it."""
    try:
        refuse_exact(snn)
    except InputError:
        return False
    return True


def chosen_otherwise(snn: SpikingNetwork, takes_t: bool) -> list[Remedy]:
    """Remedies that are other options."""
    config, calibration = snn.config, snn.calibration
    steps, radix = config.timesteps, config.code == "radix"
    plain = config.held_as_counts and config.norm == "accumulated"
    more = steps + 1 if radix else 2 * steps
    digits = max(FEWEST_DIGITS, config.levels.bit_length() + 1)
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
                "signed": True}, plain and not radix),
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
