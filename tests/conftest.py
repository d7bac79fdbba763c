"""Real things that many tests share: the shipped checkpoint, small captured networks."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from snnconvert import cli
from snnconvert.checkpoint.content import probe_batches
from snnconvert.checkpoint.format import read_checkpoint
from snnconvert.checkpoint.networks import network_from
from snnconvert.models.unet import UNet, UNetConfig

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "checkpoints" / "fashion-unet.pt"

torch.set_num_threads(1)  # two processes share the tests, see pyproject.toml


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """No test depends on what ran before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shipped() -> dict:
    """Content of the shipped checkpoint."""
    return read_checkpoint(SHIPPED)


@pytest.fixture(scope="session")
def qann(shipped) -> nn.Module:
    """The shipped quantised network."""
    return network_from(shipped, "qann", str(SHIPPED))


@pytest.fixture(scope="session")
def real_batches(shipped) -> list:
    """All 256 real noised inputs of the shipped checkpoint, t over the whole diffusion."""
    return probe_batches(shipped, str(SHIPPED))


def tiny_unet(seed: int = 0, **changes) -> UNet:
    """A small U-Net with random weights in which every layer matters (no near-zero gains)."""
    shape = {"in_channels": 2, "channels": 8, "channel_mult": (1, 2), "blocks": 1, "groups": 4,
             "dropout": 0.0, "levels": 4}  # fmt: skip
    torch.manual_seed(seed)
    network = UNet(UNetConfig(**{**shape, **changes}))
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_uniform_(module.weight, a=1.0)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
        if hasattr(module, "ceiling"):
            nn.init.uniform_(module.ceiling, 1.0, 3.0)
    return network.eval()


def unet_inputs(batch: int = 3, channels: int = 2, size: int = 8, seed: int = 1) -> tuple:
    """(x, t) for `tiny_unet`."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, channels, size, size, generator=generator)
    return x, torch.rand(batch, generator=generator) * 999


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
    """Exit codes and (stdout, stderr) of two processes, started as torchrun does."""
    script = (
        "import sys, json\nfrom snnconvert.cli import main\n"
        "sys.exit(max(main(a) for a in json.loads(sys.argv[1])))"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1",
              "MASTER_PORT": port, "PYTHONPATH": str(ROOT)}  # fmt: skip
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
