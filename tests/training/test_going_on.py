"""A training that is interrupted, moved, lengthened, or whose images change between two runs."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import snnconvert
from snnconvert.checkpoint.format import read_checkpoint
from snnconvert.errors import CheckpointError, DataError, RecipeError
from snnconvert.files.tensors import read_file
from snnconvert.images.pictures import save_png
from snnconvert.images.pixels import TensorImages
from snnconvert.training.stage import Paused
from tests.support.command_line import assert_refused, call_cli
from tests.support.paths import ROOT
from tests.support.tiny_recipe import tiny_recipe


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for number, image in enumerate(torch.rand(44, 3, 8, 8) * 2 - 1):
        place = tmp_path / ("images" if number < 40 else "more") / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        save_png(place / f"{number:02}.png", image)
    (tmp_path / "net.toml").write_text(tiny_recipe(12, 6, 1000))
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Interrupting(TensorImages):
    """Images at whose n-th batch the user presses Ctrl-C, in the middle of a step."""

    def __init__(self, at: int) -> None:
        rng = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=rng)
        super().__init__(pixels, torch.arange(40) % 2)
        self.at, self.calls = at, 0

    def take(self, indices):
        self.calls += 1
        if self.calls == self.at:
            signal.raise_signal(signal.SIGINT)
        return super().take(indices)


def train(out: str, at: int = 0, *changes: str, **options) -> Path:
    images = (Interrupting(at), Interrupting(0))
    recipe = snnconvert.load_recipe("net.toml", changes)
    return snnconvert.train(recipe, out, progress=False, images=images, **options)


def same_networks(one: Path, other: Path) -> bool:
    a, b = (read_checkpoint(path)["networks"] for path in (one, other))
    return all(
        torch.equal(value, b[stage]["state"][name])
        for stage, network in a.items() for name, value in network["state"].items()
    )  # fmt: skip


@pytest.fixture
def _interruptible():
    """Ctrl-C as in a terminal, also where these tests run in the background and it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_ctrl_c_ends_the_step_and_saves_it(folder):
    handler = signal.getsignal(signal.SIGINT)
    whole = train("whole.pt")
    for at, where in ((5, "after ann, step 5 of 12"), (1, "after ann, step 6 of 12")):
        with pytest.raises(KeyboardInterrupt, match=where):
            train("cut.pt", at)
        assert not Path("cut.pt").exists() and read_file("cut.train.pt")["stage"] == "ann"
        assert signal.getsignal(signal.SIGINT) is handler
    cut = train("cut.pt")
    assert same_networks(whole, cut)
    assert Path("whole.losses.csv").read_text() == Path("cut.losses.csv").read_text()


@pytest.mark.parametrize(("signs", "code", "word"), [
    ([signal.SIGINT], 130, "interrupted"), ([signal.SIGTERM, signal.SIGTERM], 143, "terminated"),
], ids=["Ctrl-C", "a scheduler, which asks twice"])  # fmt: skip
@pytest.mark.usefixtures("_interruptible")
def test_the_command_line_says_how_to_go_on(folder, signs, code, word):
    process = subprocess.Popen(
        [sys.executable, "-m", "snnconvert", "train", "net.toml", "--set", "steps=100000",
         "--set", "save_every=1"], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not Path("net.train.pt").exists() and process.poll() is None:
        time.sleep(0.02)
    for sign in signs:
        process.send_signal(sign)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == code and "Traceback" not in said
    assert f"{word} after ann, step" in said and "the same command goes on" in said
    step = read_file("net.train.pt")["step"]
    assert step == len(read_file("net.train.pt")["losses"]["ann"]) >= 1


def paused(out: str, *changes: str) -> None:
    with pytest.raises(Paused):
        train(out, 0, "save_every=2", *changes, stop_after=0)


def test_where_and_how_long_may_change_what_may_not(folder):
    paused("net.pt")
    moved = ("data_root=elsewhere", "save_every=3", "device=cpu", "steps=9", "quantized_steps=3")
    out = train("net.pt", 0, *moved)
    content = read_checkpoint(out)
    assert content["recipe"]["data_root"] == "elsewhere" and content["recipe"]["steps"] == 9
    assert content["provenance"]["images_seen"] == {"ann": 36, "qann": 12}
    assert train("net.pt", 0, *moved, "save_every=7", "data_root=images") == out
    with pytest.raises(CheckpointError, match="differs in steps"):
        train("net.pt", 0, *moved, "steps=20")
    paused("other.pt")
    with pytest.raises(CheckpointError, match="differs in batch_size"):
        train("other.pt", 0, "batch_size=8")


@pytest.mark.usefixtures("_interruptible")
def test_a_finished_stage_stays_as_long_as_it_was(folder):
    with pytest.raises(KeyboardInterrupt, match="after qann"):
        train("net.pt", 12 + 8 + 2)
    with pytest.warns(UserWarning, match="'ann' network was finished after 12 steps"):
        out = train("net.pt", 0, "steps=50")
    assert read_checkpoint(out)["provenance"]["images_seen"]["ann"] == 48


def test_fewer_steps_than_were_taken_are_refused_and_as_many_end_it(folder):
    paused("net.pt")
    with pytest.raises(
        RecipeError, match=r"steps: found 1, .*has taken 2 steps of 'ann'.*steps = 2"
    ):
        train("net.pt", 0, "steps=1")
    content = read_checkpoint(train("net.pt", 0, "steps=2"))
    assert content["recipe"]["steps"] == 2 and content["provenance"]["images_seen"]["ann"] == 8


DRAWING = ["model=unet", "groups=2", "dropout=0.2", "diffusion_steps=20", "steps=4",
           "quantized_steps=2", "sample_every=2"]  # fmt: skip


def draw(out: str, at: int = 0) -> dict[str, bytes]:
    """The pictures of a training of a denoiser, interrupted in its n-th batch if `at` > 0."""
    of_classes = ("model", "classes")
    lines = [line for line in Path("net.toml").read_text().splitlines() if line]
    kept = [line for line in lines if line.split()[0] not in of_classes]
    Path("unet.toml").write_text("\n".join(kept))
    recipe = snnconvert.load_recipe("unet.toml", DRAWING)
    images = (Interrupting(at), Interrupting(0))
    snnconvert.train(recipe, out, progress=False, images=images)
    folder = Path(out.replace(".pt", ".samples"))
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@pytest.mark.usefixtures("_interruptible")
def test_an_interrupted_training_leaves_the_same_pictures(folder):
    whole = draw("whole.pt")
    assert list(whole) == ["ann-0000002.png", "ann-0000004.png", "qann-0000002.png"]
    for at in (2, 2):  # in the steps whose pictures are due: the second, and the fourth
        with pytest.raises(KeyboardInterrupt):
            draw("cut.pt", at)
    assert draw("cut.pt") == whole


def test_a_moved_folder_is_the_same_and_added_images_are_noticed(folder, recwarn):
    recipe = snnconvert.load_recipe("net.toml", ["save_every=1"])
    with pytest.raises(Paused):
        snnconvert.train(recipe, "net.pt", progress=False, stop_after=0)
    shutil.move("images", "elsewhere")
    recipe = snnconvert.load_recipe("net.toml", ["data_root=elsewhere", "save_every=1"])
    with pytest.raises(Paused):
        snnconvert.train(recipe, "net.pt", progress=False, stop_after=0)
    assert not recwarn.list
    shutil.copytree("more", "elsewhere", dirs_exist_ok=True)
    with pytest.warns(UserWarning, match=r"38 to train on and 2 held out; now 42 and 2"):
        snnconvert.train(recipe, "net.pt", progress=False)


def test_what_is_wrong_with_a_folder_is_told_before_training(folder):
    for name in ("a/04.png", "b/37.png"):
        path = folder / "images" / name
        path.write_bytes(path.read_bytes()[:100])
    result = call_cli("train", "net.toml", cwd=folder)
    assert_refused(result, "04.png", "37.png", "not a readable image")
    assert not list(folder.glob("net.*.pt")) and not list(folder.glob("net.losses.csv"))
    few = folder / "few" / "a"
    few.mkdir(parents=True)
    for number in range(19):
        shutil.copy(folder / "images" / "a" / "00.png", few / f"{number}.png")
    result = call_cli("train", "net.toml", "--set", "data_root=few", cwd=folder)
    assert_refused(result, "found 19 image files, at least 20")
    with pytest.raises(DataError, match="0 held-out"):
        snnconvert.train(
            "net.toml", "x.pt", progress=False, images=(Interrupting(0), TensorImages(
                torch.zeros(0, 3, 8, 8, dtype=torch.uint8), torch.zeros(0, dtype=torch.long)))
        )  # fmt: skip
    assert not list(folder.glob("x*"))
