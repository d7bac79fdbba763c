"""Activations written out in arithmetic become the neurons that their own operation becomes."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnconvert.conversion.capture.export import capture
from snnconvert.conversion.execution.interpreter import Interpreter
from snnconvert.conversion.prepare.simplify import prepared

WRITTEN = {
    "gelu": lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
    "gelu, halved last": lambda x: x * (torch.erf(x * 0.70710678) + 1) / 2,
    "gelu, tanh": lambda x: (
        0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    ),
    "gelu, tanh, cube as products": lambda x: (
        x * 0.5 * (torch.tanh((x + 0.044715 * (x * (x * x))) * math.sqrt(2 / math.pi)) + 1)
    ),
    "mish": lambda x: x * torch.tanh(F.softplus(x)),
    "hard swish": lambda x: x * (x + 3).clamp(0, 6) / 6,
    "hard swish, relu6": lambda x: x * F.relu6(x + 3) * (1 / 6),
    "softplus": lambda x: torch.where(x > 20, x, F.softplus(x)),
}
OTHERS = {
    "another factor": lambda x: 0.6 * x * (1 + torch.erf(x / math.sqrt(2))),
    "another scale": lambda x: 0.5 * x * (1 + torch.erf(x / 2)),
    "of something else": lambda x: 0.5 * x * (1 + torch.erf((x + 1) / math.sqrt(2))),
    "another clip": lambda x: x * (x + 3).clamp(0, 5) / 6,
    "softplus too early": lambda x: torch.where(x > 1, x, F.softplus(x)),
}


class Written(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.first, self.function, self.last = nn.Linear(4, 5), function, nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)))


def functions(function) -> tuple[list[str], Tensor, Tensor]:
    """Operations but those with weights; the result before and after."""
    torch.manual_seed(0)
    model, x = Written(function).eval(), torch.randn(6, 4)
    program, constants = prepared(capture(model, x))
    found = Interpreter(program).run(constants, program.bind((x,), {}))
    return [n.op for n in program.nodes if "linear" not in n.op], found, model(x)


@pytest.mark.parametrize("name", WRITTEN)
def test_written_out_activations_are_found(name):
    ops, found, wanted = functions(WRITTEN[name])
    assert len(ops) == 1 and name.split(",")[0].replace(" ", "") in ops[0]
    assert torch.allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("name", OTHERS)
def test_others_stay_as_they_are(name):
    ops, found, wanted = functions(OTHERS[name])
    assert len(ops) > 1
    assert torch.allclose(found, wanted, atol=1e-6)


def test_a_value_that_is_read_elsewhere_stays():
    def function(x: Tensor) -> Tensor:
        gate = torch.erf(x / math.sqrt(2))
        return 0.5 * x * (1 + gate) + gate

    assert "aten.erf.default" in functions(function)[0]
