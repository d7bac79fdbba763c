"""The one-pass file goes over memory less often, and computes what the network does."""

from __future__ import annotations

from collections import Counter

import onnx
import torch
from torch import nn

import snnconvert


class Kinds(nn.Module):
    """A norm before neurons; counts read by grouped and plain weights, by an addition, by both."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8)
        self.grouped = nn.Conv2d(8, 12, 3, padding=1, groups=2)
        self.a, self.b = nn.Conv2d(12, 12, 1), nn.Conv2d(12, 12, 3, padding=1)
        self.linear, self.last = nn.Linear(12 * 16, 9), nn.Linear(9, 5)
        nn.init.normal_(self.norm.weight, 1, 0.3)
        nn.init.normal_(self.norm.bias, 0, 0.3)

    def forward(self, x):
        only_weights = torch.relu(self.norm(self.first(x)))
        added_too = torch.relu(self.grouped(only_weights))
        summed = torch.relu(self.a(added_too) + added_too)
        twice = torch.relu(self.b(summed))
        once = torch.relu(self.linear(twice.flatten(1)))
        return self.last(once), twice


def test_constants_go_into_norms_and_weights(tmp_path):
    torch.manual_seed(0)
    x = torch.randn(6, 3, 4, 4)
    snn = snnconvert.convert(Kinds().eval(), 4, example_inputs=x, calibration=[x])
    assert all(cell.v_threshold.ndim == 1 for cell in snn.neurons.values())  # one a channel
    parity = snnconvert.export_onnx(snn, tmp_path / "out.onnx", examples=[x])
    assert parity.holds and parity.different_counts == 0
    graph = onnx.load(str(tmp_path / "out.onnx")).graph
    reads = {name: node.op_type for node in graph.node for name in node.output}
    kinds = Counter(node.op_type for node in graph.node)
    of_counts = [n for n in graph.node if reads.get(n.input[0]) == "Clip"]
    scaled = [n for n in of_counts if n.op_type == "Mul"]
    assert kinds["Floor"] == kinds["Clip"] == 5
    # What an addition or the caller reads as well is still multiplied out, once.
    assert len(scaled) == 2
    assert [n.op_type for n in of_counts if n not in scaled] == ["Conv", "Conv", "Gemm"]
    behind = [n for n in graph.node if n.op_type == "Mul" and n not in scaled]
    assert len(behind) == 5  # a scale for each layer of neurons, the norm's weights in its own
    used = {name for node in graph.node for name in node.input}
    assert {entry.name for entry in graph.initializer} <= used  # none is left over
