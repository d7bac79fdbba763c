"""Every code block of README and docs runs as written; `tests.support.documentation` says how."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.support.documentation import fresh_copy, read
from tests.support.paths import ROOT

README = ROOT / "README.md"
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", *PAGES]
CI_RUN = (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_code_blocks_run(path, tmp_path):
    with fresh_copy(tmp_path):
        for example in read(path):
            example.evaluate()


def test_ci_runs_the_blocks_that_are_left_to_it():
    marked = {}
    for path in DOCUMENTS:
        for example in read(path):
            if example.parsed.ci:
                assert path == README and example.parsed.ci not in marked
                marked[example.parsed.ci] = example.parsed.source.strip()
    assert set(marked) == {"tests", "convert"} == set(re.findall(r"\.ci/block (\w+)", CI_RUN))
    for name, source in marked.items():
        assert f'-c "${name}"' in CI_RUN
        printed = subprocess.run([ROOT / ".ci" / "block", name], capture_output=True, text=True)
        assert printed.stdout.strip() == source and printed.returncode == 0
    assert subprocess.run([ROOT / ".ci" / "block", "other"], capture_output=True).returncode


def written(tmp_path, text: str):
    path = tmp_path / "page.md"
    path.write_text(text)
    return path


def evaluated(tmp_path, text: str) -> dict:
    """The names that a page leaves."""
    document = read(written(tmp_path, text))
    for example in document:
        example.evaluate()
    return document.namespace


def test_blocks_share_names_and_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (
        "<!-- setup: python\na = 1000\n-->\n\n```python\nb = a + 1\n```\n\n"
        "<!-- reduced: 64 => 2; --slow => --fast -->\n```sh\necho 64 --slow > made\n```\n\n"
        '<!-- skip: for the reader -->\n```python\nraise SystemExit\n```\n\n```text\n"\n```\n\n'
        '<!-- reduced: range(9) => range(2) -->\n```python\nc = [open("made").read()] * len('
        "range(9))\n```\n"
    )
    names = evaluated(tmp_path, page)
    assert names["b"] == 1001 and names["c"] == ["2 --fast\n"] * 2


@pytest.mark.parametrize(
    ("page", "found", "says"),
    [
        ("```python\n1 / 0\n```\n", ZeroDivisionError, "zero"),
        ("```python\nundefined\n```\n", NameError, "undefined"),
        ("text\n\n```sh\nfalse | true\n```\n", AssertionError, "line 3: exit code 1"),
        ("```sh\nsnnconvert no-such-command\n```\n", AssertionError, "exit code 2"),
        ("```\nprinted\n```\n", ValueError, "language ''"),
        ("```rust\nx\n```\n", ValueError, "language 'rust'"),
        ("<!-- skip: -->\n```sh\nfalse\n```\n", ValueError, "'skip' ''"),
        ("<!-- skpi: why -->\n```sh\nfalse\n```\n", ValueError, "'skpi'"),
        ("<!-- skip: why -->\ntext\n```sh\ntrue\n```\n", ValueError, "no block follows"),
        ("<!-- skip: why -->\n", ValueError, "no block follows"),
        ("<!-- reduced: 9 => 1 -->\n```sh\necho 8\n```\n", ValueError, "no such text"),
    ],
)
def test_a_block_that_does_not_hold_fails(tmp_path, monkeypatch, page, found, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(found, match=says):
        evaluated(tmp_path, page)
