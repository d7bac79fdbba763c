"""Networks of every kind convert: nothing lost against the quantised ANN, error to zero with T."""

import copy

import pytest
import torch
from torch import nn

import snnconvert
from examples.networks import FAST, SLOW, KeywordOnly, PlanarDenoiser, images, times
from snnconvert.conversion.graph.signature import arguments_of
from snnconvert.conversion.graph.values import leaves
from snnconvert.operators.clip import QuantizedClip
from tests.support.errors import relative_error

pytestmark = pytest.mark.filterwarnings("ignore")


@torch.no_grad()
def outputs(network: nn.Module, batch) -> list[torch.Tensor]:
    args, kwargs = arguments_of(batch)
    return leaves(network(*args, **kwargs))


def converts(name: str, networks: dict, few: int, many: int, clocked: bool) -> None:
    torch.manual_seed(0)
    model, inputs = networks[name]()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert model.training
    assert snnconvert.check(model, inputs) == []
    wanted = outputs(copy.deepcopy(model).eval(), inputs)
    errors = []
    for timesteps in (few, many):
        snn = snnconvert.convert(
            model, timesteps, example_inputs=inputs, calibration=[inputs], simulate="counts"
        )
        found = outputs(snn, inputs)
        assert all(map(torch.equal, found, outputs(snn.quantized_ann(), inputs)))
        errors.append(relative_error(found, wanted))
        if timesteps == few and clocked:
            for options in ({"firing": "immediate"}, {"firing": "deferred"}):
                real = outputs(snn.with_config(simulate="steps", **options), inputs)
                assert all(map(torch.equal, real, found)), options
            brief = snn.with_config(simulate="steps", firing="immediate", settle=0)
            args, kwargs = arguments_of(inputs)
            recorded = leaves(brief.run(*args, **kwargs, record="counts").output)
            assert all(map(torch.equal, outputs(brief, inputs), recorded))
    print(f"{name}: relative error T={few}: {errors[0]:.4f}, T={many}: {errors[1]:.4f}")
    assert errors[1] < 0.05, errors
    assert errors[1] < errors[0] / 2, errors
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


class Gated(nn.Module):
    """A value times a gate between two layers."""

    def __init__(self, gate) -> None:
        super().__init__()
        self.up, self.down, self.gate = nn.Linear(4, 16), nn.Linear(8, 2), gate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value, gate = self.up(x).chunk(2, dim=-1)
        return self.down(self.gate(value, gate))


@pytest.mark.parametrize(
    ("gate", "function"),
    [
        (lambda v, g: v * nn.functional.silu(g), "mul"),
        (lambda v, g: nn.functional.gelu(g) * v, "mul"),
        (lambda v, g: torch.tanh(v) * torch.sigmoid(g), "mul"),
        (lambda v, g: nn.functional.glu(torch.cat([v, g], -1)), "glu"),
        (lambda v, g: v * (g * torch.sigmoid(g)), "mul"),
        (lambda v, g: v * torch.sigmoid(g), "mul"),
    ],
    ids=["swiglu", "geglu", "wavenet", "glu", "swiglu by hand", "glu by hand"],
)
def test_neurons_follow_the_product_of_a_gate(gate, function):
    torch.manual_seed(0)
    model, x = Gated(gate).eval(), torch.randn(64, 4)
    snn = snnconvert.convert(model, 64, example_inputs=x, calibration=[x])
    assert list(snn.functions.values()) == [function]
    assert torch.equal(snn(x), snn.quantized_ann()(x))
    assert relative_error([snn(x)], [model(x)]) < 0.1
    assert all(cell.v_threshold.numel() == 8 for cell in snn.neurons.values())  # one a channel


def test_a_gate_that_is_never_negative_scales_where_there_are_other_neurons():
    """As in squeeze and excitation: the neurons are the ReLU's alone."""
    model, x = (
        Gated(lambda v, g: nn.functional.relu(v) * torch.sigmoid(g)).eval(),
        torch.randn(8, 4),
    )
    snn = snnconvert.convert(model, 16, example_inputs=x, calibration=[x])
    assert list(snn.functions.values()) == [None]


def test_a_glu_may_gate_a_product():
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.scale, self.down = nn.Linear(4, 16), nn.Linear(4, 8), nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.down(nn.functional.glu(self.up(x), -1) * self.scale(x))

    x = torch.randn(16, 4)
    snn = snnconvert.convert(Scaled().eval(), 8, example_inputs=x, calibration=[x])
    assert len(snn.functions) == 1
    assert torch.equal(snn(x), snn.quantized_ann()(x))


def test_a_function_with_neurons_of_its_own_is_scaled_as_it_is():
    """SiLU before squeeze and excitation: it reaches weights as it is, so the product gets none."""

    class Squeezed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.scale, self.down = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = nn.functional.silu(self.up(x))
            return self.down(h * torch.sigmoid(self.scale(h)))

    x = torch.randn(16, 4)
    snn = snnconvert.convert(Squeezed().eval(), 16, example_inputs=x, calibration=[x])
    assert list(snn.functions.values()) == ["silu"]


def test_gates_of_networks_trained_quantised_stay_as_they_were_trained():
    clip = QuantizedClip(4)
    for gate in (
        lambda v, g: clip(v) * torch.tanh(g),
        lambda v, g: nn.functional.glu(torch.cat([clip(v), g], -1)),
    ):
        model, x = Gated(gate).eval(), torch.randn(16, 4)
        snn = snnconvert.convert(model, 4, example_inputs=x)
        assert list(snn.functions.values()) == [None]
        assert torch.equal(snn(x), model(x))


@pytest.mark.parametrize("name", FAST)
def test_network_converts(name):
    converts(name, FAST, 4, 64, clocked=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_large_network_converts(name):
    converts(name, SLOW, 8, 128, clocked=False)


def test_batch_is_dynamic_even_from_one_example():
    model = PlanarDenoiser().eval()
    data = (torch.randn(64, 2), times(64))
    snn = snnconvert.convert(
        model, 64, example_inputs=(data[0][:1], data[1][:1]), calibration=[data]
    )
    for batch in (1, 2, 33):
        x, t = data[0][:batch], data[1][:batch]
        with torch.no_grad():
            assert relative_error([snn(x, t)], [model(x, t)]) < 0.05


def test_results_keep_their_form_through_a_file(tmp_path):
    torch.manual_seed(0)
    inputs = {"sample": images(4, size=12), "scale": times(4)}
    snn = snnconvert.convert(KeywordOnly(), 8, example_inputs=inputs, calibration=[inputs])
    snnconvert.save(snn, tmp_path / "net.snn.pt")
    for network in (snn, snnconvert.load(tmp_path / "net.snn.pt")):
        found = network(**inputs)
        assert torch.equal(found.sample, found["sample"]) and torch.equal(found[0], found.sample)
        assert isinstance(found.features, tuple) and list(found) == ["sample", "features"]
        assert network.calibration["inputs"] == 4


def test_report_holds_the_float_network_against_both():
    torch.manual_seed(0)
    inputs = {"sample": images(4, size=12), "scale": times(4)}
    model = KeywordOnly().eval()
    snn = snnconvert.convert(model, 16, example_inputs=inputs, calibration=[inputs])
    report = snnconvert.compare(model, snn, [inputs]).to_dict()
    assert report["output"]["bit_equal"]
    assert 0 < report["output_ann"]["relative_error"] < 0.1
    assert report["neurons"]["function_fraction"] == 1.0
    assert report["layers"][0]["function"] == "gelu" and report["layers_add_up"]
    same = snnconvert.compare(snn.quantized_ann(), snn, [inputs], float_ann=model).to_dict()
    assert same["output_ann"] == report["output_ann"]


def test_quantize_trains_and_converts_without_loss():
    torch.manual_seed(0)
    model, x = (
        nn.Sequential(nn.Linear(4, 32), nn.BatchNorm1d(32), nn.SiLU(), nn.Linear(32, 3)),
        (torch.randn(64, 4)),
    )
    network = snnconvert.quantize(model, 4, example_inputs=x)
    keys = set(network.state_dict())
    assert {"0.weight", "1.running_mean", "3.bias"} < keys and any("ceiling" in k for k in keys)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    target, losses = torch.stack([x[:, 0], x[:, 1] * x[:, 2], x[:, 3].abs()], 1), []
    mean_before = network.state_dict()["1.running_mean"].clone()
    for _ in range(60):
        loss = (network.train()(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    assert not torch.equal(network.state_dict()["1.running_mean"], mean_before)
    snn = snnconvert.convert(network.eval(), 4)
    with torch.no_grad():
        assert torch.equal(snn(x), network(x))
    assert model.training and list(snn.functions.values()) == ["silu"]


@pytest.mark.filterwarnings("ignore:.*calib", "ignore:.*channels")
def test_weights_laid_out_channels_last_stay_so(tmp_path):
    """Many convolutions are faster so on a CPU; it is the user's choice, as anywhere in PyTorch."""
    last, x = torch.channels_last, images(8)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3))
    snn = snnconvert.convert(
        model.eval().to(memory_format=last), 4, example_inputs=x, calibration=[x]
    )
    snnconvert.save(snn, tmp_path / "snn.pt")
    loaded = snnconvert.load(tmp_path / "snn.pt")
    for network in (snn, loaded):
        kernels = [value for value in network.constants.values() if value.ndim == 4]
        assert kernels and all(kernel.is_contiguous(memory_format=last) for kernel in kernels)
        assert network(x).is_contiguous(memory_format=last)
    assert torch.equal(loaded(x), snn(x)) and torch.equal(snn(x), snn.quantized_ann()(x))
