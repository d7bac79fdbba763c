"""What would help: remedies, each tried on data before it is advised."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from snnconvert.errors import SnnconvertError
from snnconvert.report.measures.timing import seconds_per_call
from snnconvert.report.trials.calls import Call, few
from snnconvert.report.trials.conversions import Trials
from snnconvert.report.trials.quick import answers, distance, quick
from snnconvert.report.trials.remedies import remedies

NOTICED = 0.02  # a relative gain below is none
PATIENCE = 20.0  # seconds that a training may take to be tried
TIMED = 32  # inputs of the pass that tells


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
        (`words`, `flags`, `cures`, `after`, `gain`, the best first; also those that did not help),
        `untried` (trainings that would have taken too long, with about how many `seconds`) and
        `layers`: for each of `worst` the numbers in `tried` of what helps its cause.
    """
    wanted = answers(ann, held_out)
    causes = {row["cause"] for row in worst}
    pass_seconds = seconds_of_pass(ann, trials)
    tried: list[dict[str, Any]] = []
    untried: list[dict[str, Any]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few inputs; what is written was calibrated on more
        before = distance(quick(trials.converted()), wanted, held_out)
        for remedy in remedies(trials.snn, takes_t):
            if not remedy.applies or causes.isdisjoint(remedy.cures):
                continue
            told = {"words": remedy.words, "flags": remedy.flags, "cures": list(remedy.cures)}
            seconds = remedy.passes * pass_seconds
            if seconds > PATIENCE:
                untried.append({**told, "seconds": seconds})
                continue
            on_trial(remedy.words)
            try:
                found = trials.converted(**remedy.changes)
                if remedy.tuning:
                    found = trials.tuned(found, ann, remedy.tuning)
            except SnnconvertError:
                continue  # such a network cannot have it
            after = distance(quick(found), wanted, held_out)
            tried.append({**told, "after": after, "gain": 1 - after / before if before else 0.0})
    tried.sort(key=lambda row: -row["gain"])
    helpful = [[i for i, row in enumerate(tried)
                if layer["cause"] in row["cures"] and row["gain"] > NOTICED]
               for layer in worst]  # fmt: skip
    return {
        "before": before, "inputs": sum(trials.snn.program.batch_size(
            trials.snn.program.bind(*call)) for call in held_out), "tried": tried,
        "untried": untried,
        "layers": [{"layer": row["layer"], "cause": row["cause"], "helped_by": found}
                   for row, found in zip(worst, helpful, strict=True)],
    }  # fmt: skip


def seconds_of_pass(ann: nn.Module, trials: Trials) -> float:
    """About how long a pass of one training step takes, once it is warm."""
    calls = few(trials.snn.program, trials.calls, TIMED)
    return seconds_per_call({"ann": ann}, *calls[0])["ann"] * len(calls)
