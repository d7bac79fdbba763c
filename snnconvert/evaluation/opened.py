"""What an evaluation holds its images against, by the name that a user gives."""

from __future__ import annotations

from pathlib import Path

from snnconvert.evaluation.metrics.gaussian import Statistics, holds_statistics, load_statistics
from snnconvert.images.datasets import DATASETS
from snnconvert.images.sources import Source, StoredSource, open_source


def open_reference(
    data: str, root: Path, image_size: int | None, like: Source
) -> Statistics | StoredSource:
    """What --against names; a dataset comes in the size of the images that it is compared with."""
    if holds_statistics(data):
        return load_statistics(data)
    if Path(data).suffix == ".npz":
        return open_source(data, root)
    if data.partition(":")[0] in DATASETS and image_size is None:
        image_size = max(like.image_size)
    return open_source(data, root, image_size)
