"""Commands killed or interrupted at any moment; `kills` and `interruptions` try many more."""

import os
import subprocess
import sys

from tests.support.kills import COMMANDS
from tests.support.paths import ROOT


def tried(*arguments: str) -> str:
    """What a script of `tests.support` prints; of its own process: it forks."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", *arguments], cwd=ROOT, capture_output=True,
        text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_a_killed_command_loses_nothing_and_ends_as_if_undisturbed():
    said = tried("tests.support.kills", "--kills", str(len(COMMANDS)))
    assert f"{len(COMMANDS)} kills, 0 faults" in said


def test_an_interrupted_command_says_so_and_leaves_nothing_behind():
    """By Ctrl-C and by SIGTERM."""
    said = tried(
        "tests.support.interruptions", "--count", "4", "--only", "moments", "--only", "train"
    )
    assert "4 interruptions, 0 faults" in said


def test_ctrl_c_while_a_command_is_imported_is_one_line():
    """Pressed by the first import of the command line."""
    code = (
        "import signal, sys\n"
        "from snnconvert.__main__ import start\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Pressed:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'snnconvert.cli.main':\n"
        "            signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Pressed())\n"
        "sys.exit(start())\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (130, "snnconvert: interrupted\n")
