"""Whether the data suffice is judged on data held back: values count, not inputs."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import snnconvert


def converted(timesteps: int, x: torch.Tensor):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 4))
    return snnconvert.convert(model, timesteps, code="radix", example_inputs=x[:2], calibration=[x])


def data(count: int) -> torch.Tensor:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(1))


def test_few_vectors_do_not_settle_fine_thresholds_and_the_number_that_would_is_said():
    with pytest.warns(UserWarning, match=r"has not converged after 128 inputs.*about .* inputs"):
        few = converted(8, data(128)).calibration
    wanted = few["wanted_inputs"]
    assert 1000 < wanted < 100_000
    (ratio,) = few["unsettled"].values()
    assert ratio > 10
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        more = converted(8, data(wanted)).calibration
    assert max(more["unsettled"].values(), default=1) < 3  # of what was more than 10


def test_coarse_thresholds_settle_with_few():
    assert not converted(3, data(4096)).calibration["unsettled"]
