"""An einsum that adds up products is a layer with weights, whatever its letters."""

import pytest
import torch
from torch import Tensor, nn

import snnconvert
from snnconvert.conversion.rules.einsum import macs_of_einsum, sums_products

pytestmark = pytest.mark.filterwarnings("ignore")


class ByEinsum(nn.Module):
    """Two layers, as `nn.Linear` without bias computes them."""

    def __init__(self, equation: str | None) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8, bias=False), nn.Linear(8, 3, bias=False)
        self.equation = equation

    def forward(self, x: Tensor) -> Tensor:
        if self.equation is None:
            return self.second(self.first(x).relu())
        h = torch.einsum(self.equation, x, self.first.weight).relu()
        return torch.einsum(self.equation, h, self.second.weight)


@pytest.mark.parametrize("equation", ["...d,ed->...e", "bnd,ed->bne", "bnd, ed -> bne"])
def test_layers_by_einsum_convert_and_cost_as_linear_ones(equation):
    linear, einsum, x = ByEinsum(None), ByEinsum(equation), torch.randn(6, 4, 6)
    einsum.load_state_dict(linear.state_dict())
    costs = []
    for model in (linear, einsum):
        snn = snnconvert.convert(
            model.eval(), 8, example_inputs=x, calibration=[x], per_channel=False
        )
        assert torch.equal(snn(x), snn.quantized_ann()(x))
        costs.append(snnconvert.compare(model, snn, [x]).to_dict()["cost"])
    assert costs[0] == costs[1]
    assert costs[1]["ann_macs"] == 4 * (6 * 8 + 8 * 3)
    assert costs[1]["spike_driven_fraction"] == 8 * 3 / (6 * 8 + 8 * 3)


@pytest.mark.parametrize(
    ("equation", "shapes", "macs"),
    [
        ("ij,jk->ik", [(2, 3), (3, 5)], 30),
        ("ij,jk", [(2, 3), (3, 5)], 30),
        ("...d,de->...e", [(2, 7, 3), (3, 5)], 2 * 7 * 3 * 5),
        ("b...,b...->b", [(2, 7, 3), (2, 7, 3)], 42),
        ("bnd,bmd->bnm", [(2, 4, 3), (2, 5, 3)], 2 * 4 * 5 * 3),
        ("bchw,oc->bohw", [(2, 3, 4, 4), (5, 3)], 2 * 5 * 16 * 3),
    ],
)  # fmt: skip
def test_every_product_is_counted_once(equation, shapes, macs):
    output = torch.einsum(equation, *map(torch.ones, shapes))
    assert int(output.sum()) == macs
    assert sums_products(equation)
    assert macs_of_einsum(shapes, output.shape, equation) == macs


@pytest.mark.parametrize("equation", ["bchw,bc->bchw", "bnd->bd", "ij->ji", "b,d->bd"])
def test_what_adds_nothing_up_is_no_layer(equation):
    assert not sums_products(equation)
