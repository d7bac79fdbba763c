"""The documentation names what there is: every key, option, name; nothing that there is not."""

from __future__ import annotations

import argparse
import dataclasses
import re
import shlex

import pytest
import torch
from torch import nn

import snnconvert
from docs.made import MADE, PLACES, cell, commands, described, filled, public_names, shown
from snnconvert.checkpoint.recipe import Recipe
from snnconvert.checkpoint.recipe_keys import KEYS
from snnconvert.cli.main import build_parser
from tests.support.paths import ROOT

DOCS = ROOT / "docs"
PAGES = {p: p.read_text() for p in DOCS.rglob("*.md") if "_build" not in p.parts}
SPOKEN = "\n".join([*PAGES.values(), (ROOT / "README.md").read_text()])


def test_what_is_made_has_its_place_and_every_place_is_filled():
    places = [name for text in PAGES.values() for name in PLACES.findall(text)]
    assert sorted(places) == sorted(MADE)
    assert not PLACES.search(filled("\n".join(f"{{{{ {name} }}}}" for name in places)))


def test_every_recipe_key_is_explained():
    assert list(KEYS) == [field.name for field in dataclasses.fields(Recipe)]
    assert all(f"`{key}`" in MADE["recipe_keys"]() for key in KEYS)


def test_every_option_says_what_it_means():
    page = MADE["command_reference"]()
    for name, parser in commands().items():
        for _, actions in shown(parser):
            for action in actions:
                taken, meaning = described(parser, action)
                assert meaning and cell(taken) in page, (name, action.dest)


def options() -> dict[str, set[str]]:
    """Every option of a command, hidden ones too."""
    return {
        name: {option for action in parser._actions for option in action.option_strings}
        for name, parser in commands().items()
    }


def command_lines() -> list[list[str]]:
    """The words after `snnconvert` of every command line in the text, run there or not."""
    stand_for = {"SOLVER": "ddim", "STAGE": "qann", "N": "1"}
    text = SPOKEN.replace("\\\n", " ")
    alone = re.findall(r"^(?:torchrun .* -m | *)snnconvert (.*)$", text, re.MULTILINE)
    inside = [" ".join(line.split()) for line in re.findall(r"`snnconvert ([^`]+)`", text)]
    found = []
    for line in [*alone, *(line for line in inside if " " in line)]:
        words = shlex.split(re.split(r" [>|] ", line)[0], comments=True)
        found.append([stand_for.get(word, word) for word in words])
    return [words for words in found if words[0] != "COMMAND" and not words[0].startswith("-")]


def test_command_lines_in_the_text_parse():
    lines = command_lines()
    assert len(lines) > 40
    for words in lines:
        build_parser().parse_args(words)  # SystemExit, with the reason on stderr, if not


def test_options_in_the_text_exist():
    of_benchmarks = set()
    for script in (ROOT / "benchmarks").rglob("*.py"):
        of_benchmarks |= set(re.findall(r'add_argument\(\s*"(--[a-z-]+)"', script.read_text()))
    known = set().union(of_benchmarks, *options().values(), {"--nproc-per-node"})  # of torchrun
    assert len(of_benchmarks) > 30
    for option in set(re.findall(r"`(--[a-z][a-z-]+)", SPOKEN)):
        assert option in known, option


def test_every_public_name_is_in_the_reference():
    assert sorted(public_names()) == snnconvert.__all__
    assert all(f":: snnconvert.{name}\n" in MADE["api"]() for name in public_names())
    assert all(getattr(snnconvert, name).__doc__ for name in public_names())


def key_paths(value: object, at: str = "") -> set[str]:
    """ "layers[].name" and the like, of a report; what is keyed by layer names is one key."""
    if isinstance(value, dict) and at not in ("calibration.dead_channels", "calibration.unsettled"):
        found = [key_paths(inner, f"{at}.{key}" if at else key) for key, inner in value.items()]
        return set().union(*found)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return key_paths(value[0], f"{at}[]")
    return {at}


@pytest.fixture(scope="module")
def report() -> dict[str, object]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.SiLU(), nn.Linear(8, 2))
    x = torch.randn(64, 4)
    snn = snnconvert.convert(model.eval(), 4, example_inputs=x, calibration=[x])
    return snnconvert.compare(model, snn, [x]).to_dict()


def test_report_keys_are_those_of_a_report(report):
    rows = re.findall(r"^\| (`.*?) \|", PAGES[DOCS / "reference" / "report.md"], re.MULTILINE)
    listed = {key for row in rows for key in re.findall(r"`([^`]+)`", row)}
    assert listed - {"trajectory[]"} == key_paths(report)


def test_hidden_options_are_old_names_only():
    for name, parser in commands().items():
        seen = [a.dest for a in parser._actions if a.help != argparse.SUPPRESS]
        hidden = [a.dest for a in parser._actions if a.help == argparse.SUPPRESS]
        assert set(hidden) <= set(seen), name
