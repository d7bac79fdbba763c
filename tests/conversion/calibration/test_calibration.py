"""Thresholds from data: criteria, bounded memory, dead channels, bias correction, real networks."""

import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import snnconvert
from examples.networks import BatchNormBothSides, images
from snnconvert.conversion.calibration import CRITERIA
from snnconvert.conversion.calibration.histogram import BINS, Histogram
from snnconvert.conversion.calibration.thresholds import ceilings, least
from snnconvert.errors import InputError
from snnconvert.training.ceilings import best_ceiling, relu_ceilings
from tests.support.errors import relative_error
from tests.support.paths import ROOT

DATA = ROOT.parent / "shared" / "data"


def filled(values: torch.Tensor) -> Histogram:
    histogram = Histogram(len(values))
    for number, part in enumerate(values.split(97, dim=1)):
        histogram.add(part, number % 2)
    return histogram


@given(seed=st.integers(0, 100), scale=st.floats(1e-3, 1e3), levels=st.sampled_from([1, 4, 15]))
@settings(deadline=None, max_examples=20)
def test_mse_threshold_is_as_good_as_the_search_over_all_values(seed, scale, levels):
    g = torch.Generator().manual_seed(seed)
    values = (torch.randn(3, 2000, generator=g) * scale).relu()
    found = ceilings(filled(values), "mse", levels)
    for row, ceiling in zip(values, found, strict=True):

        def error(c, row=row):
            steps = (row * levels / c + 0.5).floor().clamp(0, levels)
            return float((steps * c / levels - row).square().mean())

        assert error(ceiling) <= 1.03 * error(best_ceiling(row, levels)) + 1e-12


@given(seed=st.integers(0, 100), percent=st.floats(50, 100))
@settings(deadline=None, max_examples=20)
def test_percentiles_and_true_maximum(seed, percent):
    g = torch.Generator().manual_seed(seed)
    values = torch.rand(2, 3000, generator=g)
    histogram = filled(values)
    assert torch.equal(ceilings(histogram, "max", 4), values.amax(1))
    found = ceilings(histogram, f"{percent:.3f}%", 4)
    wanted = values.quantile(percent / 100, dim=1)
    assert torch.allclose(found, wanted, atol=4 / BINS)


def test_memory_does_not_grow_with_the_data():
    histogram = Histogram(8)
    sizes = set()
    for scale in range(1, 40):
        histogram.add(torch.rand(8, 1000) * scale, scale % 2)
        sizes.add(histogram.counts.numel())
    assert sizes == {2 * 8 * BINS}
    assert float(histogram.counts.sum()) == pytest.approx(8 * 1000 * 39, rel=1e-3)


def model() -> nn.Module:
    torch.manual_seed(0)
    return BatchNormBothSides().eval()


def error(snn, network, x) -> float:
    with torch.no_grad():
        return relative_error(snn(x), network(x))


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("threshold", [*CRITERIA, "99.5%"])
def test_every_criterion_converts(threshold, per_channel):
    network, x = model(), images(128, size=16)
    options = {"threshold": threshold, "per_channel": per_channel, "simulate": "counts"}
    errors = [
        error(
            snnconvert.convert(network, t, example_inputs=x, calibration=x.split(32), **options),
            network,
            x,
        )
        for t in (2, 32)
    ]
    assert errors[1] < 0.1 and errors[1] < errors[0]
    with pytest.raises(InputError, match="threshold"):
        snnconvert.convert(network, example_inputs=x, calibration=[x], threshold="0%")


def test_better_methods_are_better():
    network, x, held_out = model(), images(256, size=16), images(256, size=16)

    def at(**options):
        snn = snnconvert.convert(
            network, 2, example_inputs=x, calibration=x.split(64), simulate="counts", **options
        )
        return error(snn, network, held_out)

    best = at()
    assert best < at(bias_correction=False)
    assert best < at(threshold="max")
    assert at(bias_correction=False, threshold="learned") < at(bias_correction=False)


def test_bias_correction_restores_the_means():
    network, x = model(), images(256, size=16)
    snn = snnconvert.convert(network, 2, example_inputs=x, calibration=[x], simulate="counts")
    plain = snnconvert.convert(
        network, 2, example_inputs=x, calibration=[x], simulate="counts", bias_correction=False
    )
    with torch.no_grad():
        wanted = network(x).mean(0)
    assert (snn(x).mean(0) - wanted).abs().max() < 1e-4
    assert (plain(x).mean(0) - wanted).abs().max() > 1e-3


def test_dead_channels_are_kept_alive_and_reported():
    network, x = model(), images(64, size=16)
    network.n1.weight.data[3] = 0
    network.n1.bias.data[3] = -1
    with pytest.warns(UserWarning, match="1 channel in 1 layer, zero on all"):
        snn = snnconvert.convert(network, 8, example_inputs=x, calibration=[x])
    assert snn.calibration["dead_channels"] == {"act#1 (after a)": [3]}  # called twice
    assert set(snn.calibration["dead_channels"]) <= set(snn.neurons)
    assert all(bool((cell.v_threshold > 0).all()) for cell in snn.neurons.values())
    assert snn(x).isfinite().all()


def test_too_little_data_warns_and_one_input_works():
    network = model()
    with pytest.warns(UserWarning, match="has not converged"):
        snn = snnconvert.convert(
            network, 4, example_inputs=images(2, size=16), calibration=[images(1, size=16)]
        )
    assert snn(images(2, size=16)).isfinite().all()
    assert snn.calibration["unsettled"]


def test_generators_are_read_once():
    x = images(64, size=16)
    network = model()
    once = snnconvert.convert(network, 4, example_inputs=x, calibration=iter(x.split(16)))
    again = snnconvert.convert(network, 4, example_inputs=x, calibration=x.split(16))
    assert torch.equal(once(x), again(x))


def public_resnet20() -> tuple:
    """What `benchmarks/resnet20.py` measures: functions, network, images, labels, training images.

    Skips where the data is absent.
    """
    if not (DATA / "resnet20-cifar10").is_dir():
        pytest.skip("../shared/data/resnet20-cifar10 is absent")
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import resnet20 as benchmark
    finally:
        sys.path.pop(0)
    (weights,) = (DATA / "resnet20-cifar10").glob("*.th")
    network = benchmark.resnet20(torch.load(weights, map_location="cpu", weights_only=True))
    x, labels = benchmark.cifar10(DATA / "cifar-10-batches-py", train=False)
    training, _ = benchmark.cifar10(DATA / "cifar-10-batches-py", train=True)
    order = torch.randperm(len(training), generator=torch.Generator().manual_seed(0))
    return benchmark, network, x, labels, training[order[:2048]]


def test_public_resnet20_keeps_its_accuracy():
    benchmark, network, x, labels, training = public_resnet20()
    x, labels = x[:500], labels[:500]
    snn = snnconvert.convert(
        network, 8, example_inputs=x, calibration=training[:256].split(64), simulate="counts"
    )
    found = benchmark.classes(snn, x)
    assert benchmark.per_cent(found, labels) >= 86
    assert torch.equal(found, benchmark.classes(snn.quantized_ann(), x))
    clocked = snn.with_config(simulate="steps")
    assert torch.equal(clocked(x[:50]), snn(x[:50]))


LIF = {"neuron": "lif", "tau": 10.0, "firing": "deferred"}
RADIX = {"code": "radix", "firing": "deferred", "simulate": "counts"}
RATE = {"simulate": "counts"}
DISTILLED = {"weights": "distilled", "simulate": "counts"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "timesteps", "images", "least"),
    [(RATE, 4, 10_000, 82.5), (RATE, 8, 10_000, 89.5), (RATE, 16, 10_000, 91.0),
     (RATE, 32, 10_000, 91.5), (RADIX, 2, 10_000, 76.5), (RADIX, 3, 10_000, 89.0),
     (RADIX, 4, 10_000, 91.1), (RADIX, 6, 10_000, 91.6), (DISTILLED, 4, 10_000, 86.5),
     (LIF, 32, 500, 85.0)],
)  # fmt: skip
def test_public_resnet20_is_as_accurate_as_promised(options, timesteps, images, least):
    benchmark, network, x, labels, training = public_resnet20()
    if options is DISTILLED:
        training = training[:1024]
    snn = snnconvert.convert(
        network, timesteps, example_inputs=x[:2], calibration=training.split(128), **options
    )
    found = benchmark.classes(snn, x[:images])
    assert benchmark.per_cent(found, labels[:images]) >= least


def test_every_part_of_an_image_is_looked_at():
    """Activations that are large everywhere but in one column must get a large ceiling."""
    network = torch.nn.Sequential(torch.nn.Identity(), torch.nn.ReLU())
    x = torch.full((64, 32, 16, 16), 5.0)
    x[..., 0] = 0.0
    ceilings = relu_ceilings(network, [(x,)], 4, per_channel=False)
    assert float(ceilings["1"]) == pytest.approx(5.0, rel=0.02)
    histogram = Histogram(32)
    histogram.add(x.transpose(0, 1).flatten(1), 0)
    assert float(histogram.counts.sum() / histogram.values[0] / 32) == pytest.approx(15 / 16, 0.02)


def test_one_search_takes_the_first_of_the_best_row_by_row():
    candidates = [torch.tensor([c, c]) for c in (1.0, 2.0, 3.0)]
    errors = {1.0: [2.0, 1.0], 2.0: [1.0, 1.0], 3.0: [1.0, float("nan")]}
    found = least(candidates, lambda c: torch.tensor(errors[float(c[0])]))
    assert found.tolist() == [2.0, 1.0]
    nothing = least(candidates, lambda c: torch.full((2,), float("nan")))
    assert nothing.tolist() == [3.0, 3.0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_training_finds_its_ceilings_on_a_gpu():
    network = torch.nn.Sequential(torch.nn.Identity(), torch.nn.ReLU())
    x = torch.randn(8, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    for per_channel in (False, True):
        found = relu_ceilings(network, [(x.cuda(),)], 4, per_channel)["1"]
        assert torch.equal(found, relu_ceilings(network, [(x,)], 4, per_channel)["1"])


def test_a_root_gets_no_bias_correction():
    """Below 0 it has no value, and a corrected input may lie there."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.LPPool2d(2, 2), nn.Conv2d(4, 4, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(16, 3),
    ).eval()  # fmt: skip
    x = torch.randn(16, 1, 8, 8)
    snn = snnconvert.convert(model, 16, example_inputs=x, calibration=[x])
    assert (snn(x) - model(x)).norm() < 0.2 * model(x).norm()
    assert snnconvert.compare(model, snn, [x]).to_dict()["output"]["bit_equal"]


class Spread(nn.Module):
    """A variance and what is made of it."""

    def __init__(self, made):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 32), nn.Linear(32, 32), nn.Linear(32, 3)
        self.made = made

    def forward(self, x):
        variance = self.second(torch.relu(self.first(x))).pow(2)
        return self.made(variance, self.last)


@pytest.mark.parametrize("made", [
    lambda variance, last: last(variance.sqrt() + nn.functional.silu(variance)),
    lambda variance, last: (variance, variance.sqrt()),
    lambda variance, last: (variance, torch.log(variance + 1e-3)),
], ids=["an activation reads it too", "it is an output", "an output, behind a sum"])  # fmt: skip
def test_nobody_corrects_what_a_root_reads(made):
    torch.manual_seed(0)
    model, x = Spread(made).eval(), torch.randn(256, 6)
    snn = snnconvert.convert(model, 4, example_inputs=x[:2], calibration=[x[:64]])
    for network in (snn, snn.quantized_ann()):
        found = network(x)
        for value in found if isinstance(found, tuple) else (found,):
            assert value.isfinite().all()
