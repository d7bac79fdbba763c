"""Time that each solver spends outside its network, over the time inside.

    python benchmarks/solver_overhead.py recipes/fashion-unet.toml --batch 1 --steps 20

The network is the recipe's float one, untrained: its speed does not depend on its weights.
"""

from __future__ import annotations

import argparse
from statistics import median
from time import process_time as clock  # CPU time: other programs do not count

import torch

import snnconvert
from snnconvert.checkpoint.recipe import load_recipe
from snnconvert.diffusion.solvers import SOLVERS
from snnconvert.models.unet import UNet
from snnconvert.report.show.columns import columns

TARGET = 0.03
ROUNDS = 5  # of which the medians are shown, after one that warms up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--channels", type=int, default=1, help="of the images")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()
    recipe = load_recipe(args.recipe)
    network = UNet(recipe.network(args.channels, "ann")).eval()
    shape = (args.batch, args.channels, recipe.image_size, recipe.image_size)
    curve = torch.linspace(0.1, 0.99, recipe.diffusion_steps)
    show("solver", "calls", "network", "solver", "ratio", f"  target {TARGET}")
    for name in sorted(SOLVERS):
        options = {"eps_second_moment": curve} if name.startswith("analytic") else {}
        inside = 0.0

        def timed(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            nonlocal inside
            began = clock()
            prediction = network(x, t)
            inside += clock() - began
            return prediction

        runs = []
        for _ in range(ROUNDS + 1):
            inside, began = 0.0, clock()
            _, nfe = snnconvert.sample(timed, shape=shape, solver=name, steps=args.steps,
                                       return_nfe=True, clip=True, **options)  # fmt: skip
            runs.append((clock() - began - inside, inside))
        outside, within = (median(column) for column in zip(*runs[1:], strict=True))
        show(name, str(nfe), f"{within:.3f}s", f"{outside:.4f}s", f"{outside / within:.2%}", "")


def show(*cells: str) -> None:
    """A line of the table, as soon as it is known."""
    print(*(line.rstrip() for line in columns("<18 >5 >9 >9 >7 <", [cells])))


if __name__ == "__main__":
    main()
