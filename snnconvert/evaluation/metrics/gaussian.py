"""Mean and covariance of the Inception features of a set of images, and their file.

The file is the `.npz` of pytorch-fid (keys `mu`, `sigma`); further keys, which pytorch-fid
ignores, say what the numbers are: `count`, `dims`, `source`, `image_size`, `weights`.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnconvert.errors import DataError
from snnconvert.files.atomic import write_atomically

ASYMMETRY = 1e-6  # largest relative asymmetry that counts as rounding


@dataclass(frozen=True)
class Statistics:
    """A Gaussian fitted to features.

    Args:
        mean: float64 [dims].
        covariance: float64 [dims, dims], unbiased.
        count: images behind it; 0 where a foreign file does not say.
        source: what the images were.
        image_size: (height, width) before Inception's own resizing; (0, 0) where unknown.
        weights: first 16 digits of the sha256 of the Inception weights; "" where unknown.

    Raises:
        DataError: shapes that do not fit, values that are not finite, no symmetric covariance.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    count: int = 0
    source: str = ""
    image_size: tuple[int, int] = (0, 0)
    weights: str = ""

    def __post_init__(self) -> None:
        mean, covariance = self.mean, self.covariance
        if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
            raise DataError(
                f"{self.source}: mu has shape {mean.shape} and sigma {covariance.shape}; "
                "needed are [dims] and [dims, dims]"
            )
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise DataError(f"{self.source}: statistics hold NaN or infinity; compute them again")
        gap, scale = np.abs(covariance - covariance.T).max(), np.abs(covariance).max()
        if gap > ASYMMETRY * scale:
            raise DataError(f"{self.source}: sigma is not symmetric, so it is no covariance")

    @property
    def dims(self) -> int:
        """Length of a feature vector."""
        return len(self.mean)

    @property
    def singular(self) -> bool:
        """Whether fewer images than dims + 1 make the covariance singular (False if unknown)."""
        return 0 < self.count <= self.dims

    def save(self, path: str | Path) -> None:
        """Write a `.npz` that pytorch-fid reads, atomically."""
        arrays: dict[str, Any] = {
            "mu": self.mean,
            "sigma": self.covariance,
            "count": np.int64(self.count),
            "dims": np.int64(self.dims),
            "source": np.str_(self.source),
            "image_size": np.array(self.image_size, dtype=np.int64),
            "weights": np.str_(self.weights),
        }
        write_atomically(path, lambda file: np.savez(file, **arrays))


def load_statistics(path: str | Path) -> Statistics:
    """Statistics written by `Statistics.save` or by pytorch-fid; no pickle is ever run.

    Raises:
        DataError: no such file, damaged, without `mu` and `sigma`, or numbers that make no sense.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except Exception as error:  # damaged bytes can raise nearly anything
        raise DataError(
            f"{path}: is no readable .npz ({error}); write it with `snnconvert stats`"
        ) from error
    if not {"mu", "sigma"} <= found.keys():
        keys = ", ".join(found) or "nothing"
        raise DataError(
            f"{path}: holds {keys}; statistics have the keys mu and sigma "
            "(compute them with `snnconvert stats`)"
        )
    try:
        height, width = found.get("image_size", np.zeros(2)).tolist()
        return Statistics(
            mean=np.asarray(found["mu"], dtype=np.float64),
            covariance=np.asarray(found["sigma"], dtype=np.float64),
            count=int(found.get("count", 0)),
            source=str(found.get("source", path.name)),
            image_size=(int(height), int(width)),
            weights=str(found.get("weights", "")),
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: is damaged ({error}); compute it again") from error


def holds_statistics(path: str | Path) -> bool:
    """Whether `path` is an `.npz` with the key `mu`, told from its table of contents."""
    if not Path(path).is_file() or not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return "mu.npy" in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False  # whoever reads it says what is wrong with it
