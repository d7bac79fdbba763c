"""Recipes: complete, round trips, and every mistake named with its remedy."""

import dataclasses
import tomllib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnconvert.checkpoint.recipe import Recipe, load_recipe, recipe_from_dict
from snnconvert.errors import RecipeError, SnnconvertError
from snnconvert.models import MODELS
from tests.support.command_line import assert_refused, call_cli
from tests.support.paths import ROOT

SHIPPED_RECIPES = sorted((ROOT / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", SHIPPED_RECIPES, ids=lambda p: p.stem)
def test_shipped_recipes_are_complete_and_print_themselves(path, tmp_path):
    text = path.read_text()
    recipe = load_recipe(path)
    for key in recipe.keys:
        if key != "timesteps" or not recipe.levels:  # else it follows from levels
            assert f"\n{key} = " in text, key
    result = call_cli("train", path, "--dry-run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    copy = tmp_path / "copy.toml"
    copy.write_text(result.stdout)
    assert load_recipe(copy) == load_recipe(path)
    assert list(tmp_path.iterdir()) == [copy]  # a dry run writes nothing


@given(st.text(st.characters(codec="utf-8"), max_size=20), st.floats(1e-12, 1), st.booleans())
def test_any_text_and_number_is_read_back(text, rate, flip):
    recipe = Recipe(data_root=text, initial=text, learning_rate=rate, flip=flip)
    assert recipe_from_dict(tomllib.loads(recipe.to_toml()), "printed") == recipe


def test_changes_apply_and_are_checked(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text("levels = 4\n")
    recipe = load_recipe(path, ["levels=7", "channel_mult=[1, 2]", "dataset=cifar10", "ema=0"])
    assert (recipe.levels, recipe.timesteps, recipe.channel_mult) == (7, 7, (1, 2))
    assert (recipe.dataset, recipe.ema) == ("cifar10", 0.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("learning_rat = 1e-4", ["learning_rat", "learning_rate"]),
        ("steps = 'many'", ["steps", "many", "int"]),
        ("steps = true", ["steps"]),
        ("channel_mult = [1, 2.5]", ["channel_mult", "list of integers"]),
        ("steps = 0", ["steps"]),
        ("levels = 4\ntimesteps = 7", ["timesteps"]),
        ("groups = 7", ["groups"]),
        ("ema = 1.0", ["ema"]),
        ("model = 'vgg'", ["model"]),
        ("device = 'tpu'", ["device"]),
        ("dataset = 'fashion'", ["dataset", "fashion-mnist"]),
        ("learning_rate = nan", ["learning_rate", "finite"]),
        ("grad_clip = inf", ["grad_clip", "finite"]),
        ("beta_first = -1.0", ["beta_first"]),
        ("diffusion_steps = 0", ["diffusion_steps"]),
        ("image_size = 1000000000", ["image_size"]),
        ("blocks = 100000000", ["blocks"]),
        ("steps = = 3", ["TOML"]),
        ("tsm = true", ["tsm", "unet"]),
        ("model = 'spiking-unet'", ["timesteps"]),
        ("model = 'spiking-unet'\ntimesteps = 4\nlevels = 4", ["levels", "spiking-unet"]),
        ("model = 'spiking-unet'\ntimesteps = 4\nneuron = 'izhikevich'", ["neuron", "plif"]),
        ("model = 'spiking-unet'\ntimesteps = 4\nbackend = 'cupy'", ["backend", "torch"]),
        ("model = 'resnet'\nbeta_first = 0.001", ["beta_first", "resnet"]),
        ("optimizer = 'lion'", ["optimizer", "adam"]),
        ("quantized_target = 'teacher'", ["quantized_target", "ann"]),
        ("critic = 0.1", ["critic", "quantized_target", "ann"]),
        ("critic_data = 0.1", ["critic_data", "quantized_target", "ann"]),
        ("quantized_target = 'ann'\ncritic = -1.0", ["critic: found -1.0", "0 ... 1"]),
        ("model = 'resnet'\nquantized_target = 'ann'\ncritic = 0.1", ["critic", "denoiser"]),
        ("model = 'spiking-unet'\ntimesteps = 4\ncritic = 0.1", ["critic", "denoiser"]),
        ("time_power = 20.0", ["time_power", "0.1 ... 10"]),
        ('model = "resnet"\nclipped = true', ["clipped"]),
        ("levels = 70000", ["levels: found 70000"]),
        ("levels = -1", ["levels: found -1"]),
        ('data_root = ""', ["data_root", "'.'"]),
        ("model = 'resnet'\nimage_size = 8\ncrop = 8", ["crop: found 8", "0 ... 7"]),
        ("model = 'resnet'\ncrop = -1", ["crop: found -1"]),
        ("norm = 'batch'\nbatch_size = 1\nimage_size = 8", ["batch_size: found 1", "one pixel"]),
    ],
)
def test_mistakes_are_refused_on_the_command_line(text, words, tmp_path):
    (tmp_path / "bad.toml").write_text(text)
    assert_refused(call_cli("train", "bad.toml", cwd=tmp_path), "bad.toml", *words)
    assert [p.name for p in tmp_path.iterdir()] == ["bad.toml"]


def test_missing_file_and_malformed_change(tmp_path):
    assert_refused(call_cli("train", "none.toml", cwd=tmp_path), "none.toml")
    (tmp_path / "r.toml").write_text("")
    assert_refused(call_cli("train", "r.toml", "--set", "steps", cwd=tmp_path), "key=value")


@given(text=st.text(max_size=60))
@settings(deadline=None, max_examples=100)
def test_any_text_is_a_recipe_or_a_clear_error(text, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "fuzz.toml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        assert isinstance(load_recipe(path), Recipe)
    except RecipeError as error:
        assert str(error)


@given(
    key=st.sampled_from([f.name for f in dataclasses.fields(Recipe)]),
    value=st.one_of(
        st.integers(-3, 10**6), st.floats(), st.booleans(), st.lists(st.integers(-2, 3), max_size=3)
    ),
)
@settings(deadline=None, max_examples=100)
def test_any_value_is_taken_or_refused_by_name(key, value, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "fuzz2.toml"
    path.write_text("")
    try:
        load_recipe(path, [f"{key}={str(value).lower()}"])
    except SnnconvertError as error:
        assert isinstance(error, RecipeError)


def test_keys_under_their_earlier_names_are_read():
    earlier = recipe_from_dict({"quantized_clipped": True, "quantized_time_power": 2.0}, "old")
    assert earlier == Recipe(clipped=True, time_power=2.0)


def test_a_byte_order_mark_is_no_part_of_a_recipe(tmp_path):
    (tmp_path / "r.toml").write_text("levels = 7\n", encoding="utf-8-sig")
    assert load_recipe(tmp_path / "r.toml").levels == 7


SHAPE = {"channels": 4, "channel_mult": (1, 1), "blocks": 1}
NORMED = {  # by batch
    "resnet": ("resnet", {"classes": 2}),
    "unet": ("unet", {"norm": "batch"}),
    "spike-driven": ("unet", {"norm": "batch", "spike_driven": True}),
    "patched": ("unet", {"norm": "batch", "patch": 2}),
    "spiking": ("spiking-unet", {"timesteps": 1}),
}


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("kind", NORMED)
def test_a_recipe_is_refused_where_a_batch_norm_would_see_one_value(kind, batch):
    model, own = NORMED[kind]
    family = MODELS[model]
    network = family.build(family.config(**SHAPE, **own)).train()
    for size in (2, 3, 4, 5, 6, 8):
        if size % own.get("patch", 1):
            continue
        times = [torch.zeros(batch, dtype=torch.long)] if family.task == "noise" else []
        try:
            network(torch.zeros(batch, 3, size, size), *times)
            refused = False
        except ValueError as error:
            assert "more than 1 value" in str(error)
            refused = True
        keys = {**SHAPE, **own, "model": model, "image_size": size, "batch_size": batch}
        if refused:
            with pytest.raises(RecipeError, match="batch_size"):
                Recipe(**keys)
        else:
            assert Recipe(**keys).batch_size == batch
