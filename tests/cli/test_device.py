"""`--device`: where every command that runs networks computes."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
import torch
from PIL import Image

import snnconvert
from snnconvert.checkpoint.format import save_checkpoint
from snnconvert.cli.main import build_parser
from tests.support.command_line import assert_refused, call_cli, run_cli
from tests.support.tiny_checkpoint import tiny_content

COMMANDS = next(
    a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction)
).choices
LINES = {
    "convert": ["net.pt"], "trajectory": ["net.pt"], "sweep": ["net.pt"], "sample": ["net.pt"],
    "quantize": ["net.pt"],
    "moments": ["net.pt"], "report": ["net.pt", "net.snn.pt"], "verify": ["net.pt", "net.snn.pt"],
    "finetune": ["net.snn.pt"], "evaluate": ["images", "--against", "images"],
    "stats": ["images", "-o", "s.npz"], "guidance": ["net.snn.pt", "--against", "s.npz"],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint trained on a folder of images, what was converted from it, and the images."""
    folder = tmp_path_factory.mktemp("device")
    (folder / "images").mkdir()
    for number in range(2):
        pixels = np.full((8, 8), 40 * number, np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
    content = tiny_content(channels=3)  # what a folder of images gives
    content["recipe"] |= {"dataset": "folder", "data_root": str(folder / "images")}
    save_checkpoint(folder / "net.pt", content)
    qann = snnconvert.load(folder / "net.pt")
    example = (torch.randn(2, 3, 8, 8), torch.tensor([5.0, 500.0]))
    snn = snnconvert.convert(qann, 2, settle=0, example_inputs=example)
    snnconvert.save(snn, folder / "net.snn.pt", like=content)
    return folder


def test_every_command_that_takes_a_device_is_tried():
    assert set(LINES) == {n for n, c in COMMANDS.items() if "--device" in c.format_help()}


@pytest.mark.parametrize("device", ["meta", "gpu", "cuda:99", ""])
@pytest.mark.parametrize("command", LINES)
def test_a_device_that_is_not_there_is_refused(command, device, folder):
    before = sorted(folder.iterdir())
    done = call_cli(command, *LINES[command], "--device", device, cwd=folder)
    assert_refused(done, f"device: found {device!r}", "allowed are auto, cpu, cuda")
    assert sorted(folder.iterdir()) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(folder):
    assert_refused(run_cli("convert", "net.pt", "--device", "cuda", cwd=folder), "'cuda'")


def test_a_conversion_on_the_cpu(folder):
    words = ("--settle", "0", "--timesteps", "2", "--device", "cpu", "-o", "a.pt")
    done = run_cli("convert", "net.pt", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "a.pt").is_file()
