"""A network computes with the constants that it holds, wherever PyTorch has put them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import snnconvert
from snnconvert.conversion.spiking.network import SpikingNetwork

WEIGHT = "constant_p_model_0_weight"


@pytest.fixture
def snn() -> SpikingNetwork:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    x = torch.randn(300, 4)
    return snnconvert.convert(model, 4, example_inputs=x, calibration=[x])


class Halved(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight / 2


def halve_by_parametrization(snn: SpikingNetwork) -> None:
    parametrize.register_parametrization(snn, WEIGHT, Halved())


def halve_as_a_parameter(snn: SpikingNetwork) -> None:
    halved = getattr(snn, WEIGHT) / 2
    delattr(snn, WEIGHT)
    snn.register_parameter(WEIGHT, nn.Parameter(halved))


def halve_as_an_attribute(snn: SpikingNetwork) -> None:
    """As `torch.nn.utils.prune` leaves what it has pruned."""
    halved = getattr(snn, WEIGHT) / 2
    delattr(snn, WEIGHT)
    setattr(snn, WEIGHT, halved)


def halve_in_place(snn: SpikingNetwork) -> None:
    getattr(snn, WEIGHT).div_(2)


@pytest.mark.parametrize(
    "halve", [halve_by_parametrization, halve_as_a_parameter, halve_as_an_attribute, halve_in_place]
)
def test_constants_are_read_where_they_are(snn, halve):
    x = torch.randn(8, 4)
    before = snn(x)
    wanted = snn.constants["p_model_0_weight"] / 2
    halve(snn)
    assert torch.equal(snn.constants["p_model_0_weight"], wanted)
    assert not torch.equal(snn(x), before)
