"""A training's state that is not what a training saves is told as damaged, in one line."""

import copy
from pathlib import Path

import pytest
import torch

import snnconvert
from snnconvert.errors import CheckpointError
from snnconvert.files.tensors import read_file
from snnconvert.images.pixels import TensorImages
from snnconvert.training.stage import Paused
from snnconvert.training.state.damage import moments_of
from tests.support.tiny_recipe import tiny_recipe


def train(stop: bool, *changes: str, recipe: str = "net.toml") -> Path:
    pixels = torch.zeros(40, 3, 8, 8, dtype=torch.uint8)
    pixels[::2] = 255
    images = TensorImages(pixels, torch.arange(40) % 2)
    loaded = snnconvert.load_recipe(recipe, changes)
    return snnconvert.train(
        loaded, "net.pt", progress=False, images=(images, images), stop_after=0 if stop else None
    )


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """What is saved in the middle of the first stage and of the second."""
    folder = tmp_path_factory.mktemp("states")
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("net.toml").write_text(tiny_recipe(4, 4, 2))
        while len(found) < 2:
            with pytest.raises(Paused):
                train(True)
            found.append(read_file("net.train.pt"))
    assert [state["stage"] for state in found] == ["ann", "qann"]
    return found


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    (tmp_path / "net.toml").write_text(tiny_recipe(4, 4, 2))
    monkeypatch.chdir(tmp_path)


def first_of(tensors: dict) -> str:
    return next(name for name, value in tensors.items() if value.ndim == 4)


def entries(state: dict) -> dict:
    return state["optimizer"]["state"]


ODD = [None, True, -1, 0, 10**9, 2.0, "2", [], {}, torch.zeros(2)]
NO_TABLE = [odd for odd in ODD if not isinstance(odd, dict)]
OTHERS = {  # what stands for nothing in place of each value
    "step": ODD, "threads": [*ODD, 10**6],
    "losses": [*ODD, {"ann": ["1", "2"]}, {"ann": [0.5, 0.5], "other": []}],
    "stage": [*ODD[1:], "qann", "other"],
    "finished": [*NO_TABLE, {"ann": {}}, {"qann": {}}, {"ann": None}],
    "images": [*ODD, {"training": 1}, {"training": 40, "held out": 40, "content": 3}],
    "device": [*ODD, "tpu"], "precision": [*ODD, "float8"], "network": ODD, "average": ODD,
    "optimizer": ODD, "recipe": NO_TABLE,
}  # fmt: skip
CHANGES = {
    "a tensor of the network missing": lambda s: s["network"].popitem(),
    "a tensor too many": lambda s: s["average"].update(more=torch.zeros(1)),
    "another shape": lambda s: s["network"].update({first_of(s["network"]): torch.zeros(1)}),
    "no tensor": lambda s: s["average"].update({first_of(s["average"]): [0.0]}),
    "integers": lambda s: s["network"].update(
        {first_of(s["network"]): s["network"][first_of(s["network"])].long()}
    ),
    "no moments": lambda s: entries(s).clear(),
    "a moment missing": lambda s: entries(s)[0].popitem(),
    "a moment of another shape": lambda s: entries(s)[0].update(exp_avg=torch.zeros(7)),
    "steps without number": lambda s: entries(s)[0].update(step="3"),
    "an unknown key of the recipe": lambda s: s["recipe"].update(more=1),
}


def assert_damaged(state: dict, word: str) -> None:
    torch.save(state, "net.train.pt")
    before = Path("net.train.pt").read_bytes()
    with pytest.raises(CheckpointError, match=r"net.train.pt: .*delete it to start again") as found:
        train(False)
    assert word in str(found.value) and "\n" not in str(found.value)
    assert Path("net.train.pt").read_bytes() == before and not Path("net.pt").exists()


@pytest.mark.parametrize("name", OTHERS)
def test_a_value_that_stands_for_nothing_is_named(states, name):
    for odd in OTHERS[name]:
        assert_damaged({**states[0], name: odd}, f"'{name}'")
    if name != "images":  # which the oldest states do not hold
        kept = {key: value for key, value in states[0].items() if key != name}
        assert_damaged(kept, "training" if name not in ("network", "average") else f"'{name}'")


@pytest.mark.parametrize("change", CHANGES)
def test_tensors_must_be_those_of_the_recipe(states, change):
    for state in states:
        changed = copy.deepcopy(state)
        CHANGES[change](changed)
        assert_damaged(changed, "none of a training's" if "recipe" not in change else "'more'")


def test_finished_networks_must_be_whole(states):
    changed = copy.deepcopy(states[1])
    changed["finished"]["ann"].popitem()
    assert_damaged(changed, "'finished'")
    assert_damaged({**states[1], "finished": {}}, "'stage'")
    assert_damaged({**states[1], "losses": {**states[1]["losses"], "qann": [0.5]}}, "'step'")


def test_another_file_is_no_state_and_a_cut_one_is_damaged(states):
    assert_damaged({"a": 1}, "no training state")
    torch.save(states[0], "net.train.pt")
    Path("net.train.pt").write_bytes(Path("net.train.pt").read_bytes()[:-3000])
    with pytest.raises(CheckpointError, match=r"damaged .*; delete it to start again"):
        train(False)


def test_another_recipe_is_no_damage(states):
    text = Path("net.toml").read_text().replace("classes = 2\n", "groups = 2\n")
    Path("unet.toml").write_text(text.replace("resnet", "unet"))
    torch.save(states[1], "net.train.pt")
    with pytest.raises(CheckpointError, match=r"another recipe .*differs in levels"):
        train(False, "levels=0")
    with pytest.raises(CheckpointError, match=r"another recipe .*model"):
        train(False, recipe="unet.toml")
    assert train(False).exists()
    with pytest.raises(CheckpointError, match=r"another recipe .*model"):
        train(False, recipe="unet.toml")


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_a_weight_that_never_had_a_gradient_has_no_moments(kind):
    used, unused = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    weights = [*used.parameters(), *unused.parameters()]
    optimizer = (
        torch.optim.AdamW(weights) if kind == "adam" else torch.optim.SGD(weights, momentum=0.9)
    )
    used(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    held = optimizer.state_dict()
    assert list(moments_of(Path("net.train.pt"), held, kind, weights)) == [0, 1]
