"""Improved precision and recall (Kynkäänniemi et al. 2019) through torch-fidelity."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from snnconvert.errors import InputError
from snnconvert.evaluation.metrics.features import Inception
from snnconvert.images.sources import Source

NEIGHBOURS = 3  # as in the paper
ROWS = 1000  # of the distance matrix held at once


def precision_recall(generated: Tensor, real: Tensor) -> tuple[float, float]:
    """Share of generated features inside the real manifold, and of real ones inside the generated.

    Args:
        generated, real: float [N, dims] and [M, dims]; equal numbers are the convention. The paper
            takes VGG features: figures from Inception features compare among themselves only.

    Raises:
        InputError: too few vectors for 3 neighbours, or torch-fidelity is not installed.
    """
    metric = torch_fidelity_metric()
    if min(len(generated), len(real)) <= NEIGHBOURS:
        raise InputError(
            f"precision and recall: found {len(generated)} and {len(real)} images, "
            f"needed are more than {NEIGHBOURS} of each"
        )
    found = metric(
        generated, real, prc_neighborhood=NEIGHBOURS, prc_batch_size=ROWS, save_cpu_ram=True,
        verbose=False,
    )  # fmt: skip
    return found["precision"], found["recall"]


def torch_fidelity_metric() -> Callable[..., dict[str, float]]:
    """torch-fidelity's metric; InputError with the remedy where it is missing."""
    try:
        from torch_fidelity.metric_prc import prc_features_to_metric
    except ImportError as error:
        raise InputError(
            f"precision and recall need torch-fidelity ({error}); "
            "pip install 'snnconvert[evaluation]'"
        ) from error
    result: Callable[..., dict[str, float]] = prc_features_to_metric
    return result


def features_of(source: Source, inception: Inception, count: int, batch_size: int) -> Tensor:
    """float32 [count, dims], in memory: neighbours cannot be found in a stream."""
    return torch.cat([inception(pixels)[0] for pixels in source.batches(batch_size, count)])
