"""Planted errors of one kind land in the term of that kind; potentials tell when spikes come."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

import snnconvert
from snnconvert.neurons.integrate_and_fire import IF
from snnconvert.operators.clip import quantized_clip
from snnconvert.report.measures.activity import LayerActivity
from snnconvert.report.measures.layers import PARTS, LayerErrors
from snnconvert.report.measures.replay import potentials_of
from tests.support.unets import tiny_unet, unet_inputs

LEVELS, THETA = 8, 2.0


def shares_of(a, seen, late=0.0) -> dict[str, float]:
    """Share of each term in a layer whose quantiser saw `a` and whose neurons saw `seen`.

    late: probability with which a spike too many came.
    """
    cell = IF(torch.tensor(THETA), LEVELS)
    clip = SimpleNamespace(x=a, q=quantized_clip(a, torch.tensor(THETA), LEVELS), v_init=0.5)
    counts = cell.final(seen)
    counts = (counts + (torch.rand_like(counts) < late)).clamp(0, LEVELS)
    layer = LayerErrors("layer", "if", cell, LEVELS)
    layer.add(cell, clip, seen, counts, counts)
    assert layer.adds_up
    squares = {part: layer.squares[part] for part in PARTS}
    return {part: value / sum(squares.values()) for part, value in squares.items()}


def on_the_grid(n: int = 4000) -> torch.Tensor:
    """Activations that the quantiser hits exactly: nothing is lost by clipping or rounding."""
    return torch.randint(0, LEVELS + 1, (16, n)) * (THETA / LEVELS)


@pytest.mark.parametrize("cause", PARTS)
def test_a_planted_error_is_told_by_its_name(cause):
    a = on_the_grid()
    seen, late = a, 0.0
    if cause == "clipping":
        a = seen = torch.where(torch.rand_like(a) < 0.2, 3 * THETA, a)
    elif cause == "quantisation":
        a = seen = torch.rand_like(a) * THETA
    elif cause == "temporal":
        late = 0.3
    else:
        seen = a + torch.randint(-1, 2, a.shape) * (THETA / LEVELS)
    assert shares_of(a, seen, late)[cause] >= 0.95


def test_a_real_order_error_is_temporal():
    """Unsigned neurons that fire too early, in a network whose first layer is exact."""
    qann, inputs = tiny_unet(), unet_inputs()
    for settle, found in ((0, True), ("auto", False)):
        snn = snnconvert.convert(qann, 4, example_inputs=inputs, settle=settle)
        layers = snnconvert.compare(qann, snn, [inputs]).to_dict()["layers"]
        assert layers[0]["propagated"] == 0
        assert (sum(layer["temporal"] for layer in layers) > 0) == found


@pytest.mark.parametrize("options", [{}, {"firing": "deferred"}, {"code": "radix"}, {"settle": 2}])
def test_a_neuron_fires_where_its_potential_says_so(options):
    qann, inputs = tiny_unet(), unet_inputs()
    snn = snnconvert.convert(qann, 4, example_inputs=inputs, **options)
    run = snn.run(*inputs, record="spikes")
    found = potentials_of(snn, list(inputs), run, list(snn.neurons))
    for name, v in found.items():
        train = run.trains[name]
        assert v.shape == train.shape
        if options.get("code") or options.get("firing"):
            fired = train > 0  # who fires has the charge for it
            assert bool((v[fired] >= 1 - 1e-5).all())
            continue
        cell, before = run.neurons[name], train.cumsum(0) - train
        up = (v >= 1) & (before < cell.levels)
        down = (v < 0) & (before > cell.lowest)
        assert torch.equal(up.long() - down.long(), train.long())


def test_activity_counts_every_value_and_who_never_fires():
    a = torch.tensor([[-1.0, 0.1, 5.0, 2.0]]).repeat(6, 1)
    cell = IF(torch.tensor(THETA), LEVELS)
    counts = cell.final(a)
    activity = LayerActivity(LEVELS, 0)
    for _ in range(3):
        activity.add(a, cell.v_threshold, counts, counts)
    found = activity.to_dict()
    table = torch.tensor(found["table"])
    assert int(table.sum()) == 3 * a.numel() and table.shape == (found["bins"], found["rows"])
    assert found["always_silent"] == 0.5 and found["always_saturated"] == 0.5
