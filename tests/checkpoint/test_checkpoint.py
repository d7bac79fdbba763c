"""One object for what a file holds."""

import pytest
import torch

import snnconvert
from snnconvert import Checkpoint
from snnconvert.checkpoint import CONVERTIBLE, STAGES
from snnconvert.checkpoint import checkpoint as home
from snnconvert.checkpoint.networks import content_of
from snnconvert.checkpoint.stored_moments import curve_of
from snnconvert.errors import CheckpointError, InputError
from snnconvert.models import MODELS
from tests.support.paths import SHIPPED
from tests.support.unets import tiny_unet


def test_a_file_comes_back_as_it_was_read(tmp_path):
    one = Checkpoint.read(SHIPPED)
    one.save(tmp_path / "again.pt")
    again = Checkpoint.read(tmp_path / "again.pt")
    assert again.stages == one.stages == ("ann", "qann", "qann-radix")
    assert again.stage == one.stage == "qann"
    assert again.recipe == one.recipe
    for stage in one.stages:
        wanted = snnconvert.load(SHIPPED, stage).state_dict()
        found = again.network(stage).state_dict()
        assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_the_recipe_is_checked_once(shipped, monkeypatch):
    calls = []

    def counted(values, source):
        calls.append(source)
        return checked(values, source)

    checked = home.recipe_from_dict
    monkeypatch.setattr(home, "recipe_from_dict", counted)
    checkpoint = Checkpoint(shipped, "a.pt")
    assert not calls  # a file is read and described without
    checkpoint.schedule()
    checkpoint.probe_batches(2)
    checkpoint.image_shape(tiny_unet())
    assert not checkpoint.is_classifier and checkpoint.prediction == "v"
    assert calls == ["a.pt"]


def test_a_network_takes_over_the_same_from_a_checkpoint_as_from_its_content(shipped):
    network = tiny_unet(in_channels=1)
    a, b = (content_of(network, like) for like in (shipped, Checkpoint(shipped)))
    assert a["recipe"] == b["recipe"] == shipped["recipe"] and a["recipe"]
    assert a["probe"] is b["probe"] is shipped["probe"]
    assert a["provenance"] == b["provenance"]
    assert content_of(network)["provenance"].keys() == {"torch"}


def test_prediction_is_what_the_recipe_or_else_convert_says(shipped):
    bare = {**shipped, "recipe": {}}
    said = {"prediction": "x0", "alphas_cumprod": None}
    assert Checkpoint(shipped).prediction == Checkpoint(shipped).predicts() == "v"
    assert Checkpoint({**bare, "denoiser": said}).predicts() == "x0"
    unsaid = Checkpoint(bare)
    assert unsaid.prediction is None and unsaid.predicts() == "eps" and unsaid.predicts("v") == "v"
    with pytest.raises(InputError, match=r"found 'eps', but a\.pt predicts v; leave it out"):
        Checkpoint(shipped, "a.pt").predicts("eps")


def test_moments_join_a_copy(shipped):
    one = Checkpoint({**shipped, "moments": {}}, "a.pt")
    curve = torch.linspace(0, 1, one.recipe.diffusion_steps)
    two = one.with_moment("qann", {"eps_second_moment": curve, "prediction": "v"})
    assert torch.equal(curve_of(two, "qann"), curve) and not one.moments
    with pytest.raises(CheckpointError, match=r"snnconvert moments a\.pt --stage qann`"):
        curve_of(one, "qann")


def test_stages_have_one_home():
    assert set(CONVERTIBLE) <= set(STAGES)
    assert {stage for family in MODELS.values() for stage in family.stages} <= set(STAGES)
