"""The command line as people expect it: help, mistakes in one line, names that mean one thing."""

import argparse
import re
import shlex

import pytest

from snnconvert.cli.arguments.examples import EXAMPLES
from snnconvert.cli.arguments.progress import phases
from snnconvert.cli.main import build_parser
from tests.support.command_line import assert_refused, call_cli

PARSER = build_parser()
COMMANDS = next(a for a in PARSER._actions if isinstance(a, argparse._SubParsersAction)).choices


def test_every_command_has_examples_and_they_parse():
    assert set(EXAMPLES) == set(COMMANDS)
    for name, lines in EXAMPLES.items():
        for line in lines:
            words = shlex.split(line.partition(" > ")[0])
            assert words[:2] == ["snnconvert", name]
            build_parser().parse_args(words[1:])
            assert f"\n  {line}\n" in COMMANDS[name].format_help()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("convret x.pt", ("convret", "did you mean 'convert'")),
        ("convert x.pt --timestep-count 4", ("--timestep-count", "did you mean '--timesteps'")),
        ("convert x.pt --fireing deferred", ("--fireing", "did you mean '--firing'")),
        ("convert x.pt --firing defered", ("defered", "did you mean 'deferred'")),
        ("convert x.pt --timesteps four", ("--timesteps", "four")),
        ("sample", ("FILE",)),
        ("", ("COMMAND",)),
    ],
)
def test_a_mistake_is_one_line_that_says_what_may_be_meant(line, words, tmp_path):
    done = call_cli(*line.split(), cwd=tmp_path)
    assert_refused(done, *words)
    assert done.stderr.count("\n") == 1 and "usage:" not in done.stderr


def test_verbose_says_each_phase_and_where_an_error_arose(tmp_path, capsys):
    args = argparse.Namespace(verbose=True, quiet=False)
    with phases(args) as show:
        show("thresholds")
    assert re.fullmatch(r"\[ *\d+\.\d s\] thresholds\n", capsys.readouterr().err)
    done = call_cli("info", "nowhere.pt", "--verbose", cwd=tmp_path)
    assert "Traceback" in done.stderr and "nowhere.pt: no such file" in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize("name", ["sample", "evaluate", "guidance", "stats", "moments", "export",
                                  "trajectory"])  # fmt: skip
def test_the_number_of_images_has_one_name_everywhere(name):
    needed = {"evaluate": ["x", "--against", "y"], "guidance": ["x", "--against", "y"],
              "stats": ["x", "-o", "y"], "export": ["x", "y"]}.get(name, ["x"])  # fmt: skip
    for option in ("-n", "--count", "--samples"):  # the last one is an old name
        assert build_parser().parse_args([name, *needed, option, "7"]).count == 7
    assert "--count" in COMMANDS[name].format_help()
    assert "--samples" not in COMMANDS[name].format_help()
