"""`check` and `convert` as a user runs them: real processes, exit codes, messages."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import snnconvert
from snnconvert.cli import main
from tests.support.paths import ROOT


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "snnconvert", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{cwd}"},
    )  # fmt: skip


FACTORY = """
import torch
from torch import nn

def good():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))

class Bad(nn.Module):
    def __init__(self):
        super().__init__()
        self.deep = good()
    def forward(self, x, t):
        return self.deep(x - torch.histc(self.deep(x), 1)) + torch.rand_like(x).mean()

def bad():
    return Bad()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli")
    (path / "mynets.py").write_text(FACTORY)
    sys.path.insert(0, str(path))
    try:
        from mynets import good
    finally:
        sys.path.pop(0)
    torch.save({"state_dict": good().state_dict()}, path / "weights.pt")
    torch.save(torch.randn(64, 3, 8, 8), path / "inputs.pt")
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        good().eval(), (torch.randn(2, 3, 8, 8),), dynamic_shapes=({0: batch},)
    )
    torch.export.save(program, path / "net.pt2")
    return path


def test_check_lists_every_problem_with_exit_code_1(folder):
    shapes = ["--example-shape", "2,3,8,8", "--example-shape", "2:int"]
    result = run("check", "--model", "mynets:bad", *shapes, cwd=folder)
    assert result.returncode == 1, result.stderr
    assert "histc" in result.stdout and "random numbers" in result.stdout
    assert "2 problems" in result.stdout and "Traceback" not in result.stderr


def test_check_accepts_files_and_factories(folder):
    assert run("check", "net.pt2", cwd=folder).returncode == 0
    result = run("check", "--model", "mynets:good", "--example-shape", "2,3,8,8", cwd=folder)
    assert result.returncode == 0 and "no problems" in result.stdout


def test_convert_from_file_and_from_factory_agree(folder):
    common = ["--timesteps", "8", "--calibrate", "inputs.pt"]
    model = ["--model", "mynets:good", "weights.pt"]  # shapes from the inputs
    first = run("convert", "net.pt2", *common, "-o", "a.snn.pt", cwd=folder)
    second = run("convert", *model, *common, "-o", "b.snn.pt", cwd=folder)
    assert first.returncode == 0, first.stderr
    assert second.returncode == 0, second.stderr
    assert "nothing was lost" in first.stdout
    report = json.loads((folder / "a.snn.report.json").read_text())
    assert report["output"]["bit_equal"] and report["output_ann"]["relative_error"] < 0.2
    x = torch.load(folder / "inputs.pt")
    a, b = snnconvert.load(folder / "a.snn.pt"), snnconvert.load(folder / "b.snn.pt")
    assert torch.equal(a(x), b(x))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["check"], "--model"),
        (["check", "--model", "mynets:good"], "--example-shape"),
        (["check", "--model", "mynets:none", "--example-shape", "2,3"], "no function"),
        (["check", "--model", "nowhere:good", "--example-shape", "2,3"], "cannot import"),
        (["check", "--model", "mynets:good", "--example-shape", "2,x"], "--example-shape"),
        (["check", "none.pt2"], "no such file"),
        (["convert", "net.pt2"], "calibration"),
        (["convert", "net.pt2", "--calibrate", "inputs.pt", "--threshold", "high"], "threshold"),
        (["convert", "--model", "mynets:good", "inputs.pt", "--example-shape", "2,3,8,8"], "state"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_bad_arguments_end_in_one_clear_line(folder, arguments, word, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    assert main(arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 1 and lines[0].startswith("snnconvert: error") and word in lines[0]


def test_help_needs_no_torch():
    code = "import sys, snnconvert.cli as c; c.build_parser(); sys.exit('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60
    )
    assert result.returncode == 0
