"""The commands that need no file: `demo` and `recipes`."""

import json

import pytest
import torch
from PIL import Image

import snnconvert
from snnconvert.checkpoint.recipe import load_recipe
from snnconvert.common.shipped import headline, recipe_file, shipped_recipes
from snnconvert.errors import RecipeError
from tests.support.command_line import assert_refused, call_cli
from tests.support.paths import ROOT


def test_demo_converts_without_loss_and_draws_equal_images(tmp_path):
    done = call_cli("demo", "-n", "2", "--steps", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "nothing was lost" in done.stdout and "the last two are equal to the bit" in done.stdout
    names = [f"snnconvert-demo.{end}" for end in ("png", "pt", "report.json", "snn.pt")]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert json.loads((tmp_path / names[2]).read_text())["output"]["bit_equal"]
    assert Image.open(tmp_path / names[0]).size == (2 * 34 + 2, 3 * 34 + 2)
    x, t = torch.randn(2, 1, 32, 32), torch.tensor([3.0, 900.0])
    qann, snn = (snnconvert.load(tmp_path / name) for name in (names[1], names[3]))
    assert torch.equal(qann(x, t), snn(x, t))


def test_demo_refuses_before_it_works(tmp_path):
    assert_refused(call_cli("demo", "-n", "0", cwd=tmp_path), "--count", "0")
    assert_refused(call_cli("demo", "-o", "no/such", cwd=tmp_path), "no/such", "folder")
    assert not list(tmp_path.iterdir())


def test_recipes_are_listed_printed_and_explained(tmp_path):
    listed = call_cli("recipes", cwd=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in listed] == list(shipped_recipes())
    assert all(headline(path) in "\n".join(listed) for path in shipped_recipes().values())
    printed = call_cli("recipes", "fashion-unet", cwd=tmp_path).stdout
    assert printed == (ROOT / "recipes" / "fashion-unet.toml").read_text()
    keys = call_cli("recipes", "--keys", cwd=tmp_path).stdout
    assert all(f"\n{key} " in f"\n{keys}" for key in load_recipe("fashion-unet").keys)


def test_a_file_goes_before_a_name_and_an_unknown_name_says_which_there_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert recipe_file("fashion-demo") == ROOT / "recipes" / "fashion-demo.toml"
    (tmp_path / "fashion-demo").write_text("")
    assert recipe_file("fashion-demo").resolve() == tmp_path / "fashion-demo"
    with pytest.raises(RecipeError, match=r"did you mean 'fashion-unet'.*folder-unet"):
        load_recipe("fashion-unett")
    assert_refused(call_cli("recipes", "cifar", cwd=tmp_path), "cifar", "available")
