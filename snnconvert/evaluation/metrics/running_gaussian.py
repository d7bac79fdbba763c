"""Mean and covariance of a stream of vectors that is never held in memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snnconvert.errors import InputError


class RunningGaussian:
    """Accumulates float64 mean and covariance of vectors of length `dims`, batch by batch.

    Each batch is centred on its own mean before it is squared, and batches are merged by the rule
    of Chan, Golub & LeVeque 1979. The plain sum of outer products would cancel where the mean is
    large against the spread, which is so for Inception features.

    name     -> symbol there
    count       m + n
    mean        T / (m + n)
    scatter     S, the sum of squared deviations, here a matrix
    """

    def __init__(self, dims: int) -> None:
        self.count = 0
        self.mean: NDArray[np.float64] = np.zeros(dims)
        self.scatter: NDArray[np.float64] = np.zeros((dims, dims))

    def add(self, batch: ArrayLike) -> None:
        """Take in vectors [B, dims]; an empty batch changes nothing."""
        rows = np.asarray(batch, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != len(self.mean):
            raise InputError(f"moments: found shape {rows.shape}, needed [B, {len(self.mean)}]")
        if len(rows) == 0:
            return
        centre = rows.mean(axis=0)
        rows = rows - centre
        gap = centre - self.mean
        total = self.count + len(rows)
        self.scatter += rows.T @ rows
        self.scatter += np.outer(gap, gap) * (self.count * len(rows) / total)
        self.mean += gap * (len(rows) / total)
        self.count = total

    def covariance(self) -> NDArray[np.float64]:
        """Unbiased covariance [dims, dims]. InputError below two vectors."""
        if self.count < 2:
            raise InputError(f"covariance: found {self.count} vectors, at least 2 are needed")
        return self.scatter / (self.count - 1)
