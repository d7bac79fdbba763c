"""Laws of neurons whose state is their potential: leak, hard reset, other starts."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import neuron as sj

import snnconvert
from snnconvert.conversion.calibration.leak_compensation import (
    fitted_leak,
    response,
    rheobase,
    single_steps,
)
from snnconvert.conversion.graph.nodes import Neuron
from snnconvert.conversion.spiking.config import SpikingConfig
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.conversion.spiking.neuron_nodes import fitted_names
from snnconvert.conversion.spiking.plain_simulation import PlainSimulation
from snnconvert.errors import InputError
from snnconvert.neurons.integrate_and_fire import IF
from snnconvert.neurons.potential import Potential, PotentialNode
from snnconvert.operators.clip import quantized_clip
from tests.support.errors import relative_error
from tests.support.spiking_networks import NETWORKS, build, pair

DOUBLE = torch.float64


def cell(levels, tau=None, v_reset=None, v_init=0.5, theta=1.0, lowest=0):
    one = torch.tensor(theta, dtype=DOUBLE)
    return Potential(one, one, one, one * 0, levels, lowest, tau, v_reset, v_init)


def leaky(name, timesteps, double=False, **options):
    """(quantised network, inputs, leaky network), its fit made on the very inputs."""
    network, inputs, _ = pair(name, timesteps, double=double)
    snn = snnconvert.convert(
        network, timesteps, example_inputs=inputs, neuron="lif", calibration=[inputs], **options
    )
    return network, inputs, snn


@pytest.mark.parametrize("v_reset", [None, 0.0])
@pytest.mark.parametrize("tau", [1.5, 2.0, 10.0])
def test_dynamics_are_those_of_spikingjelly(tau, v_reset):
    x = torch.randn(40, 3, 50, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    theirs = sj.LIFNode(tau, decay_input=False, v_threshold=0.7, v_reset=v_reset)
    mine = PotentialNode(cell(40, tau, v_reset, v_init=0.0, theta=0.7), signed=False)
    for current in x:
        assert torch.equal(mine(current), theirs(current).to(DOUBLE))
        torch.testing.assert_close(mine.v, theirs.v)


@pytest.mark.parametrize("v_reset", [None, 0.0])
def test_without_a_leak_dynamics_are_those_of_the_integrator(v_reset):
    x = torch.randn(40, 3, 50, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    theirs = sj.IFNode(v_threshold=0.7, v_reset=v_reset)
    mine = PotentialNode(cell(40, None, v_reset, v_init=0.0, theta=0.7), signed=False)
    for current in x:
        assert torch.equal(mine(current), theirs(current).to(DOUBLE))


@given(st.integers(1, 30), st.lists(st.integers(-300, 300), min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_a_leak_without_end_is_no_leak(levels, hundredths):
    """tau -> infinity with soft reset is the count-held integrator, hence the quantiser."""
    x = torch.tensor(hundredths, dtype=DOUBLE)[None] / 100 + 1.23e-4
    counts = cell(levels, tau=1e13, theta=1.3).final(x)
    theta = torch.tensor(1.3, dtype=DOUBLE)
    assert torch.equal(counts, IF(theta, levels).final(x))
    torch.testing.assert_close(
        cell(levels, tau=1e13, theta=1.3).value(counts), quantized_clip(x, theta, levels)
    )


@pytest.mark.parametrize("v_init", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("v_reset", [None, 0.0])
@pytest.mark.parametrize("tau", [None, 1.3, 2.0, 10.0])
def test_response_is_monotone_and_starts_at_zero(tau, v_reset, v_init):
    x = torch.linspace(-1, 2, 4001, dtype=DOUBLE)[None]
    counts = cell(16, tau, v_reset, v_init).final(x)
    assert (counts.diff() >= 0).all()
    assert counts[0, 0] == 0 and counts[0, -1] == 16
    assert (counts[x <= 0] == 0).all()


@pytest.mark.parametrize("v_init", [0.0, 0.5])
@pytest.mark.parametrize("tau", [1.3, 2.0, 10.0])
def test_rheobase_is_where_firing_starts(tau, v_init):
    config = SpikingConfig(timesteps=12, firing="deferred", neuron="lif", tau=tau, v_init=v_init)
    current, neuron = (
        torch.full((1, 1), rheobase(config), dtype=DOUBLE),
        cell(12, tau, None, v_init),
    )
    assert neuron.final(current + 1e-9) == 1
    assert neuron.final(current - 1e-9) == 0


def test_the_fit_is_better_than_none_and_its_gain_the_best():
    x = torch.rand(2000, 4, generator=torch.Generator().manual_seed(0)) * 2 - 0.5
    one = torch.ones(())
    wanted = quantized_clip(x, one, 8)
    config = SpikingConfig(timesteps=8, firing="deferred", neuron="lif", tau=2.0)
    threshold, gain, bias = fitted_leak(x.expand(8, -1, -1), wanted, config)

    def error(threshold, gain, bias):
        neuron = Potential(one, threshold, gain, bias, 8, tau=2.0)
        return (neuron.value(neuron.final(x)) - wanted).square().mean(0)

    fitted = error(threshold, gain, bias)
    assert (fitted < 0.1 * error(one, one, 0 * one)).all()
    for change in (0.8, 0.95, 1.05, 1.25):
        assert (fitted <= error(threshold, gain * change, bias) + 1e-6).all()


def test_currents_of_single_steps_add_up_to_the_means():
    x = torch.randn(7, 2, 3, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    means = list(x.cumsum(0) / torch.arange(1, 8).view(-1, 1, 1))
    torch.testing.assert_close(torch.stack(single_steps(means)), x)


@torch.no_grad()
def test_a_leaky_network_with_endless_tau_is_the_integrating_one():
    network, inputs, snn = pair("cnn", 6, double=True, firing="deferred")
    unfitted = {}
    for node in snn.executor.neurons:
        theta = snn.constants[Neuron.of(node).v_threshold]
        values = {"v_threshold": theta, "gain": theta, "bias": torch.zeros_like(theta)}
        names = fitted_names(node.name)
        unfitted |= {names[key]: value for key, value in values.items()}
    for firing, settle in (("deferred", None), ("immediate", 0)):
        config = SpikingConfig(
            timesteps=6, firing=firing, signed=False, settle=settle, neuron="lif", tau=1e13
        )
        endless = SpikingNetwork(snn.program, snn.constants | unfitted, config)
        classic = snn.with_config(firing=firing, signed=False, settle=settle)
        torch.testing.assert_close(endless(*inputs), classic(*inputs), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(snn(*inputs), network(*inputs))


OPTIONS = [
    {"neuron": "lif", "tau": 3.0, "firing": "deferred"},
    {"neuron": "lif", "tau": 3.0, "v_reset": 0.0, "firing": "deferred"},
    {"neuron": "lif", "tau": 3.0},
    {"neuron": "lif", "tau": 3.0, "v_reset": 0.0, "settle": 2},
    {"v_reset": 0.0},
    {"v_init": 0.2, "settle": 3},
    {"v_init": 0.0, "signed": False},
]


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_real_spikes_prove_every_kind(name):
    """Currents of single steps, added up in another way in float64, fire the same trains."""
    _, inputs, counted = pair(name, 5, double=True)
    fitted = leaky(name, 5, double=True, tau=3.0)[2]
    for options in OPTIONS:
        defaults = {"firing": "immediate", "signed": "v_init" in options, "settle": 0}
        base = fitted if options.get("neuron") else counted
        config = SpikingConfig(**{"timesteps": 5, **defaults, **options})
        snn = SpikingNetwork(base.program, base.constants, config)
        run = snn.run(*inputs, record="spikes")
        plain = PlainSimulation(snn).run(*inputs, steps=run.steps)
        waits = 5 if config.firing == "deferred" else 0
        for layer, train in run.trains.items():
            assert torch.equal(plain.trains[layer][waits:], train), (options, layer)
        torch.testing.assert_close(plain.output, run.output, rtol=1e-9, atol=1e-9)
        if waits:
            counts = snn.with_config(simulate="counts").run(*inputs)
            assert torch.equal(counts.output, run.output)  # driven by the mean: exact in one pass


@pytest.mark.parametrize("tau", [2.0, 10.0])
def test_the_error_of_a_layer_shrinks_with_time(tau):
    """Against the clip without quantisation, over inputs as a norm makes them."""
    x = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0)) / 2
    errors = []
    for timesteps in (2, 6, 32):
        config = SpikingConfig(timesteps=timesteps, firing="deferred", neuron="lif", tau=tau)
        currents = x.expand(timesteps, -1, -1)
        threshold, gain, bias = fitted_leak(currents, x.clamp(0, 1), config)
        found = gain * response(currents, threshold, bias, config)
        errors.append((found - x.clamp(0, 1)).norm().item())
    assert all(later < earlier for earlier, later in pairwise(errors))
    assert errors[-1] < (0.6 if tau == 2.0 else 0.15) * errors[0]  # short memory: plateaus stay


@pytest.mark.parametrize("firing", ["deferred", "immediate"])
@torch.no_grad()
def test_a_leaky_network_comes_close_in_time(firing):
    errors = []
    for timesteps in (3, 24):
        _, inputs, snn = leaky("cnn", timesteps, firing=firing, tau=10.0)
        network, inputs, _ = pair("cnn", 4096)
        wanted = network(*inputs)
        errors.append(relative_error(snn(*inputs), wanted))
    assert errors[1] < errors[0] and errors[1] < 0.03


@torch.no_grad()
def test_hard_reset_loses_and_the_report_says_so():
    network, inputs, soft = pair("cnn", 8, firing="deferred")
    hard = soft.with_config(v_reset=0.0)
    assert torch.equal(soft(*inputs), network(*inputs))
    report = snnconvert.compare(network, hard, [inputs]).to_dict()
    assert not report["output"]["bit_equal"] and report["output"]["relative_error"] > 0.02
    assert report["layers_add_up"] and report["v_reset"] == 0.0
    assert any(layer["temporal"] > 0.02 for layer in report["layers"])
    assert report["immediate"] is None
    from snnconvert.report.show.terminal import format_report

    assert "hard reset" in format_report(report)


@torch.no_grad()
def test_the_report_of_a_leaky_network_splits_its_error():
    network, inputs, snn = leaky("cnn", 8, tau=2.0)
    report = snnconvert.compare(network, snn, [inputs]).to_dict()
    assert report["neuron"] == "lif" and report["tau"] == 2.0 and report["layers_add_up"]
    assert all(0 < layer["temporal"] < 0.5 for layer in report["layers"])
    assert report["timing"]["counts_s"] is None and report["timing"]["step_s"] > 0
    from snnconvert.report.show.terminal import format_report

    assert "tau 2" in format_report(report)


@torch.no_grad()
def test_a_leaky_file_comes_back(tmp_path):
    _, inputs, snn = leaky("mlp", 4, tau=5.0)
    snnconvert.save(snn, tmp_path / "a.snn.pt")
    again = snnconvert.load(tmp_path / "a.snn.pt")
    assert again.config == snn.config
    assert torch.equal(again(*inputs), snn(*inputs))
    assert "tau=5" in again.extra_repr()


def test_dead_channels_and_few_values_still_get_a_neuron():
    network, inputs = build("mlp", 4)
    network[0].weight.data[3:] = 0
    network[0].bias.data[3:] = -1.0
    snn = snnconvert.convert(
        network, 4, example_inputs=inputs, neuron="lif", calibration=[(inputs[0][:1],)]
    )
    for neuron in snn.neurons.values():
        assert (neuron.v_threshold > 0).all() and neuron.gain.isfinite().all()
    assert snn(*inputs).isfinite().all()


REFUSED = [
    ({"neuron": "lif"}, "calibration"),
    ({"neuron": "lif", "calibration": []}, "no batches"),
    ({"neuron": "lif", "signed": True}, "takes spikes back"),
    ({"neuron": "lif", "settle": "auto"}, "no such proof"),
    ({"neuron": "lif", "reset": "trajectory"}, "lose no charge"),
    ({"neuron": "lif", "simulate": "counts"}, "exact only"),
    ({"neuron": "lif", "tau": 1.0}, "tau: found 1.0"),
    ({"neuron": "lif", "tau": float("nan")}, "tau: found nan"),
    ({"v_reset": 0.0, "firing": "deferred", "code": "radix"}, "lose no charge"),
    ({"v_reset": -1.0}, "v_reset: found -1.0"),
    ({"v_init": 1.0}, "v_init: found 1.0"),
    ({"v_init": "quarter"}, "v_init: found 'quarter'"),
    ({"neuron": "lif", "v_init": "optimised"}, "v_init='optimised' fits"),
    ({"v_init": "optimised"}, "v_init: every activation of .* trained quantised"),
    ({"neuron": "izhikevich"}, "allowed: if, lif"),
]


@pytest.mark.parametrize("options, reason", REFUSED)
def test_what_cannot_be_is_refused_with_its_reason(options, reason):
    network, inputs = build("mlp", 4)
    with pytest.raises(InputError, match=reason):
        snnconvert.convert(network, 4, example_inputs=inputs, **options)


def test_signed_activations_and_other_settings_are_refused():
    network, inputs = build("mlp", 4, signed=True)
    with pytest.raises(InputError, match=r"its activation .*is signed"):
        snnconvert.convert(network, 4, example_inputs=inputs, v_reset=0.0)
    _, _, snn = leaky("mlp", 4, tau=2.0)
    with pytest.raises(InputError, match="convert again"):
        snn.with_config(timesteps=8)
    assert snn.with_config(neuron="if", signed=True, settle=None).config.held_as_counts


@given(
    st.sampled_from(["if", "lif"]),
    st.sampled_from([None, 0.0]),
    st.sampled_from(["half", 0.5, 0.0, 0.7, "optimised"]),
    st.sampled_from([None, 0, 2]),
    st.booleans(),
    st.sampled_from(["immediate", "deferred"]),
)
@settings(max_examples=200, deadline=None)
def test_settle_and_sign_follow_from_the_neuron(neuron, v_reset, v_init, settle, signed, firing):
    options = {"neuron": neuron, "v_reset": v_reset, "v_init": v_init, "settle": settle,
               "signed": signed, "firing": firing}  # fmt: skip
    forgets = neuron == "lif" or v_reset is not None
    counted = not forgets
    unproven = firing == "immediate" and forgets and (settle is None or signed)
    if unproven or (forgets and v_init == "optimised"):
        with pytest.raises(InputError):
            SpikingConfig(**options)
    else:
        assert SpikingConfig(**options).held_as_counts == counted
