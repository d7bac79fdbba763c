"""The command line in a process of its own, in this one, and in two as under torchrun."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from snnconvert import cli
from tests.support.paths import ROOT


def run_cli(*arguments: str, cwd: Path, **options) -> subprocess.CompletedProcess:
    """The command line as a user runs it: a real process."""
    return subprocess.run(
        [sys.executable, "-m", "snnconvert", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, timeout=600,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, **options,
    )  # fmt: skip


def two_processes(
    runs: list[list[str]], cwd: Path = ROOT
) -> tuple[list[int], list[tuple[str, str]]]:
    """Exit codes and (stdout, stderr) of two processes, started as torchrun does.

    Each ends its output with the number of progress bars that it has shown.
    """
    script = (
        "import sys, json, tqdm\nshown = []\n"
        "class Counted(tqdm.tqdm):\n"
        "    def __init__(self, *args, **kwargs):\n"
        "        super().__init__(*args, **kwargs)\n"
        "        shown.extend([] if self.disable else [self])\n"
        "tqdm.tqdm = Counted\n"
        "from snnconvert.cli import main\n"
        "code = max(main(a) for a in json.loads(sys.argv[1]))\n"
        "print('progress bars:', len(shown))\nsys.exit(code)"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
              "PYTHONPATH": str(ROOT)}  # fmt: skip
    processes = [
        subprocess.Popen([sys.executable, "-c", script, json.dumps(runs)], cwd=cwd,
                         env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]  # fmt: skip
    outputs = [process.communicate(timeout=300) for process in processes]
    return [process.returncode for process in processes], outputs


def call_cli(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    """The same command line inside this process, which spares importing torch again."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as stop:  # how argparse ends
            code = int(stop.code or 0)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def assert_refused(result: subprocess.CompletedProcess, *words: str) -> None:
    """Exit code 2, one clear line that holds `words`, no traceback."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if ": error: " in line]
    assert len(lines) == 1, result.stderr
    for word in words:
        assert word in lines[0], lines[0]
