"""Training as a user runs it: real processes, real images, killed and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import snnconvert
from snnconvert.checkpoint.format import read_checkpoint
from snnconvert.checkpoint.recipe import load_recipe
from snnconvert.files.tensors import read_file
from snnconvert.images.order import step_indices
from snnconvert.images.pictures import save_png
from snnconvert.operators.clip import QuantizedClip
from snnconvert.training.stage import Paused
from snnconvert.training.tasks import Batch, answer_of, loss_of
from tests.support.command_line import assert_refused, call_cli, run_cli, two_processes
from tests.support.paths import ROOT

SMALL = """
dataset = "folder"
data_root = "images"
image_size = 8
flip = true
channels = 4
channel_mult = [1, 2]
blocks = 1
groups = 2
levels = 3
steps = 24
quantized_steps = 24
batch_size = 8
warmup = 4
dropout = 0.2
save_every = 4
sample_every = 20
"""
SPIKING = """
model = "spiking-unet"
dataset = "folder"
data_root = "images"
image_size = 8
channels = 8
channel_mult = [1, 2]
blocks = 1
timesteps = 3
dropout = 0.2
steps = 24
batch_size = 8
learning_rate = 1e-3
warmup = 4
save_every = 4
sample_every = 0
"""
TAUGHT = SMALL + 'quantized_target = "ann"\nclipped = true\ntime_power = 2.0\n'
JUDGED = TAUGHT + "critic = 0.05\ncritic_data = 0.01\n"
LEAN = SPIKING + "checkpointing = true\n"
CLASSES = """
model = "resnet"
dataset = "folder"
data_root = "classes"
image_size = 8
flip = true
crop = 1
channels = 4
channel_mult = [1, 2]
blocks = 1
classes = 2
normalize = "imagenet"
levels = 3
steps = 24
quantized_steps = 24
batch_size = 8
optimizer = "sgd"
weight_decay = 1e-3
learning_rate = 0.05
quantized_learning_rate = 0.01
warmup = 4
save_every = 4
"""


@pytest.fixture
def folder(tmp_path, shipped):
    """A working folder with recipes and 40 real images, also sorted into dark and bright ones."""
    for name in ("images", "classes/bright", "classes/dark"):
        (tmp_path / name).mkdir(parents=True)
    images = shipped["probe"][:40].float() / 127.5 - 1
    middle = images.mean((1, 2, 3)).median()
    for index, image in enumerate(images):
        save_png(tmp_path / "images" / f"{index:03d}.png", image)
        kind = "bright" if image.mean() > middle else "dark"
        save_png(tmp_path / "classes" / kind / f"{index:03d}.png", image)
    recipes = {"small": SMALL, "taught": TAUGHT, "judged": JUDGED, "spiking": SPIKING,
               "lean": LEAN, "classes": CLASSES}  # fmt: skip
    for name, text in recipes.items():
        (tmp_path / f"{name}.toml").write_text(text)
    return tmp_path


def start_and_kill(folder, recipe: str, stage: str) -> None:
    """Start a training and kill it with SIGKILL once `stage` has saved a state."""
    process = subprocess.Popen(
        [sys.executable, "-m", "snnconvert", "train", recipe, "-o", "killed.pt"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    state = folder / "killed.train.pt"
    try:
        while process.poll() is None:
            if state.exists() and read_file(state)["stage"] == stage:
                break
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("recipe", ["small.toml", "taught.toml", "judged.toml", "spiking.toml",
                                    "classes.toml"])  # fmt: skip
def test_a_killed_training_resumes_to_the_last_bit(folder, recipe):
    whole = run_cli("train", recipe, "-o", "whole.pt", cwd=folder)
    assert whole.returncode == 0, whole.stderr
    a = read_checkpoint(folder / "whole.pt")
    for stage in a["networks"]:
        start_and_kill(folder, recipe, stage)
    resumed = run_cli("train", recipe, "-o", "killed.pt", cwd=folder)
    assert resumed.returncode == 0, resumed.stderr
    b = read_checkpoint(folder / "killed.pt")
    for stage, network in a["networks"].items():
        for name, value in network["state"].items():
            assert torch.equal(value, b["networks"][stage]["state"][name]), (stage, name)
    losses = (folder / "whole.losses.csv").read_text()
    assert losses == (folder / "killed.losses.csv").read_text()
    assert losses.count("\n") == 1 + 24 * len(a["networks"])
    assert not (folder / "killed.train.pt").exists()


def losses_of(path) -> list[float]:
    return [float(line.split(",")[2]) for line in path.read_text().splitlines()[1:]]


@pytest.mark.parametrize("recipe", ["small.toml", "taught.toml", "judged.toml", "lean.toml",
                                    "classes.toml"])  # fmt: skip
def test_two_processes_train_as_one(folder, recipe):
    changes = ["--set", "precision=float32"]  # bfloat16 rounds a share otherwise
    if recipe != "classes.toml":  # each process drops other values than one alone
        changes += ["--set", "dropout=0.0", "--set", "sample_every=0"]
    one = call_cli("train", recipe, "-o", "one.pt", *changes, cwd=folder)
    assert one.returncode == 0, one.stderr
    codes, outputs = two_processes([["train", recipe, "-o", "two.pt", *changes]], folder)
    assert codes == [0, 0], outputs
    assert [int(out.rpartition("progress bars: ")[2]) > 0 for out, _ in outputs] == [True, False]
    ones, twos = (losses_of(folder / f"{name}.losses.csv") for name in ("one", "two"))
    assert len(ones) >= 20
    apart = [abs(a - b) for a, b in zip(ones, twos, strict=True)]
    whole = 6 if recipe == "lean.toml" else len(apart)  # rounding flips a spike sooner or later
    assert max(apart[:whole]) < 1e-5 and max(apart) < 0.1
    assert read_checkpoint(folder / "two.pt")["provenance"]["processes"] == 2


def test_a_quantised_network_learns_from_the_float_one(folder):
    """At 200 levels the two hardly differ: little is left to learn, whatever the data's noise."""
    changes = ["levels=200", "quantized_steps=4", "dropout=0.0", "sample_every=0"]
    changes = [word for change in changes for word in ("--set", change)]
    found = {}
    for target in ("data", "ann"):
        arguments = ["--set", f"quantized_target={target}", "-o", f"{target}.pt", *changes]
        assert call_cli("train", "small.toml", *arguments, cwd=folder).returncode == 0
        found[target] = losses_of(folder / f"{target}.losses.csv")[-4:]
    assert max(found["ann"]) < 0.01 * min(found["data"])


def test_a_taught_network_that_equals_its_teacher_has_nothing_to_learn(folder):
    recipe = load_recipe(folder / "classes.toml")
    network = recipe.family.build(recipe.network(3, "ann")).eval()
    batch = Batch((torch.randn(8, 3, 8, 8),), torch.zeros(8, dtype=torch.long))
    answer = answer_of(recipe, network, batch)
    loss = loss_of(recipe, network(*batch.inputs), batch, answer)
    loss.backward()
    gradients = [value.grad.abs().max() for value in network.parameters()]
    assert float(loss.detach()) > 0 and max(gradients) < 1e-6
    loss_of(recipe, network(*batch.inputs), batch).backward()
    assert max(value.grad.abs().max() for value in network.parameters()) > 1e-3


def test_python_trains_from_the_path_of_a_recipe_as_from_the_recipe(folder, monkeypatch):
    monkeypatch.chdir(folder)
    changes = ["steps=3", "quantized_steps=3", "sample_every=0"]
    recipe = snnconvert.load_recipe("small.toml", changes)
    Path("few.toml").write_text(recipe.to_toml())
    files = [
        snnconvert.train(source, f"{number}.pt", progress=False)
        for number, source in enumerate((recipe, "few.toml", Path("few.toml")))
    ]
    states = [snnconvert.load(file).state_dict() for file in files]
    for state in states[1:]:
        assert all(torch.equal(state[name], value) for name, value in states[0].items())
    with pytest.raises(snnconvert.errors.RecipeError, match="cannot be read"):
        snnconvert.train("absent.toml", "a.pt")


def test_processes_must_divide_the_batch(folder):
    change = ["--set", "batch_size=5"]
    codes, outputs = two_processes([["train", "small.toml", "-o", "two.pt", *change]], folder)
    assert codes == [2, 2]
    for _, errors in outputs:
        assert "batch_size" in errors and "Traceback" not in errors
    assert not list(folder.glob("two*"))


def test_a_trained_checkpoint_converts_and_samples(folder):
    changes = ["--set", "steps=6", "--set", "quantized_steps=6", "--set", "sample_every=0"]
    assert call_cli("train", "small.toml", *changes, cwd=folder).returncode == 0
    content = read_checkpoint(folder / "small.pt")
    assert content["stage"] == "qann"
    assert content["recipe"]["steps"] == 6
    assert content["provenance"]["images_seen"] == {"ann": 48, "qann": 48}
    clips = [
        m for m in snnconvert.load(folder / "small.pt").modules() if isinstance(m, QuantizedClip)
    ]
    assert clips and all(float(clip.ceiling.detach().min()) > 0 for clip in clips)
    assert len({float(clip.ceiling.detach().max()) for clip in clips}) > 1  # calibrated
    result = run_cli("convert", "small.pt", "--timesteps", "3", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "nothing was lost" in result.stdout


def test_a_classifier_converts_and_is_as_accurate_as_before(folder):
    changes = ["--set", "steps=60", "--set", "quantized_steps=20", "--set", "ema=0.5"]
    assert call_cli("train", "classes.toml", *changes, cwd=folder).returncode == 0
    result = call_cli("convert", "classes.pt", "--timesteps", "3", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "nothing was lost" in result.stdout
    found = {}
    for file, stage in (("classes.pt", "ann"), ("classes.pt", "qann"), ("classes.snn.pt", "snn")):
        arguments = ["--stage", stage, "--against", "classes", "-o", f"{stage}.json"]
        result = call_cli("evaluate", file, *arguments, cwd=folder)
        assert result.returncode == 0, result.stderr
        found[stage] = json.loads((folder / f"{stage}.json").read_text())
    assert found["snn"]["accuracy"] == found["qann"]["accuracy"]
    assert found["ann"]["accuracy"] > 0.8  # bright or dark
    assert found["snn"]["samples"] == 40
    arguments = ["--stage", "ann", "--calibrate", "classes", "--timesteps", "8", "-o", "c.pt"]
    result = call_cli("convert", "classes.pt", *arguments, cwd=folder)  # images, and no noise
    assert result.returncode == 0, result.stderr
    assert snnconvert.load(folder / "c.pt").calibration["inputs"] == 38


def test_classifiers_do_not_draw_and_need_labels(folder):
    changes = ["--set", "steps=2", "--set", "levels=0"]
    assert call_cli("train", "classes.toml", *changes, cwd=folder).returncode == 0
    assert_refused(call_cli("sample", "classes.pt", cwd=folder), "classes.pt", "classifier")
    unlabelled = call_cli("evaluate", "classes.pt", "--against", "images", cwd=folder)
    assert_refused(unlabelled, "images", "labels", "sub-folder")
    solver = ["--against", "classes", "--solver", "ddim"]
    assert_refused(call_cli("evaluate", "classes.pt", *solver, cwd=folder), "--solver")
    root = ["--set", "data_root=images", "-o", "b.pt"]
    assert_refused(call_cli("train", "classes.toml", *root, cwd=folder), "labels")
    one = ["--set", "classes=1", "-o", "b.pt"]
    assert_refused(call_cli("train", "classes.toml", *one, cwd=folder), "classes", "2")


def test_a_training_starts_from_given_weights(folder):
    changes = ["--set", "steps=3", "--set", "sample_every=0"]
    assert call_cli("train", "spiking.toml", "-o", "a.pt", *changes, cwd=folder).returncode == 0
    given = ["--set", "steps=0", "--set", "initial=a.pt"]
    assert call_cli("train", "spiking.toml", "-o", "b.pt", *given, cwd=folder).returncode == 0
    a, b = (read_checkpoint(folder / f"{n}.pt")["networks"]["spiking"]["state"] for n in "ab")
    trained = [name for name in a if not name.rpartition(".")[2].startswith(("running", "num"))]
    assert trained and all(torch.equal(a[name], b[name]) for name in trained)

    with_tsm = [*given, "--set", "tsm=true", "--set", "steps=2", "-o", "c.pt"]
    assert call_cli("train", "spiking.toml", *with_tsm, cwd=folder).returncode == 0
    assert len(read_checkpoint(folder / "c.pt")["networks"]["spiking"]["state"]) > len(a)
    for change, words in (
        ("blocks=2", ["a.pt"]),
        ("initial=none.pt", ["none.pt", "no such"]),
        ("timesteps=5", ["a.pt", "timesteps"]),
    ):
        result = call_cli(
            "train", "spiking.toml", *given, "--set", change, "-o", "d.pt", cwd=folder
        )
        assert_refused(result, *words)
        assert not (folder / "d.pt").exists()


def test_a_native_network_draws_and_reports_by_the_same_commands(folder):
    changes = ["--set", "steps=4"]
    assert call_cli("train", "spiking.toml", *changes, cwd=folder).returncode == 0
    for arguments in (
        ["sample", "spiking.pt", "-n", "2", "--steps", "3", "--threshold-scale", "0.99"],
        ["moments", "spiking.pt", "--times", "3"],
        ["sample", "spiking.pt", "--stage", "spiking", "--solver", "analytic-ddim", "-n", "2",
         "--steps", "3", "-o", "b.png"],
        ["info", "spiking.pt"],
        ["report", "spiking.pt"],
    ):  # fmt: skip
        result = call_cli(*arguments, cwd=folder)
        assert result.returncode == 0, result.stderr
    found = json.loads((folder / "spiking.report.json").read_text())
    assert f"{found['cost']['energy_snn_mj']:.3g} mJ" in result.stdout
    assert found["timesteps"] == 3 and 0 < found["cost"]["firing_rate"] < 1
    assert_refused(
        call_cli("convert", "spiking.pt", cwd=folder), "spiking.pt", "to convert", "spiking"
    )
    assert (
        call_cli("train", "small.toml", *changes, "--set", "levels=0", cwd=folder).returncode == 0
    )
    assert_refused(call_cli("report", "small.pt", cwd=folder), "small.pt", "no native spiking")


def test_the_same_command_again_changes_nothing(folder):
    changes = ["--set", "steps=4", "--set", "levels=0", "--set", "sample_every=0"]
    assert call_cli("train", "small.toml", *changes, cwd=folder).returncode == 0
    before = (folder / "small.pt").read_bytes()
    assert call_cli("train", "small.toml", *changes, cwd=folder).returncode == 0
    assert (folder / "small.pt").read_bytes() == before
    other = call_cli("train", "small.toml", *changes, "--set", "seed=1", cwd=folder)
    assert_refused(other, "small.pt", "seed", "-o")
    assert (folder / "small.pt").read_bytes() == before


def test_training_learns(folder):
    """A few steps on real images already beat the untrained network."""
    changes = ["--set", "steps=150", "--set", "levels=0", "--set", "learning_rate=3e-3"]
    result = call_cli("train", "small.toml", "-o", "a.pt", *changes, "--set", "ema=0.9", cwd=folder)
    assert result.returncode == 0, result.stderr
    losses = [float(part.split("]")[0].split(",")[0]) for part in result.stderr.split("loss=")[1:]]
    assert losses[-1] < 0.8 * losses[0]


def test_every_epoch_visits_every_image_once():
    seen = [i for step in range(10) for i in step_indices(3, step, 4, 20)]
    assert sorted(seen[:20]) == sorted(seen[20:]) == list(range(20))
    assert seen[:20] != seen[20:]
    assert step_indices(3, 7, 4, 20) == seen[28:32]


def test_missing_and_broken_images_are_named(folder):
    assert_refused(
        call_cli("train", "small.toml", "--set", "data_root=nowhere", cwd=folder), "nowhere"
    )
    (folder / "images" / "000.png").write_bytes(b"no image")
    assert_refused(call_cli("train", "small.toml", cwd=folder), "000.png", "not a readable image")


def test_a_paused_training_ends_as_a_whole_one(folder, monkeypatch):
    monkeypatch.chdir(folder)
    whole = snnconvert.train("small.toml", "whole.pt", progress=False)
    with pytest.raises(Paused, match="ann, step 4 of 24"):
        snnconvert.train("small.toml", "cut.pt", progress=False, stop_after=0)
    assert not Path("cut.pt").exists()
    cut = snnconvert.train("small.toml", "cut.pt", progress=False)
    assert losses_of(whole.with_suffix(".losses.csv")) == losses_of(cut.with_suffix(".losses.csv"))
