"""The critic: what it learns to tell, and what a network learns from it."""

import copy
import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from snnconvert.checkpoint.recipe import Recipe
from snnconvert.checkpoint.schedules import schedule_of
from snnconvert.diffusion.objectives import gaussian_like, noised_batch, target_of
from snnconvert.errors import CheckpointError
from snnconvert.training.critic import Critic
from snnconvert.training.tasks import VIEWS, Batch

KINDS = ("eps", "v", "x0")
BATCH, PLANTED = 32, 0.6  # a network whose clean images have so much of the contrast


def recipe_of(prediction: str) -> Recipe:
    return Recipe(prediction=prediction, quantized_target="ann", critic=0.5)


def critic_of(recipe: Recipe) -> Critic:
    return Critic(recipe, 1, torch.device("cpu"), torch.contiguous_format, bfloat16=False,
                  processes=1)  # fmt: skip


def drawn(recipe: Recipe, seed: int) -> tuple[Batch, Tensor]:
    """A batch of blocky images in [-0.8, 0.8], and these."""
    rng = torch.Generator().manual_seed(seed)
    coarse = 1.6 * torch.rand(BATCH, 1, 4, 4, generator=rng) - 0.8
    clean = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
    x, t, _ = noised_batch(clean, schedule_of(recipe), rng)
    nudge = gaussian_like(x.repeat(1, VIEWS, 1, 1), rng)
    return Batch((x, t), clean, nudge=nudge), clean


def meaning(recipe: Recipe, clean: Tensor, batch: Batch) -> Tensor:
    """The prediction that stands for clean images."""
    x, t = batch.inputs
    point = schedule_of(recipe).per_sample(t, x)
    eps = (x - point.alpha * clean) / point.sigma
    return target_of(recipe.prediction, clean, eps, schedule_of(recipe), t)


def told_apart(critic: Critic, recipe: Recipe, contrast: float) -> float:
    """Share of fresh pairs of which the critic takes the right one for the teacher's."""
    batch, clean = drawn(recipe, 999)
    pair = [critic.views(batch, meaning(recipe, part * clean, batch)) for part in (1, contrast)]
    teachers, own = (critic.network(views, batch.inputs[1]) for views in pair)
    return float((teachers > own).float().mean())


@pytest.mark.parametrize("prediction", KINDS)
def test_a_network_learns_to_lose_what_its_critic_tells_it_by(prediction):
    recipe = recipe_of(prediction)
    critic = critic_of(recipe)
    contrast = torch.tensor(PLANTED, requires_grad=True)
    learner = torch.optim.Adam([contrast], 0.02, (0.5, 0.99))
    found = []
    for step in range(300):
        batch, clean = drawn(recipe, step)
        prediction_of_it = meaning(recipe, contrast * clean, batch)
        loss = critic.objection(batch, prediction_of_it, meaning(recipe, clean, batch))
        assert float(loss.detach()) > 0
        if step >= 120:  # until then it watches a network that stays as it is
            learner.zero_grad()
            loss.backward()
            learner.step()
            found.append(float(contrast.detach()))
        elif step == 119:
            assert told_apart(critic, recipe, PLANTED) > 0.85
        critic.learn(batch)
    assert sum(found[-90:]) / 90 == pytest.approx(1, abs=0.1)  # they circle around it


def test_an_objection_reaches_the_network_and_leaves_the_critic_alone():
    recipe = recipe_of("v")
    critic = critic_of(recipe)
    before = copy.deepcopy(critic.network.state_dict())
    batch, clean = drawn(recipe, 0)
    answer = meaning(recipe, clean, batch)
    prediction = (answer * PLANTED).requires_grad_()
    critic.objection(batch, prediction, answer).backward()
    assert float(prediction.grad.abs().max()) > 0
    assert all(value.grad is None for value in critic.network.parameters())
    critic.learn(batch)
    after = critic.network.state_dict()
    assert not all(torch.equal(before[name], after[name]) for name in before)


def test_where_little_noise_is_left_the_data_stand_in_for_the_teacher():
    recipe = dataclasses.replace(recipe_of("v"), critic=0.0, critic_data=0.2)
    critic = critic_of(recipe)
    batch, clean = drawn(recipe, 0)
    t = batch.inputs[1]
    batch = dataclasses.replace(batch, target=meaning(recipe, clean, batch))
    little = schedule_of(recipe).sigma(t) < 0.25
    assert 0 < int(little.sum()) < len(t)
    answer, prediction = (meaning(recipe, part * clean, batch) for part in (0.9, PLANTED))
    critic.objection(batch, prediction.requires_grad_(), answer).backward()
    judged = prediction.grad.abs().flatten(1).amax(1) > 0
    assert torch.equal(judged, little)  # elsewhere it weighs nothing
    wanted = critic.seen[: len(t)]
    assert torch.equal(wanted[little], critic.views(batch, batch.target)[little])
    assert torch.equal(wanted[~little], critic.views(batch, answer)[~little])


def test_of_equal_answers_nothing_can_be_told():
    recipe = recipe_of("v")
    critic = critic_of(recipe)
    batch, clean = drawn(recipe, 0)
    answer = meaning(recipe, clean, batch)
    loss = critic.objection(batch, answer.clone(), answer)
    assert float(loss) == pytest.approx(recipe.critic * math.log(2), rel=1e-6)


@pytest.mark.parametrize("resumed", [0, 2])
def test_a_critic_goes_on_to_the_last_bit_and_refuses_what_is_none(resumed):
    recipe = recipe_of("v")
    critics = [critic_of(recipe)]
    for step in range(4):
        if step == resumed:
            critics.append(critic_of(recipe))
            critics[1].resume(copy.deepcopy(critics[0].state()), Path("net.train.pt"))
        batch, clean = drawn(recipe, step)
        for critic in critics:
            answer = meaning(recipe, clean, batch)
            critic.objection(batch, PLANTED * answer, answer)
            critic.learn(batch)
    first, second = (critic.network.state_dict() for critic in critics)
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    held = critics[0].state()
    for odd in (None, 3, {}, {**held, "network": {}}, {**held, "optimizer": None}):
        with pytest.raises(CheckpointError, match=r"net.train.pt: .*damaged"):
            critics[1].resume(odd, Path("net.train.pt"))
