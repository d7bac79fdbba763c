"""Commands that draw from a network of any origin, as its file, options and data say."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import snnconvert
from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.checkpoint.format import read_checkpoint, save_checkpoint
from snnconvert.checkpoint.stored_moments import correction_of, curve_of
from snnconvert.cli.arguments.drawn import denoises
from snnconvert.cli.arguments.named_network import NamedNetwork
from snnconvert.conversion.capture.export import capture
from snnconvert.diffusion.schedule import Schedule
from snnconvert.images.pixels import to_pixels, to_range
from snnconvert.report.trials.calls import AsCaptured
from tests.support.command_line import assert_refused, call_cli
from tests.support.tiny_checkpoint import tiny_content

SIZE = 8
pytestmark = pytest.mark.filterwarnings("ignore")
SHORT = ("-n", "1", "--steps", "2", "--solver", "ddim", "-q", "-o", "t.json")


class Grey(nn.Module):
    """(x, t) -> x0 of images 0 ... 1, always 0.75."""

    prediction = "x0"

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 1)
        nn.init.zeros_(self.down.weight)
        nn.init.constant_(self.down.bias, 0.75)

    def forward(self, x, t):
        return self.down(torch.relu(self.up(x + 0 * t[:, None, None, None])))


class Compares(nn.Module):
    """(image, one number a sample) -> logits of three classes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.last = nn.Linear(SIZE * SIZE + 1, 8), nn.Linear(8, 3)

    def forward(self, x, number):
        return self.last(torch.relu(self.hidden(torch.cat([x.flatten(1), number[:, None]], 1))))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Images in 0 ... 1 as a file, and in a folder of its own what a test writes."""
    folder = tmp_path_factory.mktemp("drawn")
    torch.save(torch.rand(24, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0)),
               folder / "clean.pt")  # fmt: skip
    return folder


CONVERTED = ("convert", "--model", "tests.cli.test_drawn:Grey", "--example-shape",
             f"2,1,{SIZE},{SIZE}", "--example-shape", "2", "--calibrate", "clean.pt", "--mean", "0",
             "--std", "1", "--schedule", "linear", "--no-page", "--no-solver-path", "-q", "-o",
             "grey.snn.pt")  # fmt: skip


def test_pixels_are_those_of_the_datas_own_range(place):
    assert call_cli(*CONVERTED, cwd=place).returncode == 0
    assert Checkpoint.read(place / "grey.snn.pt").data_range == (0.0, 1.0)
    drawn = call_cli("sample", "grey.snn.pt", "-n", "2", "--steps", "3", "--solver", "ddim", "-o",
                     "g.npz", "--no-progress", cwd=place)  # fmt: skip
    assert drawn.returncode == 0, drawn.stderr
    with np.load(place / "g.npz") as content:
        assert (content["samples"] == round(0.75 * 255)).all()
    pixels = torch.arange(256, dtype=torch.uint8)
    for data_range in ((-1.0, 1.0), (0.0, 1.0), (-2.1, 2.6)):
        assert torch.equal(to_pixels(to_range(pixels, data_range), data_range), pixels)


def test_moments_are_measured_in_that_range_too(place):
    assert call_cli(*CONVERTED, cwd=place).returncode == 0
    np.savez(place / "bytes.npz", np.full((4, SIZE, SIZE), 51, np.uint8))
    found = call_cli("moments", "grey.snn.pt", "--data", "bytes.npz", "--times", "4",
                     "--no-progress", cwd=place)  # fmt: skip
    assert found.returncode == 0, found.stderr
    wanted = snnconvert.eps_second_moment(
        snnconvert.load(place / "grey.snn.pt"), [torch.full((4, 1, SIZE, SIZE), 0.2)], clip=True,
        times=4,
    )  # fmt: skip
    entry = read_checkpoint(place / "grey.snn.pt")["moments"]["snn"]
    torch.testing.assert_close(entry["eps_second_moment"], wanted)
    assert entry["clip"] == (0.0, 1.0)


def test_measurements_hold_only_for_data_clipped_as_they_were(tmp_path):
    save_checkpoint(tmp_path / "tiny.pt", tiny_content())
    measure = ("moments", "tiny.pt", "--times", "3", "-n", "4", "--no-progress")
    draw = ("sample", "tiny.pt", "-n", "1", "--steps", "2", "-o", "o.npz", "--no-progress")
    for measured, curve, solver in (
        (measure, "eps_second_moment", "analytic-ddim"),
        ((*measure, "--against", "qann"), "correction", "ddim"),
    ):
        command = (*draw, "--solver", solver, *(["--corrected"] if curve == "correction" else []))
        for clip, other in (("--clip", "--no-clip"), ("--no-clip", "--clip")):
            assert call_cli(*measured, clip, cwd=tmp_path).returncode == 0
            assert call_cli(*command, clip, cwd=tmp_path).returncode == 0
            refused = call_cli(*command, other, cwd=tmp_path)
            assert_refused(refused, curve, "clipped to [-1, 1]", "not clipped", f"with {clip}")
    content = read_checkpoint(tmp_path / "tiny.pt")
    del content["moments"]["qann"]["clip"], content["moments"]["qann"]["correction"]["clip"]
    save_checkpoint(tmp_path / "tiny.pt", content)  # as earlier versions wrote it
    for measured_of in (curve_of, correction_of):
        with pytest.warns(UserWarning, match="did not note whether .* clipped"):
            measured_of(Checkpoint.read(tmp_path / "tiny.pt"), "qann")


def test_the_times_measured_are_bounded(tmp_path):
    save_checkpoint(tmp_path / "tiny.pt", tiny_content())
    for times in ("99999", "1"):
        refused = call_cli("moments", "tiny.pt", "--times", times, cwd=tmp_path)
        assert_refused(refused, times, "2 ... 1000")


def test_times_of_another_range_than_a_trainings_are_refused(tmp_path):
    save_checkpoint(tmp_path / "tiny.pt", tiny_content())
    for command in (("convert", "--no-page"), ("sample", "-n", "1", "--steps", "1"), ("check",),
                    ("moments", "--times", "2"), ("trajectory", "--steps", "1", "-n", "1"),
                    ("sweep",)):  # fmt: skip
        refused = call_cli(command[0], "tiny.pt", *command[1:], "--t-range", "0,0.999",
                           cwd=tmp_path)  # fmt: skip
        assert_refused(refused, "t_range", "from 0 to 999")
    same = call_cli("sample", "tiny.pt", "-n", "1", "--steps", "1", "--t-range", "0,999", "-o",
                    "s.png", "--no-progress", cwd=tmp_path)  # fmt: skip
    assert same.returncode == 0, same.stderr


def test_trajectories_of_networks_of_any_origin(place):
    """A factory that says what it predicts, ONNX, and (beside the others) a diffusers folder."""
    factory = ("--model", "tests.cli.test_drawn:Grey", *CONVERTED[3:7])
    data = ("--calibrate", "clean.pt", "--schedule", "linear")
    torch.onnx.export(
        Grey().eval(), (torch.zeros(2, 1, SIZE, SIZE), torch.zeros(2)), str(place / "net.onnx"),
        dynamo=False, input_names=["x", "t"], dynamic_axes={"x": {0: "B"}, "t": {0: "B"}},
    )  # fmt: skip
    for network, said in ((factory, ()), (("net.onnx",), ("--prediction", "x0"))):
        result = call_cli("trajectory", *network, *data, *said, *SHORT, cwd=place)
        assert result.returncode == 0, result.stderr
        found = json.loads((place / "t.json").read_text())
        assert found["images_equal"]["call"] and len(found["calls"]) == 2
    without = call_cli("trajectory", *factory, *SHORT, *data[:2], cwd=place)
    assert_refused(without, "--schedule")
    refused = call_cli("trajectory", *factory, *data, "--corrected", *SHORT, cwd=place)
    assert_refused(refused, "--corrected", "moments --against")


def test_a_trajectory_of_a_folder_knows_its_pipelines_noise(place):
    diffusers = pytest.importorskip("diffusers")
    unet = diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, norm_num_groups=4,
        block_out_channels=(8, 16), down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    unet.save_pretrained(place / "pipe" / "unet")
    follow = ("trajectory", "pipe/unet", "--calibrate", "clean.pt", *SHORT)
    assert_refused(call_cli(*follow[:2], *SHORT, cwd=place), "--schedule")
    scheduler = diffusers.DDPMScheduler(prediction_type="v_prediction", num_train_timesteps=100)
    scheduler.save_pretrained(place / "pipe" / "scheduler")
    result = call_cli(*follow, cwd=place)
    assert result.returncode == 0, result.stderr
    found = json.loads((place / "t.json").read_text())
    assert 90 <= found["calls"][0]["t"] <= 99
    assert_refused(call_cli(*follow, "--prediction", "eps", cwd=place), "predicts v")


def test_a_classifier_of_two_inputs_is_no_denoiser(place):
    x, number = torch.randn(30, 1, SIZE, SIZE), torch.arange(30.0) % 3
    torch.save((x, number), place / "inputs.pt")
    labels = Compares()(x, number).argmax(1)
    torch.save((x, number, labels), place / "labelled.pt")
    shapes = ("--example-shape", f"2,1,{SIZE},{SIZE}", "--example-shape", "2")
    network = ("--model", "tests.cli.test_drawn:Compares", *shapes)
    found = call_cli("sweep", *network, "--calibrate", "inputs.pt", "--timesteps", "8", "--against",
                     "labelled.pt", "--json", "-o", "s.json", cwd=place)  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["float_ann"].keys() == {"accuracy"}
    refused = call_cli("trajectory", *network, "--calibrate", "inputs.pt", *SHORT, cwd=place)
    assert_refused(refused, "(x, t)")


def test_a_denoiser_with_labels_is_one():
    class Labelled(nn.Module):
        def forward(self, x, t, y):
            return x * t[:, None] + y[:, None]

    examples = (torch.ones(2, 3), torch.ones(2), torch.ones(2))
    assert denoises(NamedNetwork("labelled", Labelled(), examples))


def test_as_captured_hands_further_arguments_on():
    class Labelled(nn.Module):
        def forward(self, x, t, y=None):
            return x * t[:, None] + (0 if y is None else y[:, None])

    x, t, y = torch.randn(4, 3), torch.rand(4), torch.arange(4.0)
    program = capture(Labelled(), {"x": x, "t": t, "y": y}).program
    network = AsCaptured(Labelled(), program)
    assert torch.equal(network(x, t, y=y), Labelled()(x, t, y))
    drawing = {"shape": (4, 3), "steps": 3, "schedule": Schedule.linear(), "arguments": {"y": y}}
    found = snnconvert.sample(network, **drawing)
    assert torch.equal(found, snnconvert.sample(Labelled(), **drawing))
