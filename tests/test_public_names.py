"""What `import snnconvert` gives: every name listed once, in the stub that type checkers read."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys

import pytest

import snnconvert
from tests.support.paths import ROOT

STUB = (ROOT / "snnconvert" / "__init__.pyi").read_text()
CODE = (ROOT / "snnconvert" / "__init__.py").read_text().rpartition('"""')[2]
HOMES = {
    alias.name: f"snnconvert.{node.module}"
    for node in ast.parse(STUB).body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}


def test_names_are_those_of_the_stub():
    assert {"load", "save", "convert", "check", "quantize", "compare", "sample"} <= set(HOMES)
    assert snnconvert.__all__ == sorted(HOMES) and set(HOMES) <= set(dir(snnconvert))
    for name in HOMES:  # re-exported, or no type checker would see them
        assert f" import {name} as {name}\n" in STUB
        assert not re.search(rf"\b{name}\b", CODE)


@pytest.mark.parametrize("name", sorted(HOMES))
def test_a_name_is_what_its_home_holds(name):
    home = importlib.import_module(HOMES[name])
    assert getattr(snnconvert, name) is getattr(home, name)
    assert home.__name__ == getattr(home, name).__module__


def test_folders_are_found_and_other_names_are_not():
    assert snnconvert.models.SpikingUNet.__name__ == "SpikingUNet"
    with pytest.raises(AttributeError, match="'snnconvert' has no attribute 'converted'"):
        snnconvert.converted  # noqa: B018


def test_importing_reads_nothing_before_a_name_is_used():
    script = (
        "import sys, snnconvert; ours = [m for m in sys.modules if m.startswith('snnconvert.')]\n"
        "assert ours == ['snnconvert.version'], ours\n"
        "assert 'torch' not in sys.modules; from snnconvert import *; assert callable(convert)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode == 0
