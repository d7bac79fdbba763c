"""The same ANN converted again with other options, as a trial."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from torch import nn

from snnconvert.conversion.convert import convert
from snnconvert.conversion.finetune import finetune
from snnconvert.conversion.spiking.config import spiking_config
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.errors import InputError
from snnconvert.report.trials.calls import Call

CALIBRATED = ("threshold", "per_channel", "bias_correction", "weights", "thresholds_over_t")


def options_of(snn: SpikingNetwork) -> dict[str, Any]:
    """The options of `convert` that made `snn`, but for weights that were trained along."""
    config = asdict(snn.config)
    known = snn.calibration
    repeated = ("threshold", "per_channel", "bias_correction")
    found: dict[str, Any] = {key: known[key] for key in repeated if key in known}
    over_t = known.get("over_t")
    if over_t:
        found |= {"thresholds_over_t": over_t["rows"], "t_argument": over_t["argument"]}
    settle = "auto" if config.pop("settle") is None else snn.config.settle
    return {**config, **found, "settle": settle, "reset": "call", "simulate": "steps"}


class Trials:
    """Conversions of one ANN with the options of `snn`, some of them changed.

    Args:
        ann: what `snn` was converted from; float where `snn` was calibrated.
        calls: to calibrate on.
    """

    def __init__(self, ann: nn.Module, snn: SpikingNetwork, calls: Sequence[Call]) -> None:
        self.ann, self.snn, self.calls = ann, snn, calls
        self.options = options_of(snn)
        self.spiking_time = not snn.functions_of_time

    @property
    def calibrates(self) -> bool:
        """Whether thresholds come from data; else they were learned."""
        return "threshold" in self.snn.calibration

    def converted(self, **changes: Any) -> SpikingNetwork:
        """With other options. InputError where they contradict the others, or cannot be had."""
        fits = {key: changes[key] for key in CALIBRATED if key in changes}
        if not self.calibrates:
            if fits:
                raise InputError(f"{', '.join(fits)}: thresholds were learned in training")
            wanted = {k: v for k, v in {**self.options, **changes}.items() if k != "t_argument"}
            config = asdict(spiking_config(**wanted))
            return self.snn if config == asdict(self.snn.config) else self.snn.with_config(**config)
        batches = [kwargs or args for args, kwargs in self.calls]
        return convert(
            self.ann, example_inputs=batches[0], calibration=batches,
            spiking_time=self.spiking_time, **{**self.options, **changes},
        )  # fmt: skip

    def tuned(self, snn: SpikingNetwork, teacher: nn.Module, steps: int) -> SpikingNetwork:
        """`snn` trained under its own spikes to answer as `teacher` does; as `finetune`."""
        batches = itertools.cycle(kwargs or args for args, kwargs in self.calls)
        return finetune(snn, batches, steps=steps, teacher=teacher, progress=False)
