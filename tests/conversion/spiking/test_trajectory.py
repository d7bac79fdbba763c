"""One continuous run over many calls: the same results to the bit, for fewer spikes."""

from __future__ import annotations

import copy

import pytest
import torch

import snnconvert
from snnconvert.diffusion.sampling import sample
from snnconvert.errors import InputError
from snnconvert.report.measures.difference import Difference
from tests.support.spiking_networks import NETWORKS, build, pair


def drifting(inputs, calls):
    """Inputs of successive calls that differ a little, as along a solver's path."""
    generator = torch.Generator().manual_seed(1)
    x, *rest = inputs
    for call in range(calls):
        yield (x, *(value * (1 - call / 20) for value in rest))
        x = x + 0.03 * torch.randn(x.shape, generator=generator)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_every_call_is_the_quantised_network_to_the_bit(name, signed):
    network, inputs, snn = pair(name, 4, signed, reset="trajectory")
    for batch in drifting(inputs, 6):
        run = snn.run(*batch)
        assert run.silent
        assert torch.equal(run.output, network(*batch))


@torch.no_grad()
def test_neighbouring_calls_cost_less_and_the_history_says_so():
    _, inputs, carried = pair("unet", 4, reset="trajectory")
    fresh = carried.with_config(reset="call")
    for snn in (carried, fresh):
        snn.keep_history()
        for batch in drifting(inputs, 5):
            snn(*batch)
    assert [call.carried for call in carried.history] == [False, True, True, True, True]
    assert not any(call.carried for call in fresh.history)
    assert carried.history[0] == fresh.history[0]
    for mine, other in zip(carried.history[1:], fresh.history[1:], strict=True):
        assert mine.counts == other.counts > 0
        assert mine.spikes < 0.6 * other.spikes
        assert mine.steps <= other.steps


@torch.no_grad()
def test_an_unchanged_input_is_silent_at_once():
    _, inputs, snn = pair("unet", 4, reset="trajectory")
    first = snn(*inputs)
    run = snn.run(*inputs, record="spikes")
    assert run.steps == 1 and run.silent and not any(n.any() for n in run.emitted.values())
    assert torch.equal(run.output, first)


@torch.no_grad()
def test_trains_say_how_the_counts_moved():
    network, inputs, snn = pair("cnn", 4, reset="trajectory")
    first, second = drifting(inputs, 2)
    before = snn.run(*first).counts
    run = snn.run(*second, record="spikes")
    assert torch.equal(run.output, network(*second))
    for name, train in run.trains.items():
        assert train.abs().max() <= 1 and len(train) == run.steps
        assert torch.equal(before[name] + train.sum(0), run.counts[name])


@torch.no_grad()
def test_reset_starts_over_and_so_does_another_batch():
    network, inputs, snn = pair("cnn", 4, reset="trajectory")
    snn.keep_history()
    snn(*inputs)
    snn(*inputs)
    snn.reset()
    snn(*inputs)
    smaller = tuple(value[:1] for value in inputs)
    assert torch.equal(snn(*smaller), network(*smaller))
    assert torch.equal(snn(*inputs), network(*inputs))
    assert [call.carried for call in snn.history] == [False, True, False, False, False]
    double = copy.deepcopy(snn).double()
    assert double(*(value.double() for value in inputs)).dtype == torch.float64


@torch.no_grad()
def test_not_a_number_does_not_outlive_its_call():
    network, inputs, snn = pair("cnn", 4, reset="trajectory")
    snn(*inputs)
    snn(*(torch.full_like(value, float("nan")) for value in inputs))
    assert torch.equal(snn(*inputs), network(*inputs))


@pytest.mark.parametrize("solver", ["ddim", "ddpm"])
@torch.no_grad()
def test_images_of_a_solver_are_the_same(solver):
    network, _, snn = pair("unet", 4, reset="trajectory")
    snn.keep_history()
    options = {"shape": (3, 1, 8, 8), "solver": solver, "steps": 4, "batch_size": 2}
    wanted = sample(network, **options)
    assert torch.equal(sample(snn, **options), wanted)
    assert [call.carried for call in snn.history] == [False, True, True, True] * 2
    again = sample(snn, **options)  # equal shapes, yet a new trajectory
    assert torch.equal(again, wanted)
    assert snn.history[8:] == snn.history[:8]


@torch.no_grad()
def test_several_calls_in_a_solver_step():
    network, (x, t), snn = pair("unet", 4, reset="trajectory")
    for time in (900.0, 850.0, 880.0, 10.0):  # back and forth, as in a singlestep solver
        at = torch.full_like(t, time)
        assert torch.equal(snn(x, at), network(x, at))


@torch.no_grad()
def test_the_report_measures_calls_that_start_at_zero():
    network, inputs, snn = pair("cnn", 4, reset="trajectory")
    report = snnconvert.compare(network, snn, [inputs, inputs]).to_dict()
    assert report["reset"] == "trajectory"
    assert report["output"]["bit_equal"]
    fresh = snnconvert.compare(network, snn.with_config(reset="call"), [inputs, inputs]).to_dict()
    assert report["cost"] == fresh["cost"]


def test_the_option_travels_in_the_file(tmp_path):
    network, inputs = build("mlp", 4)
    snn = snnconvert.convert(network, 4, example_inputs=inputs, reset="trajectory")
    snn(*inputs)
    snnconvert.save(snn, tmp_path / "a.snn.pt")
    again = snnconvert.load(tmp_path / "a.snn.pt")
    assert again.config.reset == "trajectory"
    again.keep_history()
    assert torch.equal(again(*inputs), snn(*inputs))
    assert not again.history[0].carried  # counts are no part of a file


@pytest.mark.parametrize(
    "options",
    [{"firing": "deferred"}, {"signed": False}, {"settle": 2}, {"simulate": "counts"}],
)
def test_what_cannot_carry_counts_is_refused(options):
    network, inputs = build("mlp", 4)
    with pytest.raises(InputError, match="reset='trajectory'"):
        snnconvert.convert(network, 4, example_inputs=inputs, reset="trajectory", **options)


@torch.no_grad()
def test_nobody_watches_nothing_is_recorded():
    """A call that nobody watches does no bookkeeping."""
    _, inputs, snn = pair("mlp", 4)
    assert snn.run(*inputs).emitted == {} and snn.history is None
    difference = Difference()
    difference.add(snn.run(*inputs, record="counts").output, snn(*inputs))
    assert difference.equal
