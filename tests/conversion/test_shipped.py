"""What the README promises of the shipped network, on its 256 real noised inputs."""

import pytest
import torch

import snnconvert
from snnconvert.conversion.spiking.plain_simulation import PlainSimulation
from tests.support.errors import relative_error


@pytest.fixture(scope="module")
def snn(qann, real_batches):
    return snnconvert.convert(qann, 4, example_inputs=real_batches[0])


@torch.no_grad()
def error_of(snn, qann, batches) -> float:
    return relative_error([snn(*b) for b in batches], [qann(*b) for b in batches])


def test_falls_silent_on_the_quantised_ann(snn, qann, real_batches):
    spikes = counts = 0.0
    for x, t in real_batches:
        run = snn.run(x, t, record="counts")
        assert run.silent
        assert run.steps <= 11
        with torch.no_grad():
            assert torch.equal(run.output, qann(x, t))
        spikes += sum(float(v.sum()) for v in run.emitted.values())
        counts += sum(float(v.sum()) for v in run.counts.values())
    assert spikes <= 1.3 * counts
    assert counts > 0


def test_deferred_and_counts_are_the_quantised_ann(snn, qann, real_batches):
    batches = real_batches[:2]
    for options in ({"firing": "deferred"}, {"simulate": "counts"}):
        other = snn.with_config(**options)
        assert error_of(other, qann, batches) == 0.0


def test_errors_are_ordered_as_the_readme_says(snn, qann, real_batches):
    """Fewer settle steps lose more; unsigned spikes and SDM's rule lose most."""
    batches = real_batches[:1]

    def error(**options):
        return error_of(snn.with_config(**options), qann, batches)

    ours = [error(settle=k) for k in (0, 1, 2, 4)]
    assert ours == sorted(ours, reverse=True)
    assert ours[0] > 0 and ours[-1] < 0.01
    assert error(settle=0, signed=False) > ours[1]
    assert error(settle=0, norm="per_step") > 1.2 * ours[0]
    assert error(settle=0, norm="per_step", signed=False) > 1.2 * ours[0]


@pytest.mark.parametrize("firing", ["immediate", "deferred"])
def test_spike_for_spike_the_plain_simulation_in_float64(qann, real_batches, firing):
    """Potentials added up step by step on spikingjelly's neurons; nothing shared but the graph."""
    x, t = (value[:2].double() for value in real_batches[0])
    snn = snnconvert.convert(qann, 4, example_inputs=real_batches[0], firing=firing).double()
    run = snn.run(x, t, record="spikes")
    plain = PlainSimulation(snn).run(x, t, steps=run.steps)
    skipped = 4 if firing == "deferred" else 0  # the plain one also clocks the input's steps
    for name, train in run.trains.items():
        assert torch.equal(plain.trains[name][skipped:], train), name
    assert torch.allclose(plain.output, run.output, atol=1e-10)


@pytest.mark.parametrize("firing", ["immediate", "deferred"])
def test_float32_layers_differ_only_at_boundaries(snn, real_batches, firing):
    """Fed the same input spikes, each layer differs in at most 1e-5 of its spikes."""
    x, t = (value[:16] for value in real_batches[0])
    run = snn.with_config(firing=firing).run(x, t, record="spikes")
    plain = PlainSimulation(snn.with_config(firing=firing), forced=run.trains)
    result = plain.run(x, t, steps=run.steps)
    for name, train in run.trains.items():
        assert result.mismatches[name] <= 1e-5 * train.numel(), name
    assert result.mismatch_distance < 1e-3


def test_images_from_equal_seeds_are_equal(snn, qann):
    options = {"shape": (2, 1, 32, 32), "solver": "ddim", "steps": 50, "seed": 7, "clip": True,
               "prediction": "v"}  # fmt: skip
    wanted = snnconvert.sample(qann, **options)
    for changes in ({}, {"simulate": "counts"}, {"reset": "trajectory"}):
        assert torch.equal(snnconvert.sample(snn.with_config(**changes), **options), wanted)
