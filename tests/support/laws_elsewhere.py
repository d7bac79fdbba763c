"""Conversion, report and fine-tuning compute where the network is, and leave nothing elsewhere.

Run by `tests/conversion/test_other_device.py`, in a process of its own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import snnconvert
from snnconvert.conversion.calibration.options import WeightCalibration
from snnconvert.conversion.capture.captured_network import CapturedNetwork
from snnconvert.conversion.convertible import captured_of
from snnconvert.conversion.finetune import finetune
from snnconvert.report.trajectory import follow
from snnconvert.report.verify import verify
from tests.support.other_device import other_device

pytestmark = pytest.mark.filterwarnings(
    "ignore:calibration has not converged", "ignore:.*zero on all", "ignore:path"
)
SCHEDULE = snnconvert.Schedule.linear()


class Denoiser(nn.Module):
    """(x, t) -> prediction, which makes tensors of its own in every call."""

    def __init__(self, function=nn.functional.silu) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.function = function
        self.first, self.last = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)
        self.norm = nn.GroupNorm(2, 4)

    def forward(self, x, t):
        wave = torch.sin(t[:, None] * torch.arange(4, device=x.device))[:, :, None, None]
        inner = self.function(torch.relu(self.norm(self.first(x))) + wave)
        return self.last(inner) + torch.zeros(len(x), 1, 1, 1, device=x.device)


@pytest.fixture(scope="module")
def captured():
    """Captured on the CPU: the other device is no place for the tracer."""
    return captured_of(Denoiser().eval(), inputs())


@pytest.fixture(scope="module")
def of_relu():
    return captured_of(Denoiser(torch.relu).eval(), inputs())


@pytest.fixture(scope="module")
def planar():
    torch.manual_seed(0)
    layers = nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)
    return captured_of(nn.Sequential(*layers).eval(), torch.randn(2, 3))


@pytest.fixture
def place():
    with other_device() as device:
        yield device


def inputs(rows: int = 24):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(rows, 2, 4, 4, generator=generator), torch.linspace(0, 999, rows)


def network_there(captured, place):
    return CapturedNetwork(captured).eval().to(place)


def moved(call, place):
    return tuple(value.to(place) for value in call)


WAYS = [
    {},
    {"simulate": "counts", "threshold": "99%"},
    {"firing": "deferred", "code": "radix", "threshold": "learned"},
    {"thresholds_over_t": 2, "reset": "trajectory"},
    {"v_init": "optimised", "per_channel": False},
    {"weights": WeightCalibration(block_steps=2)},
    {"path": snnconvert.SolverPath(SCHEDULE, steps=3, samples=4, passes=1)},
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(way) or "default")
def test_a_conversion_elsewhere_is_the_one_here(captured, place, way):
    call = inputs()
    here = snnconvert.convert(CapturedNetwork(captured).eval(), calibration=[call], **way)
    there = snnconvert.convert(
        network_there(captured, place), calibration=[moved(call, place)], **way
    )
    found = there(*moved(call, place))
    assert found.device == place
    assert torch.equal(found, there.quantized_ann()(*moved(call, place)))
    assert torch.equal(there.cpu()(*call), here(*call))


@pytest.mark.parametrize("way", [{"neuron": "lif"}, {"norm": "per_step"}], ids=str)
def test_approximations_elsewhere_are_those_here(of_relu, place, way):
    call = inputs()
    here, there = (
        snnconvert.convert(network, calibration=[data], **way)(*data)
        for network, data in (
            (CapturedNetwork(of_relu).eval(), call),
            (network_there(of_relu, place), moved(call, place)),
        )
    )
    assert there.device == place
    assert torch.equal(there.cpu(), here)


def test_reports_elsewhere_say_what_those_here_say(captured, place):
    call = inputs()
    found = []
    for network, data in (
        (CapturedNetwork(captured).eval(), call),
        (network_there(captured, place), moved(call, place)),
    ):
        snn = snnconvert.convert(network, calibration=[data])
        report = snnconvert.compare(network, snn, [data]).to_dict()
        assert verify(snn.quantized_ann(), snn, [data])
        path = follow(snn.quantized_ann(), snn, (2, 2, 4, 4), steps=3, schedule=SCHEDULE)
        found.append(({k: v for k, v in report.items() if k != "timing"}, path))
    assert found[0] == found[1]


def test_fine_tuning_elsewhere_gives_what_it_gives_here(captured, place):
    call = inputs()
    there, here = moved(call, place), call
    tuned = [
        finetune(
            snnconvert.convert(network, settle=0, calibration=[data]), [data], steps=1,
            progress=False,
        )(*data)
        for network, data in (
            (network_there(captured, place), there), (CapturedNetwork(captured).eval(), here),
        )
    ]  # fmt: skip
    assert tuned[0].device == place
    assert torch.equal(tuned[0].cpu(), tuned[1])


def test_a_file_made_of_a_network_elsewhere_is_that_of_one_here(captured, place, tmp_path):
    call = inputs(4)
    here, there = (
        snnconvert.convert(network, calibration=[data])
        for network, data in (
            (CapturedNetwork(captured).eval(), call),
            (network_there(captured, place), moved(call, place)),
        )
    )
    figures = [
        snnconvert.export_onnx(snn, tmp_path / f"{name}.onnx", examples=[data])
        for snn, data, name in ((here, call, "here"), (there, moved(call, place), "there"))
    ]
    assert figures[0] == figures[1] and figures[0].samples == 4
    files = [(tmp_path / f"{name}.onnx").read_bytes() for name in ("here", "there")]
    assert files[0] == files[1]
    assert all(value.device == place for value in there.constants.values())


def test_a_graph_made_of_a_network_elsewhere_is_that_of_one_here(planar, place):
    data = torch.randn(16, 3, generator=torch.Generator().manual_seed(2))
    graphs = [
        snnconvert.to_nir(snnconvert.convert(network, signed=False, settle=0, calibration=[x]))
        for network, x in (
            (CapturedNetwork(planar).eval(), data),
            (network_there(planar, place), data.to(place)),
        )
    ]
    here, there = (graph.to_dict() for graph in graphs)
    assert here["edges"] == there["edges"] and len(here["nodes"]) > 3
    for name, node in here["nodes"].items():
        assert all(np.array_equal(value, there["nodes"][name][key]) for key, value in node.items())


def test_weights_tied_elsewhere_are_tied_in_the_file(place):
    layer = nn.Linear(3, 3)
    captured = captured_of(nn.Sequential(layer, nn.ReLU(), layer).eval(), torch.randn(2, 3))
    (weight,) = {v.data_ptr(): v for v in captured.constants.values() if v.ndim == 2}.values()
    there = weight.to(place)
    constants = {n: there if v.ndim == 2 else v.to(place) for n, v in captured.constants.items()}
    assert sum(value is there for value in constants.values()) == 2
    network = CapturedNetwork(replace(captured, constants=constants))
    content = network.to_content()
    assert all(value.device.type == "cpu" for value in content["state"].values())
    for held in (network, CapturedNetwork.from_content(content)):
        assert held.get_parameter("0.weight") is held.get_parameter("2.weight")
