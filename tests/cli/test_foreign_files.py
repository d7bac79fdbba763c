"""Networks of foreign origin: every command that can take a file without a recipe, or a .pt2."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import snnconvert
from tests.support.command_line import assert_refused, call_cli

SIZE = 8


class Denoises(nn.Module):
    """(x, t) -> {"sample": eps}."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, x, t):
        return {"sample": self.last(torch.relu(self.first(x) + t[:, None, None, None] / 1000))}


class Classifies(nn.Module):
    """Grey images to two classes: which half is brighter."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(SIZE * SIZE, 2, bias=False), nn.Linear(2, 2, bias=False)
        left = torch.zeros(SIZE, SIZE)
        left[:, : SIZE // 2] = 1
        self.first.weight.data = torch.stack([left.flatten(), 1 - left.flatten()])
        self.last.weight.data = torch.eye(2)

    def forward(self, x):
        return {"logits": self.last(torch.relu(self.first(x.flatten(1))))}


def exported(model: nn.Module, inputs: tuple, path) -> None:
    batch = torch.export.Dim("batch", min=2, max=64)
    shapes = tuple({0: batch} for _ in inputs)
    torch.export.save(torch.export.export(model, inputs, dynamic_shapes=shapes), path)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A denoiser and a classifier as .pt2 and converted, and labelled grey images."""
    torch.manual_seed(0)
    where = tmp_path_factory.mktemp("foreign")
    inputs = (torch.rand(8, 1, SIZE, SIZE), torch.rand(8) * 1000)
    made = [("denoiser", Denoises(), inputs), ("classifier", Classifies(), inputs[:1])]
    for name, model, x in made:
        exported(model, x, where / f"{name}.pt2")
        snn = snnconvert.convert(model, 8, example_inputs=x, calibration=[x])
        snnconvert.save(snn, where / f"{name}.snn.pt")
    rng = np.random.default_rng(0)
    for number in range(20):
        pixels = rng.integers(0, 60, (SIZE, SIZE), dtype=np.uint8)
        pixels[:, slice(4) if number % 2 else slice(4, 8)] += 100
        folder = where / "images" / ("a" if number % 2 else "b")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return where


@pytest.mark.parametrize("name", ["classifier.snn.pt", "classifier.pt2"])
def test_accuracy_of_a_classifier_without_a_recipe(place, tmp_path, name):
    out = tmp_path / "found.json"
    result = call_cli("evaluate", name, "--against", "images", "--mean", "0", "--std", "1",
                      "-o", out, cwd=place)  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert json.loads(out.read_text())["accuracy"] == 1.0
    for arguments in (("--mean", "0.5,0.5"), ("--steps", "3")):
        assert_refused(call_cli("evaluate", name, "--against", "images", *arguments, cwd=place))


@pytest.mark.parametrize("name", ["classifier.snn.pt", "classifier.pt2"])
def test_what_needs_a_denoiser_says_so(place, tmp_path, name):
    for command in (("sample", "-o", tmp_path / "x.png"), ("moments", "--data", "images")):
        result = call_cli(command[0], name, *command[1:], cwd=place)
        assert_refused(result, name)
        assert "classifier" in result.stderr or ".pt2" in result.stderr


@pytest.mark.parametrize("name", ["denoiser.snn.pt", "denoiser.pt2"])
def test_images_of_a_denoiser_without_a_recipe(place, tmp_path, name):
    out = tmp_path / "x.npz"
    result = call_cli("sample", name, "--schedule", "linear", "-n", "2", "--steps", "3",
                      "-o", out, "--no-progress", cwd=place)  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert np.load(out)["samples"].shape == (2, SIZE, SIZE, 1)
    assert_refused(call_cli("sample", name, "-o", out, cwd=place), "--schedule")


@pytest.mark.parametrize("name", ["denoiser.snn.pt", "denoiser.pt2", "classifier.pt2"])
def test_info_says_what_it_is(place, name):
    result = call_cli("info", name, cwd=place)
    assert result.returncode == 0 and "weights" in result.stdout, result.stderr


@pytest.mark.filterwarnings("ignore")
def test_trajectory_of_a_converted_denoiser_and_of_an_exported_one(place, tmp_path):
    short = ("-n", "1", "--steps", "3", "--schedule", "linear", "-o", tmp_path / "t.json")
    result = call_cli("trajectory", "denoiser.snn.pt", *short, cwd=place)
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "t.json").read_text())
    assert len(found["calls"]) == 3 and found["images_equal"]["call"]
    result = call_cli("trajectory", "denoiser.pt2", *short, "--calibrate", "images", cwd=place)
    assert result.returncode == 0, result.stderr
    assert_refused(call_cli("trajectory", "denoiser.pt2", cwd=place), "--schedule")


@pytest.mark.filterwarnings("ignore")
def test_moments_and_calibration_on_grey_folders(place, tmp_path):
    out = tmp_path / "net.snn.pt"
    result = call_cli("convert", "denoiser.pt2", "--calibrate", "images", "--schedule", "linear",
                      "-o", out, cwd=place)  # fmt: skip
    assert result.returncode == 0, result.stderr
    result = call_cli("moments", out, "--data", "images", "--times", "3", "--no-progress",
                      cwd=place)  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert_refused(call_cli("moments", "denoiser.pt2", "--data", "images", cwd=place), ".pt2")


def wrong_files(folder):
    """Files that people give where a checkpoint belongs, and what must be said of them."""
    model = Classifies()
    torch.save({"epoch": 3, "model": model.state_dict()}, folder / "weights.pth")
    torch.save(torch.zeros(4, 1, SIZE, SIZE), folder / "inputs.pt")
    torch.save([1, 2], folder / "list.pt")
    whole = (folder / "weights.pth").read_bytes()
    (folder / "cut.pt").write_bytes(whole[: len(whole) // 2])
    return {
        "weights.pth": ("weights alone", "--model MODULE:FACTORY", "torch.export.save"),
        "inputs.pt": ("a tensor [4, 1, 8, 8]", "--calibrate"),
        "list.pt": ("it holds: list", ".onnx"),
        "cut.pt": ("damaged",),
    }


def test_a_wrong_file_is_named_with_the_road_that_its_network_takes(tmp_path):
    for name, words in wrong_files(tmp_path).items():
        for command in ("convert", "info"):
            assert_refused(call_cli(command, name, cwd=tmp_path), name, *words)


def test_a_wrong_example_is_not_blamed_on_capture(tmp_path):
    done = call_cli("check", "--model", "torchvision.models:squeezenet1_1",
                    "--example-shape", "2,5,64,64", cwd=tmp_path)  # fmt: skip
    assert_refused(done, "SqueezeNet", "[2, 5, 64, 64]", "--example-shape")
    assert "torch.export" not in done.stderr


def test_calibration_data_that_is_not_there_is_no_unknown_data_set(place, tmp_path):
    for wrong in ("nowhere/", "nowhere.pt", "no/where"):
        done = call_cli(
            "convert", str(place / "classifier.pt2"), "--calibrate", wrong, cwd=tmp_path
        )
        assert_refused(done, wrong, "is not there", "fashion-mnist")


def test_calibration_data_that_is_not_there_is_so_for_networks_of_vectors(tmp_path):
    export = torch.export.export(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), (torch.rand(2, 4),))
    torch.export.save(export, tmp_path / "vectors.pt2")
    for command in ("convert", "quantize"):
        done = call_cli(command, "vectors.pt2", "--calibrate", "nowhere.npz", cwd=tmp_path)
        assert_refused(done, "nowhere.npz", "is not there")
