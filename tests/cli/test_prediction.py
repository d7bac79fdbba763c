"""What a denoiser predicts is a property of its file; no command needs to be told."""

from __future__ import annotations

import pytest
import torch

import snnconvert
from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.diffusion.objectives import target_of
from snnconvert.diffusion.sampling import sample
from snnconvert.diffusion.schedule import Schedule
from snnconvert.images.pixels import to_pixels
from snnconvert.images.sources import open_source
from tests.support.command_line import assert_refused, call_cli
from tests.support.errors import relative_error

TINY = """
model = "unet"
dataset = "folder"
data_root = "images"
image_size = 8
channels = 8
channel_mult = [1, 2]
blocks = 1
groups = 4
dropout = 0.0
levels = 4
radix_levels = 15
radix_steps = 3
spike_driven = true
spiking_time = false
per_channel = true
prediction = "v"
steps = 6
quantized_steps = 3
batch_size = 4
warmup = 2
sample_every = 0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, shipped):
    """A folder with a tiny trained checkpoint, tiny.pt, that predicts v."""
    from snnconvert.images.pictures import save_png

    path = tmp_path_factory.mktemp("prediction")
    (path / "images").mkdir()
    for index, image in enumerate(shipped["probe"][:40].float() / 127.5 - 1):
        save_png(path / "images" / f"{index:03d}.png", image)
    (path / "tiny.toml").write_text(TINY)
    done = call_cli("train", "tiny.toml", "-o", "tiny.pt", cwd=path)
    assert done.returncode == 0, done.stderr
    return path


def test_targets_are_one_prediction_in_three_forms():
    """x0 = alpha x - sigma v and eps = sigma x + alpha v (Salimans and Ho 2022, appendix D)."""
    schedule, t = Schedule.linear(), torch.tensor([10.0, 700.0])
    x0, eps = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    x = schedule.add_noise(x0, eps, t)
    alpha, sigma = (f(t).view(-1, 1, 1, 1).float() for f in (schedule.alpha, schedule.sigma))
    v = target_of("v", x0, eps, schedule, t)
    assert relative_error([alpha * x - sigma * v], [target_of("x0", x0, eps, schedule, t)]) < 1e-5
    assert relative_error([sigma * x + alpha * v], [target_of("eps", x0, eps, schedule, t)]) < 1e-5


def test_the_file_says_it_and_commands_follow(folder):
    checkpoint = Checkpoint.read(folder / "tiny.pt")
    assert checkpoint.prediction == "v"
    assert checkpoint.stages == ("ann", "qann", "qann-radix") and checkpoint.stage == "qann"
    assert "predicts: v" in call_cli("info", "tiny.pt", cwd=folder).stdout
    options = ("--solver", "ddim", "--steps", "3", "-n", "4", "--seed", "5")
    assert call_cli("sample", "tiny.pt", *options, "-o", "a.npz", cwd=folder).returncode == 0
    drawn = next(open_source(str(folder / "a.npz"), folder).batches(4, 4))
    wanted = sample(checkpoint.network(), shape=(4, 3, 8, 8), solver="ddim", steps=3, seed=5,
                    prediction="v", clip=True, schedule=checkpoint.schedule())  # fmt: skip
    assert torch.equal(drawn, to_pixels(wanted))


@pytest.mark.parametrize("command", ["sample", "moments"])
def test_a_contradiction_is_refused(folder, command):
    extra = ["-n", "2", "-o", "x.png"] if command == "sample" else ["-n", "2"]
    result = call_cli(command, "tiny.pt", "--prediction", "eps", *extra, cwd=folder)
    assert_refused(result, "found 'eps'", "predicts v", "leave it out")


def test_radix_takes_the_network_that_was_trained_for_it(folder):
    command = ("convert", "tiny.pt", "--timesteps", "4", "--code", "radix", "-o", "r.snn.pt")
    result = call_cli(*command, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "nothing was lost" in result.stdout and "note: trained at" not in result.stdout
    snn = snnconvert.load(folder / "r.snn.pt")
    assert snn.config.firing == "deferred" and snn.config.levels == 15
    x, t = torch.randn(3, 3, 8, 8), torch.tensor([1.0, 400.0, 999.0])
    assert torch.equal(snn(x, t), snnconvert.load(folder / "tiny.pt", "qann-radix")(x, t))
    assert Checkpoint.read(folder / "r.snn.pt").prediction == "v"


def test_corrections_are_measured_kept_and_taken(folder):
    draw = ("sample", "tiny.pt", "--solver", "ddim", "--steps", "3", "-n", "2", "-o", "c.npz")
    assert_refused(call_cli(*draw, "--corrected", cwd=folder), "holds no correction", "--against")
    measure = ("moments", "tiny.pt", "--against", "ann", "--times", "4", "-n", "2")
    result = call_cli(*measure, "--no-progress", cwd=folder)
    assert result.returncode == 0 and "slope" in result.stdout, result.stderr
    assert "correction of 2 images" in call_cli("info", "tiny.pt", cwd=folder).stdout
    assert call_cli(*draw, "--corrected", cwd=folder).returncode == 0
    other = call_cli(*draw, "--corrected", "--stage", "qann-radix", cwd=folder)
    assert_refused(other, "holds no correction of its 'qann-radix'")


def test_a_correction_of_another_network_is_refused(folder):
    checkpoint = Checkpoint.read(folder / "tiny.pt")
    entry = dict.fromkeys(("slope", "variance"), torch.ones(1000).double())
    entry |= {"mean": torch.zeros(1000, 3).double(), "images": 1, "times": 2,
              "network": "another", "schedule": "s", "prediction": "v"}  # fmt: skip
    checkpoint.with_moment("qann", {"correction": entry}).save(folder / "other.pt")
    draw = ("sample", "other.pt", "--solver", "ddim", "--steps", "3", "-n", "2", "-o", "o.npz")
    assert_refused(call_cli(*draw, "--corrected", cwd=folder), "under another network")


def test_networks_of_foreign_origin_keep_what_convert_was_told(folder):
    (folder / "theirs.py").write_text(
        "import sys, torch\n"
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)\n"
        "    def forward(self, x, t):\n"
        "        return self.b((self.a(x) + t[:, None, None, None] / 1000).relu())\n"
        "def net():\n"
        "    torch.manual_seed(0)\n"
        "    return Net()\n"
    )
    command = ("convert", "--model", "theirs:net", "--example-shape", "2,3,8,8", "--example-shape",
               "2", "--calibrate", "images", "--schedule", "cosine", "--prediction", "v",
               "--timesteps", "8", "-o", "theirs.snn.pt")  # fmt: skip
    result = call_cli(*command, cwd=folder)
    assert result.returncode == 0, result.stderr
    checkpoint = Checkpoint.read(folder / "theirs.snn.pt")
    assert checkpoint.prediction == "v"
    assert torch.equal(checkpoint.schedule().alphas_cumprod, Schedule.cosine().alphas_cumprod)
    draw = ("sample", "theirs.snn.pt", "--solver", "ddim", "--steps", "2", "-n", "2")
    assert call_cli(*draw, "-o", "t.npz", cwd=folder).returncode == 0
    wrong = call_cli(*draw, "--prediction", "eps", "-o", "w.npz", cwd=folder)
    assert_refused(wrong, "predicts v")
    wrong = call_cli(*draw, "--schedule", "linear", "-o", "w.npz", cwd=folder)
    assert_refused(wrong, "another one")
    nonsense = call_cli(*command[:-6], "--prediction", "w", cwd=folder)
    assert_refused(nonsense, "'w'", "choose from")
