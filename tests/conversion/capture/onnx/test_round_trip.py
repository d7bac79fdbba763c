"""Networks go out to ONNX and come in again as what they were, neurons included."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import snnconvert
from examples.networks import attention_unet, images, times, visual_transformer
from tests.support.onnx_files import exported, relative

pytestmark = pytest.mark.filterwarnings("ignore")


MAKE = {
    "transformer": lambda: (visual_transformer(), (images(4),)),
    "unet": lambda: (attention_unet(nn.SiLU), (images(4, size=16), times(4))),
}


@pytest.mark.parametrize(
    ("name", "dynamo", "opset"),
    [("transformer", False, 14), ("transformer", True, 18), ("unet", False, 18)],
)
def test_out_and_in_again(name, dynamo, opset, tmp_path):
    torch.manual_seed(0)
    model, inputs = MAKE[name]()
    network = snnconvert.load(exported(model, inputs, tmp_path / "n.onnx", dynamo, opset))
    assert snnconvert.check(network) == []
    with torch.no_grad():
        wanted = model.eval()(*inputs)
        assert relative(network(*inputs), wanted) < 1e-5
        one = [value[:1] for value in inputs]
        assert relative(network(*one), wanted[:1]) < 1e-5
        direct = snnconvert.convert(model, 8, example_inputs=inputs, calibration=[inputs],
                                    firing="deferred")  # fmt: skip
        again = snnconvert.convert(network, 8, calibration=[inputs], firing="deferred")
        errors = [relative(snn(*inputs), wanted) for snn in (direct, again)]
    assert len(direct.layers) == len(again.layers)
    assert errors[1] == pytest.approx(errors[0], rel=0.01)


class Activations(nn.Module):
    """Convolutions with one kind of activation between them."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), activation, nn.Conv2d(4, 4, 3), activation)
        self.end = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.end(self.body(x).mean((2, 3)))


@pytest.mark.parametrize(
    ("activation", "dynamo"),
    [(nn.GELU(), True), (nn.GELU(approximate="tanh"), False), (nn.Mish(), True),
     (nn.Hardswish(), False), (nn.SiLU(), False), (nn.ELU(), True), (nn.SELU(), False),
     (nn.LeakyReLU(), False), (nn.PReLU(4), True), (nn.ReLU6(), False), (nn.Hardsigmoid(), False),
     (nn.Softplus(), True)],
    ids=str,
)  # fmt: skip
def test_activations_become_neurons_again(activation, dynamo, tmp_path):
    torch.manual_seed(0)
    model, x = Activations(activation).eval(), torch.randn(4, 3, 8, 8)
    network = snnconvert.load(exported(model, (x,), tmp_path / "n.onnx", dynamo, 18))
    direct = snnconvert.convert(model, 4, example_inputs=x, calibration=[x])
    again = snnconvert.convert(network, 4, calibration=[x])
    assert len(again.layers) == len(direct.layers)
    assert relative(again(x), direct(x)) < 0.02
