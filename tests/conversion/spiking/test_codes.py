"""Laws of the spike codes: every code loses nothing, and real spikes prove it."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import snnconvert
from snnconvert.conversion.spiking.config import LONGEST_RADIX, SpikingConfig
from snnconvert.conversion.spiking.plain_simulation import PlainSimulation
from snnconvert.errors import InputError
from snnconvert.neurons.integrate_and_fire import IF
from snnconvert.neurons.radix import RadixIF, digit_weights
from snnconvert.neurons.spike_by_spike import ClippedIFNode
from snnconvert.operators.clip import quantized_clip
from tests.support.spiking_networks import NETWORKS, build, pair


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("timesteps", [1, 2, 3, 4])
@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_radix_network_is_the_quantised_network(name, timesteps, signed):
    network, inputs, snn = pair(name, timesteps, signed, firing="deferred", code="radix")
    wanted = network(*inputs)
    run = snn.run(*inputs, record="spikes")
    assert torch.equal(run.output, wanted)
    assert torch.equal(snn.with_config(simulate="counts")(*inputs), wanted)
    low = -1 if signed else 0
    for layer, train in run.trains.items():
        assert train.min() >= low and train.max() <= 1
        assert run.emitted[layer].max() <= timesteps
        digits = train.reshape(-1, timesteps, *train[0].shape)  # one window after the other
        weights = torch.tensor(digit_weights(snn.config.levels)).view(1, -1, *(1,) * train[0].ndim)
        assert torch.equal((digits * weights).sum((0, 1)).float(), run.counts[layer])
    assert any(n.abs().max() > 1 for n in run.counts.values()) or timesteps == 1


@pytest.mark.parametrize("code", ["rate", "radix"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_real_spikes_prove_deferred_firing(name, signed, code):
    """In float64 the plain simulation, potentials added up, fires the very same trains."""
    timesteps = 3
    network, inputs, snn = pair(name, timesteps, signed, True, firing="deferred", code=code)
    run = snn.run(*inputs, record="spikes")
    plain = PlainSimulation(snn).run(*inputs, steps=run.steps)
    for layer, train in run.trains.items():
        assert torch.equal(plain.trains[layer][timesteps:], train), layer
        assert not plain.trains[layer][:timesteps].any()
    torch.testing.assert_close(plain.output, network(*inputs), rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_more_digits_come_closer_to_the_unquantised_network():
    exact, errors = None, []
    for timesteps in (12, 2, 4, 6, 8):
        _, inputs, snn = pair("cnn", timesteps, firing="deferred", code="radix")
        output = snn.with_config(simulate="counts")(*inputs)
        exact = output if exact is None else exact
        errors.append((output - exact).norm().item())
    assert all(later < earlier / 2 for earlier, later in pairwise(errors[1:]))


@given(
    st.integers(1, 6),
    st.booleans(),
    st.floats(0.05, 20.0),
    st.lists(st.floats(-50, 50), min_size=1, max_size=30),
)
@settings(max_examples=150, deadline=None)
def test_digits_spell_the_integer_of_the_quantiser(timesteps, signed, ceiling, values):
    levels = 2**timesteps - 1
    theta, x = torch.tensor(ceiling), torch.tensor(values)[None]
    cell = RadixIF(theta, levels, -levels if signed else 0)
    digits = list(cell.emit(x))
    assert len(digits) == timesteps
    total = sum(spikes * weight for spikes, weight in digits)
    assert torch.equal(cell.value(total), quantized_clip(x, theta, levels, signed))
    assert len({*torch.stack([s for s, _ in digits]).flatten().tolist()} - {-1.0, 0.0, 1.0}) == 0


@given(st.integers(1, 5), st.booleans(), st.lists(st.integers(-400, 400), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_potential_that_subtracts_its_digits_fires_the_same(timesteps, signed, hundredths):
    """The neuron of the hardware: one comparison and one subtraction a step."""
    levels = 2**timesteps - 1
    x = torch.tensor(hundredths, dtype=torch.float64)[None] / 100 + 1e-6  # off every boundary
    cell = RadixIF(torch.tensor(1.7, dtype=torch.float64), levels, -levels if signed else 0)
    node = ClippedIFNode(cell, False, unit=1 / levels)
    node.neuronal_charge(x)
    for spikes, weight in cell.emit(x):
        fired = node.neuronal_fire(weight / levels)
        node.neuronal_reset(fired * weight / levels)
        assert torch.equal(fired, spikes)


@torch.no_grad()
def test_radix_report_counts_the_ones():
    network, inputs, snn = pair("cnn", 3, firing="deferred", code="radix")
    report = snnconvert.compare(network, snn, [inputs]).to_dict()
    by_number = snn.with_config(timesteps=7, code="rate")
    rate = snnconvert.compare(network, by_number, [inputs]).to_dict()
    assert report["output"]["bit_equal"] and rate["output"]["bit_equal"]
    assert report["layers_add_up"]
    assert report["code"] == "radix" and report["levels"] == 7 and report["timesteps"] == 3
    assert report["immediate"] is None
    assert report["counts"]["mismatched_fraction"] == 0
    assert 0 < report["cost"]["acs"] < rate["cost"]["acs"]  # ones of a number < the number
    assert report["cost"]["macs"] == rate["cost"]["macs"]
    assert report["cost"]["energy_qann_mj"] == rate["cost"]["energy_qann_mj"]  # one network
    from snnconvert.report.show.terminal import format_report

    assert "radix" in format_report(report)


def test_rate_and_radix_are_the_same_network_in_one_step():
    cells = [kind(torch.tensor(2.0), 1) for kind in (IF, RadixIF)]
    x = torch.linspace(-1, 4, 50)[None]
    assert torch.equal(*[next(cell.emit(x))[0] for cell in cells])


def test_a_radix_file_comes_back(tmp_path):
    network, inputs = build("mlp", 7)
    snn = snnconvert.convert(network, 3, example_inputs=inputs, firing="deferred", code="radix")
    snnconvert.save(snn, tmp_path / "a.snn.pt")
    again = snnconvert.load(tmp_path / "a.snn.pt")
    assert again.config == snn.config
    assert torch.equal(again(*inputs), snn(*inputs))
    content = snn.to_content()
    for key in set(content["config"]) - {"program", "timesteps", "firing", "signed", "settle",
                                         "simulate", "norm", "neuron"}:  # fmt: skip
        del content["config"][key]  # a file of an older version
    older = type(snn).from_content(content)
    assert older.config == dataclasses.replace(snn.config, code="rate")


CHOICES = {
    "timesteps": st.sampled_from([1, 4, 16, 17, 40]),
    "firing": st.sampled_from(["immediate", "deferred"]),
    "code": st.sampled_from(["rate", "radix"]),
    "signed": st.booleans(),
    "settle": st.sampled_from([None, 0, 3]),
    "simulate": st.sampled_from(["steps", "counts"]),
    "norm": st.sampled_from(["accumulated", "per_step"]),
    "reset": st.sampled_from(["call", "trajectory"]),
}


@given(st.fixed_dictionaries(CHOICES))
@settings(max_examples=400, deadline=None)
def test_what_means_nothing_is_refused_with_its_reason(options):
    radix_code = options["code"] == "radix"
    trajectory = options["reset"] == "trajectory"
    allowed = not (radix_code and options["firing"] != "deferred")
    allowed &= not (radix_code and options["timesteps"] > LONGEST_RADIX)
    lossless = options["firing"] == "immediate" and options["signed"] and options["settle"] is None
    allowed &= not (trajectory and not (lossless and options["simulate"] == "steps"))
    allowed &= options["simulate"] == "steps" or options["firing"] == "deferred" or lossless
    per_step = options["norm"] == "per_step"
    classic = options["firing"] == "immediate" and options["simulate"] == "steps"
    allowed &= not per_step or (classic and options["settle"] == 0)
    if allowed:
        SpikingConfig(**options)
    else:
        with pytest.raises(InputError, match=r"(needs|exact|allowed|use|reproduces)"):
            SpikingConfig(**options)


@pytest.mark.parametrize("key, value", [("code", "binary"), ("reset", "never"), ("code", None)])
def test_unknown_choices_list_the_allowed_ones(key, value):
    with pytest.raises(InputError, match="allowed: "):
        SpikingConfig(**{key: value})
