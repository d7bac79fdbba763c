"""Functions that are not defined everywhere: what is undefined on the way leaves no trace."""

import pytest
import torch
from torch import nn

import snnconvert

FUNCTIONS = {
    "acos": torch.acos,
    "root": lambda v: (v + 1).sqrt(),
    "logarithm": lambda v: torch.log(v + 1.01),
    "quotient": lambda v: v / (v * v),  # 0 / 0 before the first spike
    "power": lambda v: (1 - v * v) ** 0.5,
}


class Partial(nn.Module):
    """Two counts whose difference is small at the end, and large before the second has come."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.first, self.apart = nn.Linear(2, 2, bias=False), nn.Linear(2, 1)
        self.last = nn.Linear(1, 2)
        with torch.no_grad():
            self.first.weight.copy_(torch.eye(2))
            self.apart.weight.copy_(torch.tensor([[1.5, -1.5]]))
            self.apart.bias.fill_(0.0)

    def forward(self, x):
        return self.last(self.function(self.apart(torch.relu(self.first(x)))))


def inputs():
    generator = torch.Generator().manual_seed(0)
    first, apart = torch.rand(2, 64, 1, generator=generator)
    return torch.cat([first, (first + (apart - 0.5) * 0.6).clamp(0)], 1)


def quantised(function):
    torch.manual_seed(0)
    x = inputs()
    return snnconvert.quantize(Partial(function).eval(), 4, calibration=[x], example_inputs=x)


def same(found, wanted):
    return torch.equal(found.nan_to_num(7.25), wanted.nan_to_num(7.25))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("reset", ["call", "trajectory"])
def test_a_silent_network_is_its_ann_whatever_it_went_through(function, reset):
    qann, x = quantised(function), inputs()
    wanted = qann(x)
    assert wanted.isfinite().any(1).sum() > 32
    snn = snnconvert.convert(qann, 4, example_inputs=x, reset=reset)
    run = snn.run(x)
    assert same(run.output, wanted) and run.silent
    assert len(snn.executor.waiting) == 1
    if reset == "trajectory":
        assert same(snn(x.flip(0)), qann(x.flip(0)))


@pytest.mark.filterwarnings("ignore")
def test_what_is_undefined_in_the_end_stays_so_in_its_own_row():
    qann, x = quantised(torch.acos), inputs()
    x[3], x[7] = torch.nan, torch.tensor([4.0, 0.0])  # acos of 1.5 times a full count
    wanted = qann(x)
    assert wanted[[3, 7]].isnan().all() and wanted[[0, 1, 2]].isfinite().all()
    assert same(snnconvert.convert(qann, 4, example_inputs=inputs())(x), wanted)


@pytest.mark.filterwarnings("ignore")
def test_the_exported_clock_waits_too(tmp_path):
    qann, x = quantised(torch.acos), inputs()
    snn = snnconvert.convert(qann, 4, example_inputs=x)
    snnconvert.export_onnx(snn, tmp_path / "clock.onnx", form="clock", examples=[x])
    exported = snnconvert.load(tmp_path / "clock.onnx")
    assert torch.allclose(exported(x), qann(x), atol=1e-5)


def test_spikingjelly_says_what_its_neurons_cannot_wait_for():
    snn = snnconvert.convert(quantised(torch.acos), 4, example_inputs=inputs())
    with pytest.warns(UserWarning, match="acos.*undefined before all spikes have come"):
        snnconvert.to_spikingjelly(snn)
