"""The command `train`: a network from a recipe."""

from __future__ import annotations

import argparse
from pathlib import Path

from snnconvert.cli.arguments.lazy import Commands, add_command, listed
from snnconvert.errors import printable


def add_train(commands: Commands) -> None:
    add_command(
        commands,
        "train",
        run_train,
        add_arguments,
        help="train a network from a recipe",
        description="Train the float and then the quantised network of a recipe. The same command "
        "again resumes an unfinished training.",
    )


def add_arguments(command: argparse.ArgumentParser) -> None:
    from snnconvert.images.datasets import DATASETS
    from snnconvert.models import MODELS

    command.add_argument(
        "recipe",
        metavar="RECIPE",
        help="TOML file, see recipes/; its model is "
        f"one of {listed(MODELS)}, its dataset of {listed(DATASETS)}",
    )
    command.add_argument("-o", "--out", help="checkpoint to write (default: <recipe stem>.pt)")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the recipe; may be repeated",
    )
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="print the resolved recipe and the size of the network, then stop",
    )


def run_train(args: argparse.Namespace) -> None:
    from snnconvert.checkpoint.recipe import load_recipe
    from snnconvert.files.atomic import check_destination

    recipe = load_recipe(args.recipe, args.set)
    out = check_destination(args.out or f"{Path(args.recipe).stem}.pt")
    if args.dry_run:
        from snnconvert.checkpoint.describe import describe_recipe

        print(*map(printable, recipe.to_toml().splitlines()), sep="\n")
        print(describe_recipe(recipe))
        return
    from snnconvert.training.loop import train

    finished = out.exists()
    train(recipe, out)
    print(f"{out}: was finished before" if finished else f"wrote {out}")
