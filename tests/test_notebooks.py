"""Every notebook runs from its first cell to its last, and is kept without outputs."""

from __future__ import annotations

import contextlib
import json

import matplotlib.pyplot as plt
import pytest

from tests.support.paths import ROOT

NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
SMALL = {"COUNT, STEPS = 8, 10": "COUNT, STEPS = 2, 3"}


def test_there_are_notebooks():
    assert len(NOTEBOOKS) == 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_runs(path, tmp_path):
    plt.switch_backend("Agg")
    names: dict[str, object] = {"__name__": "__main__"}
    with contextlib.chdir(tmp_path):
        for number, cell in enumerate(json.loads(path.read_text())["cells"]):
            if cell["cell_type"] != "code":
                continue
            assert not cell["outputs"] and cell["execution_count"] is None
            source = "".join(cell["source"])
            for large, small in SMALL.items():
                source = source.replace(large, small)
            exec(compile(source, f"{path.name}, cell {number}", "exec"), names)
    plt.close("all")
