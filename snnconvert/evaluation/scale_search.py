"""The one-dimensional search of threshold scaling: FID against the scale of all thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.evaluation.fidelity import check_comparable, fidelity
from snnconvert.evaluation.metrics.cache import checked_count
from snnconvert.evaluation.metrics.features import Inception
from snnconvert.evaluation.metrics.gaussian import Statistics
from snnconvert.evaluation.sampled import Drawing, SampledSource


def search_scale(
    checkpoint: Checkpoint, drawing: Drawing, against: Statistics, scales: Sequence[float], *,
    count: int, stage: str | None = None, device: str = "cpu", command: str = "",
    progress: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """FID of the same seeds under every threshold scale; stable keys.

    Args:
        drawing: how images are drawn; its own scale is not looked at.
        scales: factors of every firing threshold, above 0; equal ones are tried once.
        count: images per scale.

    Raises:
        InputError: a network without neurons, a senseless scale, too few images, statistics of
            another feature size.
        DataError: another image size.
    """
    sources = [
        SampledSource.of(checkpoint, replace(drawing, threshold_scale=scale), count, stage,
                         device=device)
        for scale in sorted(set(scales))
    ]  # fmt: skip
    for source in sources:  # before any slow work
        checked_count(source, count)
        check_comparable(source, against, against.dims, False)
    inception = Inception(against.dims, device)
    rows, last = [], {}
    for source in sources:
        last = fidelity(source, against, inception, count=count, score=False, progress=progress,
                        batch_size=drawing.batch_size).to_dict()  # fmt: skip
        rows.append({"scale": source.drawing.threshold_scale, "fid": last["fid"]})
    of = {key: value for key, value in last["of"].items() if key != "threshold_scale"}
    return {
        "metric": last["metric"], "samples": count, "rows": rows,
        "best": min(rows, key=lambda row: row["fid"]), "of": of, "against": last["against"],
        "weights": last["weights"], "notes": last["notes"], "command": command,
        "versions": last["versions"],
    }  # fmt: skip
