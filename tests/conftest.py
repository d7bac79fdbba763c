"""What every test finds ready: a seed, the shipped checkpoint and its networks."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn

from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.checkpoint.format import read_checkpoint
from tests.support.paths import SHIPPED

# Two processes share the tests, see pyproject.toml. Their own processes take one thread each too:
# two threads that wait for each other on a busy core made a command fifteen times as slow.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


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
    return Checkpoint(shipped, str(SHIPPED)).network("qann")


@pytest.fixture(scope="session")
def real_batches(shipped) -> list:
    """All 256 real noised inputs of the shipped checkpoint, t over the whole diffusion."""
    return Checkpoint(shipped, str(SHIPPED)).probe_batches()
