"""Weight calibration: closer to the float network on inputs not seen, and nothing else changes."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import snnconvert
from examples.networks import FAST, ConcatUNet, PlanarDenoiser
from snnconvert.conversion.calibration.options import NAMED, CalibrationOptions, WeightCalibration
from snnconvert.conversion.calibration.weights.blocks import find_blocks
from snnconvert.conversion.calibration.weights.dropped_clip import Coin, DroppedClip
from snnconvert.conversion.calibration.weights.relative_adam import RelativeAdam
from snnconvert.conversion.convertible import convertible_of
from snnconvert.conversion.quantize import quantized_network
from snnconvert.errors import InputError
from snnconvert.models.cnn import resnet20
from snnconvert.operators.clip import quantized_clip

pytestmark = pytest.mark.filterwarnings("ignore")
BRIEF = WeightCalibration(block_steps=40, batch=16)
KINDS = (
    "transformer encoder, norm first, GELU",
    "U-Net with concat, interpolate, transposed conv",
    "DDPM U-Net, attention, SiLU",
    "score model that divides by a std",
)


class Residual(nn.Module):
    """Two residual blocks with batch norms whose statistics are real, and an output a pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.convs = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(4))
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(4))
        self.head = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x):
        h = F.relu(self.stem(x))
        for i in (0, 2):
            g = F.relu(self.norms[i](self.convs[i](h)))
            h = F.relu(h + self.norms[i + 1](self.convs[i + 1](g)))
        return self.head(h)


@pytest.fixture(scope="module")
def residual():
    torch.manual_seed(0)
    model = Residual()
    with torch.no_grad():
        for _ in range(30):
            model(smooth(64))
    return model


def smooth(count: int, seed: int | None = None) -> torch.Tensor:
    """Images whose neighbouring pixels are alike, 12 x 12."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return F.interpolate(torch.randn(count, 3, 4, 4, generator=generator), scale_factor=3.0)


def converted(model, weights, timesteps=4, **options):
    return snnconvert.convert(
        model, timesteps, example_inputs=smooth(2, 0), calibration=smooth(128, 1).split(64),
        weights=weights, **options,
    )  # fmt: skip


@torch.no_grad()
def held_out_error(model, snn, seed: int = 2) -> float:
    x = smooth(64, seed)
    wanted = copy.deepcopy(model).eval()(x)
    return float((snn.quantized_ann()(x) - wanted).square().mean() / wanted.var())


def test_error_falls_on_inputs_not_seen(residual):
    errors = {}
    for name, weights in {
        "kept": "kept",
        "blocks": BRIEF,
        "distilled": WeightCalibration(block_steps=40, output_steps=40, batch=16),
    }.items():
        errors[name] = held_out_error(residual, converted(residual, weights))
    print(errors)
    assert errors["blocks"] < 0.93 * errors["kept"]
    assert errors["distilled"] < errors["blocks"]


def test_every_block_is_reported_and_none_is_worse(residual):
    snn = converted(residual, BRIEF)
    blocks = snn.calibration["weights"]["blocks"]
    assert len(blocks) == 4  # stem, two residual blocks, head
    assert all(block["after"] <= block["before"] for block in blocks)
    assert any(block["after"] < 0.97 * block["before"] for block in blocks)
    assert snn.calibration["weights"]["inputs"] == 128


def test_spiking_network_equals_its_quantised_ann(residual):
    snn = converted(residual, BRIEF)
    x = smooth(16, 3)
    wanted = snn.quantized_ann()(x)
    for options in (
        {"simulate": "counts"},
        {"simulate": "steps", "firing": "immediate"},
        {"simulate": "steps", "firing": "deferred"},
    ):
        assert torch.equal(snn.with_config(**options)(x), wanted), options


def test_same_seed_same_weights_and_the_model_is_left_as_it_was(residual):
    before = {key: value.clone() for key, value in residual.state_dict().items()}
    options = {"block_steps": 10, "output_steps": 5}
    first, again, other = (
        converted(residual, WeightCalibration(**options, seed=seed)).constants for seed in (0, 0, 1)
    )
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)
    assert all(torch.equal(before[key], value) for key, value in residual.state_dict().items())
    assert residual.training and all(p.grad is None for p in residual.parameters())


def test_global_random_state_is_neither_read_nor_changed(residual):
    torch.manual_seed(5)
    first = converted(residual, WeightCalibration(block_steps=3)).constants
    state = torch.get_rng_state()
    torch.manual_seed(6)
    again = converted(residual, WeightCalibration(block_steps=3)).constants
    assert all(torch.equal(first[key], again[key]) for key in first)
    torch.manual_seed(5)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", KINDS)
def test_networks_of_every_kind(name):
    torch.manual_seed(0)
    model, inputs = FAST[name]()
    snn = snnconvert.convert(
        model, 4, example_inputs=inputs, calibration=[inputs], simulate="counts",
        weights=WeightCalibration(block_steps=2, output_steps=2),
    )  # fmt: skip
    report = snn.calibration["weights"]
    assert report["blocks"] and report["output"]["after"] <= report["output"]["before"]


def blocks_of(model, inputs):
    options = CalibrationOptions(threshold="max", per_channel=False)
    network, _ = quantized_network(convertible_of(model, inputs), 4, [inputs], options)
    captured = network.captured()
    return captured, find_blocks(captured.program)


def test_residual_blocks_are_found_without_names():
    captured, blocks = blocks_of(resnet20(), torch.randn(2, 3, 32, 32))
    layers = [f"layer{stage}.{block}.act2" for stage in (1, 2, 3) for block in range(3)]
    assert [block.layer for block in blocks] == ["act1", *layers, "linear"]
    parts = [block.part_of(captured.program, captured.constants) for block in blocks]
    assert all(len(part.inputs) == len(part.output) == 1 for part in parts)
    assert sum(len(part.nodes) for part in parts) == len(captured.program.nodes)


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (ConcatUNet(), torch.randn(4, 3, 32, 32)),
        (PlanarDenoiser(), (torch.randn(8, 2), torch.rand(8))),
        (PlanarDenoiser(nn.SiLU), (torch.randn(8, 2), torch.rand(8))),
    ],
)
def test_blocks_one_after_the_other_are_the_network(model, inputs):
    captured, blocks = blocks_of(model, inputs)
    assert len(blocks) > 1
    values = dict(
        zip(captured.program.inputs, inputs if isinstance(inputs, tuple) else [inputs], strict=True)
    )
    from snnconvert.conversion.capture.captured_network import CapturedNetwork
    from snnconvert.conversion.execution.interpreter import Interpreter

    wanted = CapturedNetwork(captured).eval()(*values.values())
    with torch.no_grad():
        for block in blocks:
            part = block.part_of(captured.program, captured.constants)
            outputs = Interpreter(part).run(captured.constants, [values[n] for n in part.inputs])
            values |= zip(block.targets, outputs, strict=True)
    assert torch.equal(values[captured.program.output.name], wanted)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("shape", [(), (3,), (1, 1, 1, 5)])
def test_training_clip_is_the_quantiser_where_it_quantises(signed, shape):
    x = torch.randn(4, 3, 5, 5, requires_grad=True)
    ceiling = (torch.rand(shape) + 0.5).requires_grad_()
    weight = torch.randn(4, 3, 5, 5)
    wanted = quantized_clip(x, ceiling, 4, signed)
    gradients = torch.autograd.grad((wanted * weight).sum(), [x, ceiling])
    all_of_it = torch.ones(x.shape, dtype=torch.bool)
    found = DroppedClip.apply(x, x.relu(), ceiling, 4, signed, all_of_it)
    torch.testing.assert_close(found, wanted)
    ours = torch.autograd.grad((found * weight).sum(), [x, ceiling])
    torch.testing.assert_close(ours, gradients)
    found = DroppedClip.apply(x, x.relu(), ceiling, 4, signed, ~all_of_it)
    assert torch.equal(found, x.relu())


def test_coin_and_optimizer():
    assert Coin(0.5, 0)((100, 1000)).float().mean() == pytest.approx(0.5, abs=0.01)
    assert Coin(1.0, 0)((7,)).all() and Coin(0.25, 0)((3, 5)).shape == (3, 5)
    start = {"a_ceiling": torch.tensor([1e-3, 1.0]), "w": torch.zeros(2)}
    optimizer = RelativeAdam(start, {"a_ceiling"}, 0.5, 20)
    for _ in range(20):
        values = optimizer.values()
        optimizer.step(values["a_ceiling"].sum() + (values["w"] - 1).square().sum())
    assert (optimizer.result()["a_ceiling"] > 0).all()
    assert torch.equal(start["w"], torch.zeros(2))


@pytest.mark.parametrize("weights", ["block", None, True, 3])
def test_unknown_weights_are_refused(residual, weights):
    with pytest.raises(InputError, match=r"weights: found .*kept, blocks, distilled"):
        converted(residual, weights)


@pytest.mark.parametrize(
    "options",
    [{"block_steps": -1}, {"batch": 0}, {"rate": 0}, {"quantised": 1.5}, {"block_steps": 1.5},
     {"block_steps": 0}, {"rate": float("nan")}],
)  # fmt: skip
def test_bad_options_are_refused(options):
    with pytest.raises(InputError, match="weights: "):
        WeightCalibration(**options)


def test_nothing_to_calibrate_is_refused(residual):
    trained = snnconvert.quantize(residual, 4, example_inputs=smooth(2, 0))
    with pytest.raises(InputError, match="nothing to calibrate"):
        converted(trained, "blocks")
    with pytest.raises(InputError, match="calibration"):
        snnconvert.convert(residual, 4, example_inputs=smooth(2, 0), weights=NAMED["blocks"])
