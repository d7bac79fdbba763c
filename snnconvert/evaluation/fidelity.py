"""Hold images against reference statistics: FID, Inception Score, precision and recall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from snnconvert.common.checks import checked_integer
from snnconvert.errors import DataError, InputError
from snnconvert.evaluation.metrics.cache import checked_count, fitted, statistics_of
from snnconvert.evaluation.metrics.features import Inception
from snnconvert.evaluation.metrics.fid import frechet_distance
from snnconvert.evaluation.metrics.gaussian import Statistics
from snnconvert.evaluation.metrics.inception_score import InceptionScore, Score
from snnconvert.evaluation.metrics.precision_recall import (
    features_of,
    precision_recall,
    torch_fidelity_metric,
)
from snnconvert.evaluation.metrics.running_gaussian import RunningGaussian
from snnconvert.files.atomic import save_json
from snnconvert.images.sources import Source, StoredSource
from snnconvert.version import __version__


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found. `to_dict()` has stable keys; `to_dict()["fid"]` is the figure."""

    content: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return self.content

    def save(self, path: str | Path) -> None:
        """Write the result as JSON, atomically."""
        save_json(self.content, path)


@dataclass(frozen=True)
class Measured:
    """One pass over the images. `features` [count, dims] only where they were asked for."""

    statistics: Statistics
    score: Score | None
    features: Tensor | None


def fidelity(
    source: Source,
    against: Statistics | StoredSource,
    inception: Inception,
    *,
    count: int | None = None,
    score: bool = True,
    neighbours: bool = False,
    batch_size: int = 32,
    progress: bool = False,
    command: str = "",
) -> Evaluation:
    """FID of `source` against a reference, and what else the weights and the reference allow.

    Args:
        source: drawn or stored images, seen once and not kept.
        against: statistics, or images whose statistics are computed (once) with `inception`.
        inception: feature network; its `dims` names the figure (FID-768).
        count: images to take; default all of `source`.
        score: Inception Score too, where the weights allow; it runs Inception to its end.
        neighbours: precision and recall too; `against` must then be images, of which as many are
            taken as of `source` (or all there are).
        command: kept in the result, so that the figure can be found again.

    Raises:
        InputError: too few images, another feature size, a batch size below 1.
        DataError: another image size, features that are not finite.
    """
    batch_size = checked_integer("batch_size", batch_size, 1)
    count = checked_count(source, count)
    check_comparable(source, against, inception.dims, neighbours)
    if isinstance(against, Statistics):
        reference, real = against, None
    else:
        reference = statistics_of(against, inception, batch_size=batch_size, progress=progress)
        real = against if neighbours else None
    missing = inception.unscored if score else "not asked for"
    found = measure(
        source, inception, count, classify=missing is None, keep=real is not None,
        batch_size=batch_size, progress=progress,
    )  # fmt: skip
    closeness = None if real is None else near(found, real, inception, batch_size)
    return Evaluation({
        "metric": f"FID-{inception.dims}",
        "fid": frechet_distance(found.statistics, reference),
        "dims": inception.dims,
        "samples": count,
        "inception_score": None if found.score is None else asdict(found.score),
        "inception_score_missing": missing,
        "precision_recall": closeness,
        "of": source.facts(),
        "against": about(reference),
        "weights": inception.weights,
        "notes": notes(found.statistics, reference),
        "command": command,
        "versions": {"snnconvert": __version__, "torch": str(torch.__version__)},
    })  # fmt: skip


def about(reference: Statistics) -> dict[str, Any]:
    """What a report says of a reference; None where its file does not say."""
    return {
        "source": reference.source,
        "samples": reference.count or None,
        "weights": reference.weights or None,
    }


def near(
    found: Measured, real: StoredSource, inception: Inception, batch_size: int
) -> dict[str, Any]:
    """Precision and recall against as many real images as were drawn, or all there are."""
    assert found.features is not None  # kept whenever there are real images
    count = min(len(found.features), len(real))
    wanted = features_of(real, inception, count, batch_size)
    precision, recall = precision_recall(found.features, wanted)
    return {"precision": precision, "recall": recall, "real_images": count}


def measure(
    source: Source,
    inception: Inception,
    count: int,
    *,
    classify: bool,
    keep: bool,
    batch_size: int,
    progress: bool,
) -> Measured:
    """One pass over `count` images: statistics, and score and features where asked for."""
    moments = RunningGaussian(inception.dims)
    score = InceptionScore(count) if classify else None
    kept: list[Tensor] = []
    with tqdm(total=count, desc=source.name, unit="image", miniters=0, disable=not progress) as bar:
        shown = partial(show_evaluations, bar)  # a drawn batch takes long: show that it goes on
        for pixels in source.batches(batch_size, count, shown):
            features, probabilities = inception(pixels, classify)
            moments.add(features.numpy())
            if score is not None and probabilities is not None:
                score.add(probabilities.numpy())
            if keep:
                kept.append(features)
            bar.update(len(pixels))
    return Measured(
        statistics=fitted(moments, source, inception),
        score=score.result() if score is not None else None,
        features=torch.cat(kept) if keep else None,
    )


def show_evaluations(bar: tqdm, evaluations: int) -> None:
    """Network evaluations behind the bar, as often as the bar is drawn."""
    bar.set_postfix_str(f"{evaluations} network evaluations", refresh=False)
    bar.update(0)


def check_comparable(
    source: Source, against: Statistics | StoredSource, dims: int, neighbours: bool
) -> None:
    """Whatever would make the figure meaningless is an error before any slow work."""
    if isinstance(against, Statistics):
        name = against.source
        if against.dims != dims:
            raise InputError(
                f"{name}: statistics of {against.dims} features, needed are {dims}; "
                f"use --dims {against.dims}, or compute them with `snnconvert stats --dims {dims}`"
            )
        if neighbours:
            raise InputError(
                f"{name}: precision and recall need images to compare with, not statistics"
            )
    else:
        name = against.name
        checked_count(against, None)
    if neighbours:
        torch_fidelity_metric()
    size = against.image_size
    if size not in ((0, 0), source.image_size):
        raise DataError(
            f"{name}: images of {shown(size)} pixels, those of {source.name} have "
            f"{shown(source.image_size)}; their features would differ for that alone: give "
            "--image-size, or compute the statistics at that size"
        )


def notes(found: Statistics, reference: Statistics) -> list[str]:
    """What a reader of the figure has to know."""
    lines = [
        f"{what}: {s.count} images for {s.dims} features: the covariance is singular and the FID "
        f"biased upwards; more than {s.dims} images are needed"
        for what, s in (("samples", found), ("reference", reference))
        if s.singular
    ]
    if reference.weights and reference.weights != found.weights:
        lines.append(
            f"the reference was computed with other Inception weights ({reference.weights}, "
            f"now {found.weights}); compute it again with `snnconvert stats`"
        )
    return lines


def shown(size: Sequence[int]) -> str:
    """(height, width) -> "width x height"."""
    return f"{size[1]} x {size[0]}"
