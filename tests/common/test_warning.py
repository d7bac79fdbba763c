"""A warning names the line of the user that caused it, however deep it arises."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn

import snnconvert


class WholeBatch(nn.Module):
    """Works for one size of batch only."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.first(x).relu().reshape(8, 4))


def line() -> int:
    """Of the caller."""
    return inspect.currentframe().f_back.f_lineno


@pytest.mark.filterwarnings("ignore")
def test_warnings_point_at_the_call():
    x = torch.randn(8, 3)
    plain = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        plain[0].weight[0], plain[0].bias[0] = 0.0, -1.0  # a channel that is always zero
    calls = [
        (lambda: snnconvert.convert(plain, 4, example_inputs=x, calibration=[x]), line()),
        (lambda: snnconvert.quantize(plain, 4, example_inputs=x), line()),
        (lambda: snnconvert.convert(WholeBatch(), 4, example_inputs=x, calibration=[x]), line()),
        (lambda: torch.no_grad()(snnconvert.check)(WholeBatch(), x), line()),
    ]
    said = ["zero on all 8", "zero on all 8", "only for batches", "only for batches"]
    for (call, number), words in zip(calls, said, strict=True):
        with pytest.warns(UserWarning, match=words) as caught:
            call()
        assert {(found.filename, found.lineno) for found in caught} == {(__file__, number)}
