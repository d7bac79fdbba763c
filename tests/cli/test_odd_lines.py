"""Command lines that nobody means: each ends in one line, and no file is lost."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import snnconvert
from snnconvert.checkpoint.format import save_checkpoint
from snnconvert.cli import main
from tests.support.command_line import assert_refused, call_cli
from tests.support.paths import ROOT
from tests.support.tiny_checkpoint import SIZE, tiny_content

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    save_checkpoint(folder / "net.pt", tiny_content())
    qann = snnconvert.load(folder / "net.pt")
    example = (torch.randn(2, 1, SIZE, SIZE), torch.tensor([5.0, 500.0]))
    snn = snnconvert.convert(qann, 2, settle=0, example_inputs=example)
    snnconvert.save(snn, folder / "net.snn.pt", like=tiny_content())
    images = np.zeros((4, SIZE, SIZE, 1), np.uint8)
    np.savez(folder / "a.npz", samples=images)
    np.savez(folder / "b.npz", samples=images)
    return folder


@pytest.mark.parametrize(
    "line",
    [
        "convert net.pt -o net.pt",
        "sweep net.pt -o net.pt",
        "trajectory net.pt -o net.pt",
        "trajectory net.pt --plot net.pt",
        "finetune net.snn.pt --teacher net.pt -o net.pt",
        "evaluate a.npz --against b.npz -o b.npz",
        "guidance net.snn.pt --against a.npz -o a.npz",
        "stats a.npz -o a.npz",
        "sample net.snn.pt --trajectory net.snn.pt",
    ],
)
def test_no_command_writes_over_what_it_reads(line, folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert_refused(call_cli(*line.split(), cwd=folder), "is the input itself")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"check --model torch.nn:Identity --example-shape {10**30},2", "--example-shape"),
        (f"check --model torch.nn:Identity --example-shape {10**30}:number", "--example-shape"),
        (f"check --model torch.nn:Identity --example-shape {','.join(['2147483647'] * 3)}",
         "more memory than there is"),
        (f"demo -n {10**12}", "--count"),
        (f"trajectory net.pt -n {10**12}", "--count"),
        (f"export net.snn.pt x.onnx -n {10**30}", "--count"),
        (f"convert net.pt --calibrate a.npz --calibration-inputs {10**30}", "--calibration-inputs"),
        (f"sample net.pt --argument y={10**30}", "--argument"),
        ("finetune net.snn.pt --rate nan", "--rate"),
        ("finetune net.snn.pt --rate -1", "--rate"),
        (f"finetune net.snn.pt --steps {10**30}", "--steps"),
        ("sweep . --timesteps 8-4", "8-4"),
        ("sweep .", "."),
        ("report . .", "."),
    ],
)  # fmt: skip
def test_numbers_and_names_that_are_none_are_refused(line, words, folder):
    assert_refused(call_cli(*line.split(), cwd=folder), words)


def test_what_the_terminal_cannot_show_is_escaped(tmp_path):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    name = "é \N{GREEK SMALL LETTER THETA} " + os.fsdecode(b"\xff")
    with contextlib.redirect_stdout(out), contextlib.chdir(tmp_path):
        assert main(["train", "fashion-unet", "--dry-run", "--set", f"data_root={name}"]) == 0
    out.seek(0)
    assert r"\xe9 \u03b8" in out.read()


@pytest.mark.parametrize("line", ["--help", "recipes --help", "recipes"])
def test_a_reader_that_has_gone_ends_a_command_quietly(line, tmp_path):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-m", "snnconvert", *line.split()], stdout=write,
                          stderr=subprocess.PIPE, cwd=tmp_path, env=ENVIRONMENT)  # fmt: skip
    os.close(write)
    assert done.stderr == b""
    assert done.returncode in (0, 141)  # argparse passes over it


def test_an_interruption_while_a_command_starts_is_one_line(tmp_path):
    script = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background has none
class Interrupts:
    def find_spec(self, name, *_):
        if name == "torch":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupts())
from snnconvert.cli import main
sys.exit(main(["convert", "net.pt"]))
"""
    (tmp_path / "net.pt").write_bytes(b"to be read with PyTorch")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          cwd=tmp_path, env=ENVIRONMENT)  # fmt: skip
    assert (done.returncode, done.stderr) == (130, "snnconvert: interrupted\n")
