"""Statistics of stored images, computed once.

They are kept in `$SNNCONVERT_CACHE`, else `$XDG_CACHE_HOME/snnconvert`, else `~/.cache/snnconvert`,
under a name made of the images, their number, the feature size and the Inception weights.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path

from tqdm import tqdm

from snnconvert.common.checks import checked_integer
from snnconvert.errors import DataError, InputError
from snnconvert.evaluation.metrics.features import Inception
from snnconvert.evaluation.metrics.gaussian import Statistics, load_statistics
from snnconvert.evaluation.metrics.running_gaussian import RunningGaussian
from snnconvert.images.sources import Source, StoredSource

FORMAT = 2  # part of every name; raise it when features or statistics are computed differently


def statistics_of(
    source: StoredSource,
    inception: Inception,
    count: int | None = None,
    *,
    batch_size: int = 32,
    progress: bool = False,
) -> Statistics:
    """Statistics of the first `count` images (default all), from the cache where they are there.

    A cache that cannot be written is a warning on stderr, no error.

    Raises:
        InputError: fewer than two images, more than there are, or a batch size below 1.
        DataError: features that are not finite.
    """
    count = checked_count(source, count)
    key = f"{FORMAT} {source.identity()} {count} {inception.dims} {inception.weights}"
    path = cache_folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
    if path.is_file():
        try:
            return load_statistics(path)
        except DataError:
            path.unlink(missing_ok=True)  # a damaged entry is computed again
    statistics = compute_statistics(
        source, inception, count, batch_size=batch_size, progress=progress
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        statistics.save(path)
    except (OSError, InputError) as error:
        print(f"snnconvert: warning: statistics not cached: {error}", file=sys.stderr)
    return statistics


def compute_statistics(
    source: Source,
    inception: Inception,
    count: int,
    *,
    batch_size: int = 32,
    progress: bool = False,
) -> Statistics:
    """Statistics of the first `count` images; neither images nor features are kept."""
    batch_size = checked_integer("batch_size", batch_size, 1)
    moments = RunningGaussian(inception.dims)
    with tqdm(total=count, desc=source.name, unit="image", disable=not progress) as bar:
        for pixels in source.batches(batch_size, count):
            moments.add(inception(pixels)[0].numpy())
            bar.update(len(pixels))
    return fitted(moments, source, inception)


def fitted(moments: RunningGaussian, source: Source, inception: Inception) -> Statistics:
    """The statistics of what `moments` has seen of `source`."""
    return Statistics(
        mean=moments.mean,
        covariance=moments.covariance(),
        count=moments.count,
        source=source.name,
        image_size=source.image_size,
        weights=inception.weights,
    )


def checked_count(source: Source, count: int | None) -> int:
    """`count`, or all images of `source`; InputError unless it is 2 ... len(source)."""
    count = len(source) if count is None else count
    if count > len(source):
        raise InputError(f"{source.name}: found {len(source)} images, {count} were asked for")
    if count < 2:
        raise InputError(f"{source.name}: found {count} images, a covariance needs 2 or more")
    return count


def cache_folder() -> Path:
    """Where statistics are kept; it need not exist."""
    if chosen := os.environ.get("SNNCONVERT_CACHE"):
        return Path(chosen)
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # a user without a home
        folder = Path(tempfile.gettempdir())
    return folder / "snnconvert"
