"""Folded batch norms: the same function, and nothing folded that others read."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import snnconvert
from snnconvert.conversion.convertible import captured_of
from snnconvert.conversion.execution.interpreter import Interpreter
from snnconvert.conversion.graph.nodes import BATCH_NORM
from snnconvert.conversion.prepare.batch_norm import fold_batch_norms
from snnconvert.conversion.prepare.simplify import prepared


class Net(nn.Module):
    """Norms with and without weights; a shared convolution; a convolution that others read too."""

    def __init__(self, conv: type[nn.Module], norm: type[nn.Module]) -> None:
        super().__init__()
        self.a, self.b = conv(4, 8, 3, padding=1, groups=2), conv(8, 8, 3, padding="same")
        self.c = conv(8, 8, 1, bias=False)
        self.norms = nn.ModuleList([norm(8), norm(8, affine=False), norm(8), norm(8), norm(8)])
        for module in self.norms:
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.3, 2.0)
            if module.affine:
                nn.init.uniform_(module.weight, -1.0, 1.5)
                nn.init.uniform_(module.bias, -0.5, 0.5)

    def forward(self, x):
        h = F.relu(self.norms[0](self.a(x)))
        h = F.relu(self.norms[1](self.b(h)))
        h = F.relu(self.norms[2](self.c(h))) + F.relu(self.norms[3](self.c(h)))
        last = self.b(h)
        return F.relu(self.norms[4](last)) + last


def network_and_input(axes: int) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    conv, norm = getattr(nn, f"Conv{axes}d"), getattr(nn, f"BatchNorm{axes}d")
    return Net(conv, norm).eval(), torch.randn(3, 4, *[6] * axes)


@pytest.mark.parametrize("axes", [1, 2, 3])
@torch.no_grad()
def test_the_function_stays(axes):
    model, x = network_and_input(axes)
    program, constants = prepared(captured_of(model.double(), x.double()))
    before = {name: value.clone() for name, value in constants.items()}
    folded, new = fold_batch_norms(program, constants)
    left = [node for node in folded.nodes if node.op == BATCH_NORM]
    assert len(left) == 1 and len(program.nodes) - len(folded.nodes) == 4
    found = Interpreter(folded).run(new, [x.double()])
    torch.testing.assert_close(found, model(x.double()), rtol=1e-10, atol=1e-10)
    assert all(torch.equal(before[name], value) for name, value in constants.items())


def test_calibrated_networks_have_no_norm_behind_a_convolution():
    model, x = network_and_input(2)
    snn = snnconvert.convert(model, 64, example_inputs=x, calibration=[x])
    assert [node.op for node in snn.program.nodes].count(BATCH_NORM) == 1
    assert torch.equal(snn(x), snn.quantized_ann()(x))
    with torch.no_grad():
        assert (snn(x) - model(x)).norm() < 0.05 * model(x).norm()


def test_trainable_ones_keep_theirs():
    model, x = network_and_input(2)
    trainable = snnconvert.quantize(model, 4, example_inputs=x)
    assert set(model.state_dict()) <= set(trainable.state_dict())
    snn = snnconvert.convert(trainable.eval(), 4)
    with torch.no_grad():
        assert torch.equal(snn(x), trainable(x))
