"""A slice that takes everything is no operation; every other slice stays."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import snnconvert
from snnconvert.conversion.capture.export import capture
from snnconvert.conversion.execution.interpreter import Interpreter
from snnconvert.conversion.prepare.simplify import prepared

WHOLE = {
    "axes added": lambda x: x[:, :, None, None].flatten(1),
    "all of every axis": lambda x: x[:, :],
    "from the first on": lambda x: x[:, 0:],
    "one of two": lambda x: x[:][:, :][:],
}
PARTS = {
    "from the second on": lambda x: x[:, 1:],
    "the first two": lambda x: x[:, :2],
    "every second": lambda x: x[:, ::2],
    "the last three": lambda x: x[:, -3:],
    "all but the last": lambda x: x[:, :-1],
}


class Sliced(nn.Module):
    """A slice of the input, and one after its activation, which is its output."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.function(x).relu() * 2.0
        return self.function(h), h[:, :, None]


def slices(function, x: Tensor) -> int:
    """How many are left where it is applied; what they give is checked."""
    model = Sliced(function)
    program, constants = prepared(capture(model, x))
    found = Interpreter(program).run(constants, program.bind((x,), {}))
    assert all(map(torch.equal, found, model(x)))
    return sum(node.op == "aten.slice.Tensor" for node in program.nodes)


@pytest.mark.parametrize("written", WHOLE)
def test_a_slice_that_takes_everything_is_left_out(written):
    assert slices(WHOLE[written], torch.randn(4, 6)) == 0


@pytest.mark.parametrize("written", PARTS)
def test_one_that_takes_a_part_stays(written):
    assert slices(PARTS[written], torch.randn(4, 6)) >= 1


def test_a_spiking_network_has_none_either():
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.gate = nn.Conv2d(3, 8, 3), nn.Linear(5, 8)

        def forward(self, x: Tensor, c: Tensor) -> Tensor:
            return (self.conv(x) * self.gate(c).relu()[:, :, None, None]).relu()

    model, calls = Gated().eval(), (torch.randn(64, 3, 6, 6), torch.randn(64, 5))
    snn = snnconvert.convert(model, 4, example_inputs=calls, calibration=[calls])
    assert all(node.op != "aten.slice.Tensor" for node in snn.program.nodes)
    assert torch.equal(snn(*calls), snn.quantized_ann()(*calls))
