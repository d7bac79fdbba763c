"""Every command that writes may be killed at any moment; `tests.support.kills` tries many more."""

import os
import subprocess
import sys

from tests.support.kills import COMMANDS
from tests.support.paths import ROOT


def test_a_killed_command_loses_nothing_and_ends_as_if_undisturbed():
    result = subprocess.run(  # of its own: it forks, which a process with threads should not
        [sys.executable, "-W", "ignore", "-m", "tests.support.kills", "--kills",
         str(len(COMMANDS))], cwd=ROOT, capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(COMMANDS)} kills, 0 faults" in result.stdout
