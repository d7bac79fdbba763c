"""Networks in other precisions than float32: as exact, or refused."""

import copy

import pytest
import torch
from torch import nn

import snnconvert
from snnconvert.errors import InputError
from snnconvert.operators.clip import QuantizedClip, largest_count

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
HALF = {torch.bfloat16: 256, torch.float16: 2048}


@pytest.fixture
def double_by_default():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.SiLU(),
        nn.Flatten(), nn.Linear(8 * 36, 10),
    ).float().eval()  # fmt: skip


MODEL = net()
WAYS = {
    "immediate": {},
    "radix": {"code": "radix"},
    "starts": {"v_init": "optimised"},
    "one start": {"v_init": 0.3},
    "learned": {"threshold": "learned"},
    "percentile": {"threshold": "99.5%", "per_channel": False},
}


def converted(timesteps=4, model=MODEL, x=X, **options):
    return snnconvert.convert(model, timesteps, example_inputs=x, calibration=[x], **options)


@pytest.mark.parametrize("way", WAYS)
def test_the_default_dtype_changes_no_bit_of_a_conversion(way, double_by_default):
    under_double = converted(**WAYS[way])
    found = under_double(X)
    assert torch.equal(under_double.quantized_ann()(X), found)
    torch.set_default_dtype(torch.float32)
    plain = converted(**WAYS[way])
    for name, value in plain.constants.items():
        assert torch.equal(under_double.constants[name], value), name
    assert torch.equal(plain(X), found)


@pytest.mark.parametrize("way", WAYS)
def test_double_networks_convert_under_either_default(way, double_by_default):
    model, x = copy.deepcopy(MODEL).double(), X.double()
    snn = converted(model=model, x=x, **WAYS[way])
    assert snn(x).dtype is torch.float64
    assert torch.equal(snn(x), snn.quantized_ann()(x))


def test_leaky_neurons_are_fitted_under_another_default(double_by_default):
    snn = converted(8, nn.Sequential(*net()[:3], nn.Conv2d(8, 2, 1).float()), neuron="lif")
    assert snn(X).isfinite().all() and snn(X).dtype is torch.float32


@pytest.mark.parametrize("dtype", HALF)
def test_counts_that_a_dtype_cannot_hold_are_refused(dtype):
    most = HALF[dtype]
    assert largest_count(dtype) == most
    whole = torch.arange(most + 1)
    assert torch.equal(whole.to(dtype).long(), whole)  # all of them, and not the next one
    assert int(torch.tensor(most + 1).to(dtype)) != most + 1
    name = str(dtype).removeprefix("torch.")
    short, long = converted(most), converted(most + 1)
    fewer = converted(64).to(dtype)
    assert torch.equal(fewer(X.to(dtype)), fewer.quantized_ann()(X.to(dtype)))
    for refused in (long, long.with_config(simulate="counts"), long.with_config(firing="deferred")):
        with pytest.raises(InputError, match=f"{most + 1} levels in {name}.*{most}.*float32"):
            copy.deepcopy(refused).to(dtype)(X.to(dtype))
    with torch.autocast("cpu", dtype), pytest.raises(InputError, match=name):
        long(X)
    with torch.autocast("cpu", dtype), pytest.raises(InputError, match=name):
        QuantizedClip(most + 1)(X.to(dtype))
    with torch.autocast("cpu", dtype):
        counts = short.with_config(simulate="counts")(X)
    assert (counts - long(X)).norm() < 0.03 * long(X).norm()


@pytest.mark.parametrize("options", [{"neuron": "lif"}, {"v_reset": 0.0}])
def test_neurons_held_as_potentials_are_refused_likewise(options):
    model = nn.Sequential(*net()[:3], nn.Conv2d(8, 2, 1)).eval()
    snn = converted(300, model, **options).to(torch.bfloat16)
    with pytest.raises(InputError, match="300 levels in bfloat16"):
        snn(X.bfloat16())


def test_spikes_are_told_exactly_in_half_precision():
    """Corrections take more spikes than T; their sum may not be rounded."""
    snn = converted(200).to(torch.bfloat16)
    run = snn.run(X.bfloat16(), record="spikes")
    for name, train in run.trains.items():
        assert torch.equal(train.abs().long().sum(0), run.emitted[name].long())
    snn.keep_history()
    snn(X.bfloat16())
    counts = sum(int(n.abs().long().sum()) for n in run.counts.values())
    assert snn.history[0].counts == counts / len(X)
