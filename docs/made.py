"""Reference pages made from the program itself, so that they cannot fall behind it.

A page says `{{ NAME }}` on a line of its own where the text of `MADE[NAME]` belongs.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACES = re.compile(r"^\{\{ (\w+) \}\}$", re.MULTILINE)


def filled(page: str) -> str:
    """The text of a page with all that is made in its place. KeyError for an unknown NAME."""
    return PLACES.sub(lambda place: MADE[place[1]](), page)


def cell(text: object) -> str:
    """Text that fits into a cell of a table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines)


# ---- commands


def commands() -> dict[str, argparse.ArgumentParser]:
    """The parser of every command, filled."""
    from snnconvert.cli.main import build_parser

    found: dict[str, argparse.ArgumentParser] = {}
    for action in build_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, parser in action.choices.items():
                parser.format_help()  # it gets its arguments when it is first asked
                found[name] = parser
    return found


def shown(parser: argparse.ArgumentParser) -> Iterator[tuple[str, list[argparse.Action]]]:
    """Title and arguments of each group that help shows."""
    for group in parser._action_groups:
        actions = [a for a in group._group_actions if a.help != argparse.SUPPRESS]
        actions = [a for a in actions if not isinstance(a, argparse._HelpAction)]
        if actions:
            yield str(group.title), actions


def described(parser: argparse.ArgumentParser, action: argparse.Action) -> tuple[str, str]:
    """An argument as it is written, and what it means."""
    if not action.option_strings:
        return f"`{action.metavar or action.dest}`", help_of(parser, action)
    taken = parser._get_formatter()._format_args(action, action.dest.upper())
    names = ", ".join(action.option_strings)
    return f"`{names} {taken}`".replace(" `", "`"), help_of(parser, action)


def help_of(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return parser._get_formatter()._expand_help(action) if action.help else ""


def command_reference() -> str:
    parts = []
    for name, parser in commands().items():
        usage = parser.format_usage().removeprefix("usage: ").rstrip()
        parts += [f"## {name}", parser.description or "", f"```text\n{usage}\n```"]
        for title, actions in shown(parser):
            rows = [described(parser, action) for action in actions]
            parts += [f"**{title}**", table((title, "meaning"), list(rows))]
        if parser.epilog:
            parts.append(f"```text\n{parser.epilog.strip()}\n```")
    return "\n\n".join(parts)


def command_table() -> str:
    """Every command and its line of help."""
    from snnconvert.cli.main import build_parser

    rows: list[tuple[object, ...]] = []
    for action in build_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            rows = [(f"[`{a.dest}`](#{a.dest})", a.help) for a in action._choices_actions]
    return table(("command", "what it does"), rows)


# ---- recipes, rules, solvers, names


def recipe_keys() -> str:
    from snnconvert.checkpoint.recipe import Recipe
    from snnconvert.checkpoint.recipe_keys import key_table

    return table(("key", "default", "meaning"), [
        (f"`{key}`", f"`{default}`", text) for key, default, text in key_table(Recipe)
    ])  # fmt: skip


def recipe_list() -> str:
    from snnconvert.common.shipped import headline, shipped_recipes

    rows = [(f"`{name}`", headline(path)) for name, path in shipped_recipes().items()]
    return table(("recipe", "what it trains"), list(rows))


def rule_table() -> str:
    """Every operation of the table, by what it does to spikes."""
    from snnconvert.conversion.rules import RULES
    from snnconvert.conversion.rules.rule import KINDS

    by_kind: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for name, rule in RULES.items():
        by_kind[rule.kind].append(name.removeprefix("aten."))
    return "\n\n".join(
        f"## {kind}\n\n{len(names)} operations: " + ", ".join(f"`{n}`" for n in sorted(names))
        for kind, names in by_kind.items() if names
    )  # fmt: skip


def solver_table() -> str:
    from snnconvert.diffusion.solvers import SOLVERS

    rows = [
        (f"`{name}`", entry.grid, "yes" if entry.reversible else "no",
         ", ".join(f"`--{o.replace('_', '-')}`" for o in entry.described) or "-")
        for name, entry in SOLVERS.items()
    ]  # fmt: skip
    return table(("solver", "default grid", "can be inverted", "own options"), list(rows))


def option_table() -> str:
    from snnconvert.diffusion.solvers import described_options

    rows = [(f"`--{n.replace('_', '-')}`", o.help) for n, o in described_options().items()]
    return table(("option", "meaning"), list(rows))


def public_names() -> dict[str, str]:
    """The module of each public name, from the stub that type checkers read."""
    stub = ast.parse((ROOT / "snnconvert" / "__init__.pyi").read_text(encoding="utf-8"))
    return {
        alias.name: f"snnconvert.{node.module}"
        for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }  # fmt: skip


def api() -> str:
    """Autodoc of every public name, functions first."""
    import importlib

    functions, classes = [], []
    for name, module in sorted(public_names().items()):
        value = getattr(importlib.import_module(module), name)
        if isinstance(value, type):
            classes.append(f".. autoclass:: snnconvert.{name}\n   :members:\n")
        else:
            functions.append(f".. autofunction:: snnconvert.{name}\n")
    parts = (("Functions", functions), ("Classes", classes))
    return "\n\n".join(
        f"## {title}\n\n" + "\n\n".join("```{eval-rst}\n" + text + "```" for text in texts)
        for title, texts in parts
    )


def changelog() -> str:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return text.split("\n", 1)[1]  # the page has the title


MADE: dict[str, Callable[[], str]] = {
    "api": api, "changelog": changelog, "command_reference": command_reference,
    "command_table": command_table, "option_table": option_table, "recipe_keys": recipe_keys,
    "recipe_list": recipe_list, "rule_table": rule_table, "solver_table": solver_table,
}  # fmt: skip
