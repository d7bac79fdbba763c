"""What holds on the CPU holds on another device."""

import os
import re
import subprocess
import sys

from tests.support.paths import ROOT

LAWS = "tests/support/laws_elsewhere.py"


def test_conversion_reports_and_training_compute_where_the_network_is():
    """In a process of its own, with which the other device stays registered."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "--tb=short", LAWS],
        cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert re.search(r"\b14 passed", done.stdout) and "skipped" not in done.stdout
