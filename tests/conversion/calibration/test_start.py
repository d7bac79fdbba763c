"""Where potentials start (`v_init`): any start has its own quantised ANN, and can be fitted."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import snnconvert
from examples.networks import PlanarDenoiser
from snnconvert.conversion.calibration.start_potential import STARTS, StartFit
from snnconvert.conversion.graph.program import Node, Ref
from snnconvert.conversion.rules import QUANTIZED_CLIP
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.conversion.spiking.plain_simulation import PlainSimulation
from snnconvert.errors import InputError
from snnconvert.operators.clip import quantized_clip
from snnconvert.report.show.terminal import format_report
from tests.support.command_line import call_cli
from tests.support.errors import relative_error
from tests.support.paths import ROOT
from tests.support.spiking_networks import NETWORKS, pair
from tests.support.unets import tiny_unet, unet_inputs

DATA = ROOT.parent / "shared" / "data"
pytestmark = pytest.mark.filterwarnings("ignore:.*calib")


@given(st.integers(0, 1000), st.integers(1, 15), st.floats(0, 0.99), st.booleans())
@settings(deadline=None, max_examples=50)
def test_the_start_is_where_the_quantiser_rounds(seed, levels, start, signed):
    x = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    starts = torch.tensor([start, 0.5, 0.0], dtype=torch.float64)
    found = quantized_clip(x, torch.tensor(1.3, dtype=torch.float64), levels, signed, starts)
    steps = (x * levels / 1.3 + starts[:, None]).floor().clamp(-levels if signed else 0, levels)
    torch.testing.assert_close(found, steps * 1.3 / levels)


@pytest.mark.parametrize("start", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_any_start_loses_nothing_against_its_own_quantised_ann(name, start):
    _, inputs, half = pair(name, 4, double=True)
    snn = half.with_config(v_init=start)
    wanted = snn.quantized_ann()(*inputs)
    assert not torch.equal(wanted, half(*inputs))
    deferred = {"firing": "deferred"}
    for changes in ({}, {"simulate": "counts"}, {"reset": "trajectory"}, deferred,
                    {**deferred, "code": "radix", "timesteps": 3}):  # fmt: skip
        network = snn.with_config(**changes)
        own = wanted if "code" not in changes else network.quantized_ann()(*inputs)
        run = network.run(*inputs, record=None if "simulate" in changes else "spikes")
        assert torch.equal(run.output, own), changes
        if "simulate" in changes:
            continue
        plain = PlainSimulation(network).run(*inputs, steps=run.steps)
        waits = network.config.timesteps if "firing" in changes else 0
        for layer, train in run.trains.items():
            assert torch.equal(plain.trains[layer][waits:], train), (changes, layer)


def fitted(model, inputs, timesteps=3, **options):
    return snnconvert.convert(
        model, timesteps, example_inputs=inputs, calibration=[inputs], v_init="optimised", **options
    )


def planar():
    torch.manual_seed(0)
    return PlanarDenoiser(nn.SiLU).eval(), (torch.randn(256, 2), torch.rand(256))


@pytest.mark.parametrize(
    "options", [{}, {"per_channel": False}, {"bias_correction": False}, {"thresholds_over_t": 3}]
)
@torch.no_grad()
def test_fitted_starts_are_exact_in_every_way_of_running(options, tmp_path):
    for model, inputs in (planar(), (tiny_unet(levels=0), unet_inputs(16))):
        snn = fitted(model, inputs, **options)
        assert len({float(v) for c in snn.neurons.values() for v in c.v_init.flatten()}) > 1
        x = tuple(value[:5] for value in inputs)
        wanted = snn.quantized_ann()(*x)
        snnconvert.save(snn, tmp_path / "net.snn.pt")
        again = snnconvert.load(tmp_path / "net.snn.pt")
        assert again.config == snn.config
        requantised = snnconvert.convert(snn.quantized_ann(), 3)
        assert requantised.config.v_init == "optimised"
        ways = ({"simulate": "counts"}, {"firing": "deferred"}, {"reset": "trajectory"})
        for network in (snn, again, requantised, *(snn.with_config(**way) for way in ways)):
            assert torch.equal(network(*x), wanted)
        plain = snn.with_config(v_init="half")
        assert plain.config.v_init == 0.5 and not torch.equal(plain(*x), wanted)


@torch.no_grad()
def test_spike_for_spike_the_plain_simulation_with_fitted_starts():
    model, inputs = tiny_unet(levels=0), unet_inputs(16)
    for options in ({}, {"firing": "deferred", "code": "radix"}):
        snn = fitted(model, inputs, **options).double()
        x = tuple(value[:3].double() for value in inputs)
        run = snn.run(*x, record="spikes")
        plain = PlainSimulation(snn).run(*x, steps=run.steps)
        for name, train in run.trains.items():
            assert torch.equal(plain.trains[name][3 if options else 0 :], train), name


def test_exact_input_is_rounded_to_the_nearest():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).eval()
    (cell,) = fitted(model, torch.randn(4096, 4), 4).neurons.values()
    assert ((cell.v_init - 0.5).abs() <= 2 * (STARTS[1] - STARTS[0])).all()


def test_input_with_errors_is_rounded_where_its_error_is_least():
    """Mostly silent activations seen through noise: what little arrives is likelier to be noise."""
    torch.manual_seed(0)
    clip = Node("clip", QUANTIZED_CLIP, (Ref("x"), Ref("ceiling"), 4, False))
    activations = torch.randn(2, 4096, 3).sub_(1).relu_()
    noisy = activations + 0.15 * torch.randn(2, 4096, 3)
    fit, ceiling = StartFit(clip, 1), torch.tensor(2.0)
    fit.wanted = activations[0]
    fit.clip({"x": noisy[0], "ceiling": ceiling})
    assert fit.best.shape == (3,) and (fit.best < 0.45).all()

    def error(start):
        rounded = quantized_clip(noisy[1], ceiling, 4, False, start)
        return (rounded - activations[1]).square().mean()

    assert error(fit.best) < 0.95 * error(None)


@pytest.mark.skipif(
    not (DATA / "resnet20-cifar10").is_dir(), reason="../shared/data/resnet20-cifar10 is absent"
)
def test_fitted_starts_come_closer_to_the_public_resnet20(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from resnet20 import cifar10, resnet20

    (weights,) = (DATA / "resnet20-cifar10").glob("*.th")
    network = resnet20(torch.load(weights, map_location="cpu", weights_only=True))
    x, _ = cifar10(DATA / "cifar-10-batches-py", train=False)
    options = {"example_inputs": x[:2], "calibration": [x[200:456]], "simulate": "counts"}

    def error(**changes):
        snn = snnconvert.convert(network, 4, **options, **changes)
        with torch.no_grad():
            return relative_error(snn(x[:200]), network(x[:200]))

    half = error()
    assert error(v_init="optimised") < 0.9 * half
    assert error(v_init=0.0) > 1.5 * half


def test_what_was_not_fitted_is_refused():
    _, _, snn = pair("mlp", 4)
    with pytest.raises(InputError, match="needs a start fitted to data"):
        snn.with_config(v_init="optimised")
    model, inputs = planar()
    with pytest.raises(InputError, match="calibration=batches"):
        snnconvert.convert(model, 4, example_inputs=inputs, v_init="optimised")
    with pytest.raises(InputError, match=r"v_init: found 'best'.*'half' and 'optimised'"):
        snnconvert.convert(model, 4, example_inputs=inputs, calibration=[inputs], v_init="best")


@torch.no_grad()
def test_reports_say_where_potentials_start(tmp_path, shipped):
    network, inputs, snn = pair("cnn", 8)
    report = snnconvert.compare(network, snn.with_config(v_init=0.0), [inputs]).to_dict()
    assert report["v_init"] == 0.0 and not report["output"]["bit_equal"]
    assert report["layers_add_up"] and report["layers"][0]["temporal"] > 0.01
    assert "v_init 0.0" in format_report(report)
    own = snn.with_config(v_init=0.0)
    report = snnconvert.compare(own.quantized_ann(), own, [inputs]).to_dict()
    assert report["output"]["bit_equal"] and report["layers"][0]["temporal"] == 0
    like = {**shipped, "probe": shipped["probe"][:8]}
    snnconvert.save(tiny_unet(in_channels=1, levels=0), tmp_path / "small.pt", like=like)
    options = ["--timesteps", "2", "--v-init", "optimised"]
    result = call_cli("convert", "small.pt", *options, "-o", "o.pt", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "v_init optimised" in result.stdout and "nothing was lost" in result.stdout
    assert json.loads((tmp_path / "o.report.json").read_text())["v_init"] == "optimised"
    assert isinstance(snnconvert.load(tmp_path / "o.pt"), SpikingNetwork)
