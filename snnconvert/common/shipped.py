"""What travels with the package: recipes by name, and the small network of `snnconvert demo`.

A wheel has them inside; a checkout has them in its top folders `recipes/` and `checkpoints/`
(`setup.py` maps one onto the other), so that there is one copy.
"""

from __future__ import annotations

from pathlib import Path

from snnconvert.common.registry import nearest
from snnconvert.errors import InputError, RecipeError

PACKAGE = Path(__file__).resolve().parents[1]
DEMO = "fashion-demo"


def shipped_folder(name: str) -> Path:
    """The folder `name` of the package, or of the checkout that the package lies in."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / name


def shipped_recipes() -> dict[str, Path]:
    """The file of each recipe that travels with the package, by name."""
    return {path.stem: path for path in sorted(shipped_folder("recipes").glob("*.toml"))}


def recipe_file(path: str | Path) -> Path:
    """`path`, or the shipped recipe of that name where no such file exists.

    Raises:
        RecipeError: a bare name that is neither; says which recipes there are.
    """
    shipped, name = shipped_recipes(), str(path)
    if Path(path).exists() or not name.replace("-", "").isalnum():
        return Path(path)
    if name not in shipped:
        raise RecipeError(f"{name}: neither a file nor a shipped recipe: {nearest(name, shipped)}"
                          f"available: {', '.join(shipped)}")  # fmt: skip
    return shipped[name]


def headline(recipe: Path) -> str:
    """The comment that a recipe opens with, as one line."""
    lines = recipe.read_text(encoding="utf-8").splitlines()
    end = next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return " ".join(line.lstrip("# ").rstrip() for line in lines[:end])


def demo_checkpoint() -> Path:
    """A small diffusion U-Net, float and quantised. InputError where the package lacks it."""
    path = shipped_folder("checkpoints") / f"{DEMO}.pt"
    if not path.is_file():
        raise InputError(f"{path}: is missing from this installation; install the wheel again")
    return path
