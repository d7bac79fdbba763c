"""The wheel and the source archive: what they hold; the wheel works outside the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string

import pytest

from tests.support.paths import ROOT

UNBUILT = shutil.ignore_patterns(
    ".git", ".venv", "build", "dist", "data", "out", "_build", "__pycache__", "*.egg-info",
    ".*_cache",    "fashion-unet.pt", "fashion-spiking*.pt",
)  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the wheel and the source archive of a copy of the checkout."""
    folder = tmp_path_factory.mktemp("built")
    shutil.copytree(ROOT, folder / "copy", ignore=UNBUILT)
    for name in ("fashion-unet", "fashion-spiking", "fashion-spiking-tsm"):  # large: stand-ins
        (folder / "copy" / "checkpoints" / f"{name}.pt").write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "-m", "build", "-q", "--no-isolation", "-o", folder / "dist", "copy"],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "dist"


def files_below(folder: str, pattern: str) -> set[str]:
    return {
        str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob(pattern)
        if "__pycache__" not in path.parts
    }  # fmt: skip


def test_wheel_holds_the_package_its_recipes_and_the_demo(built):
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert files_below("snnconvert", "*.py") <= names
    assert {"snnconvert/__init__.pyi", "snnconvert/py.typed"} <= names
    assert {f"snnconvert/{name}" for name in files_below("recipes", "*.toml")} <= names
    shipped = {name for name in names if name.endswith(".pt")}
    assert shipped == {"snnconvert/checkpoints/fashion-demo.pt"}
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"snnconvert"}
    assert wheel.stat().st_size < 3e6


def test_description_on_an_index_points_at_no_file_beside_it(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        (name,) = (name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = message_from_string(file.read(name).decode())
    text = metadata.get_payload()
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "Thirty seconds of Python" in text and "Picture: The same seeds" in text
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert [link for link in links if not link.startswith("http")] == []


def test_archive_holds_what_its_tests_need(built):
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    for folder in ("tests", "examples", "benchmarks", "docs", "recipes", "checkpoints"):
        wanted = {name for name in files_below(folder, "*.*") if "_build" not in name}
        assert {name for name in wanted if ".snn." not in name} <= names, folder
    assert {"README.md", "LICENSE", "pyproject.toml", "setup.cfg", "setup.py", ".ci/run"} <= names
    assert {"CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "CITATION.cff"} <= names


def test_wheel_works_outside_the_checkout(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    work = tmp_path / "work"
    work.mkdir()
    for arguments, says in (
        (["recipes"], "fashion-unet"),
        (["train", "fashion-unet", "--dry-run"], "3,347,716 weights"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "snnconvert", *arguments],
            cwd=work, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0 and says in done.stdout, done.stderr
    assert not list(work.iterdir())
