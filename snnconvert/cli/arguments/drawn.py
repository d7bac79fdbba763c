"""How a command samples from the network that it is about: one of ours, or of any origin."""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

from snnconvert.cli.arguments.named_network import NamedNetwork
from snnconvert.cli.arguments.solver_options import DEFAULT_SOLVER, given_options
from snnconvert.common.denoises import with_facts
from snnconvert.common.inputs import inputs_of
from snnconvert.conversion.graph.values import leaves
from snnconvert.diffusion.schedule import Schedule, named_schedule
from snnconvert.errors import InputError
from snnconvert.generation.image_plan import checkpoint_options, known_options


class Drawn(NamedTuple):
    """What `sample` takes beside the network, its start and the number of steps."""

    solver: str
    schedule: Schedule
    options: dict[str, Any]  # those of the solver, and its grid


def how_drawn(args: argparse.Namespace, named: NamedNetwork) -> Drawn:
    """How a denoiser is sampled, by the options, by its file, and by what it says of itself.

    Raises:
        InputError: no noise is known, or options that contradict the network.
        CheckpointError: a classifier's file, or one that lacks what the options need.
    """
    solver, given = args.solver or DEFAULT_SOLVER, given_options(args)
    if named.checkpoint is not None:
        schedule = named.checkpoint.schedule(args.schedule)
        options = checkpoint_options(
            named.checkpoint, named.stage, solver, args.grid, args.schedule, given
        )
        return Drawn(solver, schedule, {"grid": args.grid, **options})
    if given.pop("corrected", False):
        raise InputError(
            f"--corrected: {named.name} holds no measurement; convert it, run `moments --against`, "
            "and name what `convert` wrote"
        )
    if named.data_range is not None and "data_range" not in named.known:
        with_facts(named.model, {"data_range": named.data_range})  # and what is converted from it
    known = named.known
    noise = known.get("schedule") if args.schedule is None else named_schedule(args.schedule)
    if noise is None:
        raise InputError(
            f"--schedule: needed to draw from {named.name}, with clean data in --calibrate: the "
            "noise that it was trained with"
        )
    grid = "uniform" if args.grid is None and takes_whole_times(named) else args.grid
    return Drawn(solver, noise, {"grid": grid, **known_options(solver, given, known)})


def takes_whole_times(named: NamedNetwork) -> bool:
    """Whether its times are integers."""
    inputs = (named.batches or [named.examples or ()])[0]
    return len(inputs) > 1 and not inputs[1].is_floating_point()


def input_shapes(named: NamedNetwork) -> list[tuple[int, ...]]:
    """Shapes of the inputs that it takes."""
    known = inputs_of(named.model).shapes
    inputs = named.examples or (named.batches or [()])[0]
    return list(known) if known else [tuple(value.shape) for value in inputs]


def denoises(named: NamedNetwork) -> bool:
    """Whether it takes (x, t, ...) and predicts something of x's shape, as far as that is known."""
    import torch

    if named.checkpoint is not None:
        return not named.checkpoint.is_classifier
    shapes = input_shapes(named)
    if len(shapes) < 2 or any(size != 1 for size in shapes[1][1:]):
        return False
    calls = [call for call in (named.examples, *(named.batches or [])[:1]) if call is not None]
    whole = next((call for call in calls if len(call) == len(shapes)), None)
    if whole is None:
        return True
    with torch.no_grad():
        return bool(leaves(named.model(*whole))[0].shape == whole[0].shape)
