"""What commands print: figures as JSON and nothing else, nothing at all, or text for people."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

import snnconvert
from docs.made import commands
from snnconvert.checkpoint.format import save_checkpoint
from snnconvert.files.plain_json import json_text
from tests.support.command_line import call_cli
from tests.support.tiny_checkpoint import SIZE, tiny_content

WITHOUT_FIGURES = {"train", "recipes"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("output")
    save_checkpoint(folder / "tiny.pt", tiny_content())
    qann = snnconvert.load(folder / "tiny.pt", "qann")
    example = (torch.zeros(2, 1, SIZE, SIZE), torch.zeros(2))
    snn = snnconvert.convert(qann, 4, example_inputs=example)
    snnconvert.save(snn, folder / "tiny.snn.pt", like=tiny_content())
    net = nn.Sequential(nn.Linear(4, 8), nn.Softshrink(), nn.Linear(8, 2))
    exported = torch.export.export(net, (torch.zeros(2, 4),))
    torch.export.save(exported, folder / "net.pt2")
    return folder


def test_every_command_with_figures_takes_both_options():
    for name, parser in commands().items():
        options = {option for action in parser._actions for option in action.option_strings}
        assert ({"--json", "--quiet"} <= options) == (name not in WITHOUT_FIGURES), name


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ("info tiny.pt", {"stage", "networks", "probe", "recipe", "provenance"}),
        ("info net.pt2", {"networks", "takes"}),
        ("check net.pt2", {"network", "problems"}),
        ("moments tiny.pt --times 3 -n 4 --force", {"eps_second_moment", "images", "stage"}),
        (
            "moments tiny.pt --times 3 -n 4 --stage ann --against ann --force",
            {"slope", "mean", "variance"},
        ),
        ("sample tiny.snn.pt -n 2 --steps 2 -o x.npz", {"images", "nfe", "calls"}),
    ],
)
def test_json_alone_or_nothing_or_text(place, words, keys):
    told = call_cli(*words.split(), "--json", cwd=place)
    assert told.stdout, told.stderr
    assert keys <= set(json.loads(told.stdout))  # one document, nothing beside it
    silent = call_cli(*words.split(), "--quiet", cwd=place)
    assert silent.stdout == silent.stderr == "" and silent.returncode == told.returncode
    text = call_cli(*words.split(), cwd=place)
    assert text.stdout and not text.stdout.startswith("{")


def test_what_json_cannot_hold_is_told_as_text(place):
    content = {**tiny_content(), "provenance": {"loss": float("nan"), "when": torch.zeros(1)}}
    save_checkpoint(place / "odd.pt", content)
    told = json.loads(call_cli("info", "odd.pt", "--json", cwd=place).stdout)
    assert told["provenance"] == {"loss": "nan", "when": "tensor([0.])"}


def test_figures_that_are_no_numbers_are_null():
    found = {"error": math.nan, "rows": [{"fid": math.inf, "t": (0.5, -math.inf)}], "n": 3}
    wanted = {"error": None, "rows": [{"fid": None, "t": [0.5, None]}], "n": 3}
    assert json.loads(json_text(found)) == json.loads(json_text(found, indent=1)) == wanted
