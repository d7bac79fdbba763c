"""A training that diverges says so, and keeps what was good."""

from pathlib import Path

import pytest
import torch

import snnconvert
from snnconvert.errors import CheckpointError, DivergedError
from snnconvert.files.tensors import read_file
from snnconvert.images.pictures import save_png
from snnconvert.images.pixels import TensorImages
from tests.support.command_line import call_cli
from tests.support.tiny_recipe import tiny_recipe

WILD = ["optimizer=sgd", "warmup=0", "grad_clip=1e9"]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    (tmp_path / "net.toml").write_text(tiny_recipe(6, 4, 1))
    monkeypatch.chdir(tmp_path)


def train(*changes: str) -> Path:
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=rng)
    images = TensorImages(pixels, torch.arange(40) % 2)
    recipe = snnconvert.load_recipe("net.toml", changes)
    return snnconvert.train(recipe, "net.pt", progress=False, images=(images, images))


def is_finite(value: object) -> bool:
    """Whether every number in a tree of tensors, lists and tables is."""
    if isinstance(value, dict):
        return all(map(is_finite, value.values()))
    if isinstance(value, list):
        return all(map(is_finite, value))
    if isinstance(value, float | torch.Tensor):
        return bool(torch.as_tensor(value).isfinite().all())
    return True


@pytest.mark.parametrize("save_every", [1, 2, 1000])
def test_what_diverged_is_never_saved(save_every):
    changes = [*WILD, "learning_rate=1e20", f"save_every={save_every}"]
    with pytest.raises(DivergedError, match=r"ann: .* step \d of 6.*learning_rate \(found 1e\+20"):
        train(*changes)
    assert not Path("net.pt").exists()
    state = Path("net.train.pt")
    assert state.exists() or save_every > 1
    if state.exists():
        kept = read_file(state)
        assert is_finite([kept[name] for name in ("network", "average", "losses")])
        before = state.read_bytes()
        with pytest.raises(DivergedError, match=r"delete net.train.pt"):
            train(*changes)
        assert state.read_bytes() == before


def test_a_finished_network_outlives_the_divergence_of_the_next():
    wild = [*WILD, "save_every=1000", "learning_rate=1e-3"]
    with pytest.raises(DivergedError, match=r"qann: .*quantized_learning_rate .*the same command"):
        train(*wild, "quantized_learning_rate=1e20")
    finished = read_file("net.train.pt")["finished"]["ann"]
    with pytest.raises(CheckpointError, match="differs in learning_rate"):
        train(*wild, "learning_rate=1e-4")
    content = read_file(train(*wild, "quantized_learning_rate=1e-3"))
    held = content["networks"]["ann"]["state"]
    assert all(torch.equal(held[name], value) for name, value in finished.items())
    assert content["recipe"]["quantized_learning_rate"] == 1e-3 and is_finite(content["networks"])


def test_the_rate_of_a_stage_that_has_begun_stays():
    steady = [*WILD, "learning_rate=1e-3"]
    with pytest.raises(DivergedError, match=r"qann: .*delete net.train.pt"):
        train(*steady, "quantized_learning_rate=1e20")
    with pytest.raises(CheckpointError, match="differs in quantized_learning_rate"):
        train(*steady, "quantized_learning_rate=1e-3")


def test_the_command_ends_with_1(tmp_path):
    for number, image in enumerate(torch.rand(20, 3, 8, 8) * 2 - 1):
        place = tmp_path / "images" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        save_png(place / f"{number:02}.png", image)
    changes = [word for change in (*WILD, "learning_rate=1e20") for word in ("--set", change)]
    result = call_cli("train", "net.toml", *changes, cwd=tmp_path)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "error: ann: " in result.stderr and "the training has diverged" in result.stderr
    assert result.stdout == ""
