"""Values that are true, false or whole are no activations: no neuron fires them."""

import pytest
import torch
from torch import nn

import snnconvert

WRITTEN = {
    "where": lambda b: torch.where(b > 0, b, torch.zeros_like(b)),
    "where with a number": lambda b: torch.where(b > 0, b, 0),
    "maximum": lambda b: torch.maximum(b, torch.zeros_like(b)),
    "product": lambda b: b * (b > 0),
    "both": lambda b: b & (b > 0),
    "clamp of whole numbers": lambda b: torch.clamp(b.int(), 0),
    "ReLU of whole numbers": lambda b: torch.relu(b.long()),
    "sum": lambda b: torch.relu(b.sum(1, keepdim=True)),
    "argmax": lambda b: torch.relu(b.int().argmax(1, keepdim=True)),
}


class Asks(nn.Module):
    """Asks of an activation, or (`early`) of its input, and reads the answer through weights."""

    def __init__(self, written, early):
        super().__init__()
        self.written, self.early = written, early
        self.first, self.second, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        inner = torch.relu(self.first(x))
        answer = self.written((x if self.early else inner) > 0.1).float()
        return self.last(answer + torch.relu(self.second(inner)))


@pytest.mark.parametrize("early", [False, True], ids=["of spikes", "of the input"])
@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_functions_of_answers_convert_without_loss(written, early):
    torch.manual_seed(0)
    model, x = Asks(written, early).eval(), torch.randn(16, 4)
    snn = snnconvert.convert(model, 4, example_inputs=x, calibration=[x])
    assert torch.equal(snn(x), snn.quantized_ann()(x))
    fine = snnconvert.convert(
        model, 12, example_inputs=x, calibration=[x], code="radix", firing="deferred",
        threshold="max", bias_correction=False,
    )  # fmt: skip
    apart = (fine(x) - model(x)).norm(dim=1) / model(x).norm(dim=1)
    assert (apart < 0.01).float().mean() > 0.8  # but for answers that a rounding turned round
