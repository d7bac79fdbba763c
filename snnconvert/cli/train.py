"""The commands `train`, a network from a recipe, and `recipes`, which there are."""

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

    command.add_argument(
        "recipe",
        metavar="RECIPE",
        help="TOML file, or the name of one that comes along (`snnconvert recipes`); its dataset "
        f"is one of {listed(DATASETS)}; `snnconvert recipes --keys` explains all of them",
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
    name = printable(out)
    print(f"{name}: was finished before" if finished else f"wrote {name}")


def add_recipes(commands: Commands) -> None:
    add_command(
        commands,
        "recipes",
        run_recipes,
        add_recipes_arguments,
        help="list the recipes that come along, or print one",
        description="List the recipes that `snnconvert train NAME` takes; with a name, print that "
        "recipe, to be changed: snnconvert recipes fashion-unet > mine.toml",
    )


def add_recipes_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", metavar="NAME", nargs="?", help="recipe to print")
    command.add_argument(
        "--keys", action="store_true", help="say what every key means, and its default"
    )


def run_recipes(args: argparse.Namespace) -> None:
    from snnconvert.checkpoint.recipe import Recipe
    from snnconvert.checkpoint.recipe_keys import key_table
    from snnconvert.common.shipped import headline, recipe_file, shipped_recipes
    from snnconvert.report.show.columns import columns

    if args.keys:
        print("\n".join(columns("<24 <16 <1", key_table(Recipe))))
    elif args.name is not None:
        print(recipe_file(args.name).read_text(encoding="utf-8"), end="")
    else:
        rows = [[name, headline(path)] for name, path in shipped_recipes().items()]
        print("\n".join(columns(f"<{max(len(name) for name, _ in rows) + 2} <1", rows)))
