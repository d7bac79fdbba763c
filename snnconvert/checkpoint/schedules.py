"""The noise schedule that a recipe describes, and the name under which files remember one."""

from __future__ import annotations

from functools import lru_cache

from snnconvert.checkpoint.recipe import Recipe
from snnconvert.diffusion.schedule import NoiseLevels, Schedule
from snnconvert.files.fingerprint import fingerprint

linear_schedule = lru_cache(maxsize=4)(Schedule.linear)


def schedule_of(recipe: Recipe) -> Schedule:
    """The noise schedule that a recipe describes; every training step asks for it."""
    return linear_schedule(recipe.diffusion_steps, recipe.beta_first, recipe.beta_last)


def schedule_hash(schedule: NoiseLevels) -> str:
    """A hash by which two drawings tell whether they followed one schedule."""
    known = schedule.alphas_cumprod if isinstance(schedule, Schedule) else vars(schedule)
    return fingerprint(known)
