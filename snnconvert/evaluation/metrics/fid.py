"""The Fréchet distance between two Gaussians (Heusel et al. 2017, equation 6)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from snnconvert.errors import InputError
from snnconvert.evaluation.metrics.gaussian import Statistics


def frechet_distance(first: Statistics, second: Statistics) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)); 0 for equal statistics, never negative.

    The trace of the root is the sum of the singular values of R1^T R2 with C = R R^T. That needs
    no root of a non-symmetric product, cannot turn complex, and keeps full precision where the
    covariances are singular, as they are below dims + 1 images.

    Usual mistake: to compare distances of different feature sizes or different numbers of images.

    Raises:
        InputError: the statistics have different feature sizes.
    """
    if first.dims != second.dims:
        raise InputError(
            f"FID: found statistics of {first.dims} features ({first.source}) and of "
            f"{second.dims} ({second.source}); compute both with the same --dims"
        )
    gap = first.mean - second.mean
    roots = factor(first.covariance).T @ factor(second.covariance)
    root_trace = np.linalg.svd(roots, compute_uv=False).sum()
    traces = np.trace(first.covariance) + np.trace(second.covariance)
    return max(0.0, float(gap @ gap + traces - 2 * root_trace))


def factor(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """R [dims, dims] with R R^T = covariance; eigenvalues below zero are rounding and become 0."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    result: NDArray[np.float64] = vectors * np.sqrt(values.clip(min=0))
    return result
