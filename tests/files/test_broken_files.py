"""Files broken at random are read or refused, and do nothing else.

`python -m tests.support.fuzz_files --cases 100000` tries as many more.
"""

import random

import pytest
import torch

from snnconvert.errors import CheckpointError
from snnconvert.files.tensors import read_file
from tests.support.fuzz_files import cases, fault_of_text
from tests.support.mutants import RunsCode, mutant, write_seeds

CASES = 280


@pytest.mark.filterwarnings("ignore")
def test_broken_files_are_read_or_refused(tmp_path):
    assert list(cases(range(CASES), tmp_path)) == []


@pytest.mark.filterwarnings("ignore")
def test_the_fuzzer_breaks_files_and_sees_faults(tmp_path):
    """It would tell: code that runs, a traceback, a cursor that moves, a flood of lines."""
    sound = write_seeds(tmp_path)
    for seed in sound:
        made = [mutant(seed, random.Random(n)) for n in range(20)]
        assert len(set(made)) > 15 and made.count(seed.read_bytes()) < 4
    for text in ("Traceback (most", "\x1b[2J", "\n" * 1000):
        assert fault_of_text(text)
    assert fault_of_text("snnconvert: error: x is damaged\n") is None


def test_code_in_a_file_would_run_elsewhere_and_never_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"format": RunsCode()}, "evil.pt")
    with pytest.raises(CheckpointError, match="could run code"):
        read_file("evil.pt")
    assert not (tmp_path / "pwned").exists()
    torch.load("evil.pt", weights_only=False)
    assert (tmp_path / "pwned").exists()
