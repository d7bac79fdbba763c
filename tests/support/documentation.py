"""The code blocks of README and docs, read by sybil, so that they can be run as written.

Every fenced block says its language: `python` and `sh` are run in order and share names and a
folder, `text` is output or a synopsis, `toml` and `json` are parts of files, `{...}` is Sphinx's.
HTML comments right before a block, unseen on the page, say

    <!-- skip: REASON -->                   it is not run
    <!-- ci: NAME -->                       `.ci/run` runs it, in the environment that it builds
    <!-- reduced: OLD => NEW; OLD => NEW -->  what is smaller, or at hand, in the tests
    <!-- setup: python|sh                   hidden code of its own, run first
    ... -->
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sybil import Document, Example, Region
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer, RawFencedCodeBlockLexer
from sybil.region import Lexeme

from tests.support.paths import ROOT

FENCES = RawFencedCodeBlockLexer(re.compile(r"(?P<language>[^\n]*)$\n", re.MULTILINE))
COMMENTS = DirectiveInHTMLCommentLexer(r"[\w-]+(?=:)", r"[^\n]*?")
DIRECTIVES = ("skip", "ci", "reduced", "setup")
RUN = ("python", "sh")
LANGUAGES = (*RUN, "text", "toml", "json", "{toctree}", "{figure}")  # {...} takes an argument
COPIED = ("checkpoints", "recipes", "benchmarks", "examples")
LEFT_BY_RUNS = shutil.ignore_patterns("*.snn.pt", "*.train.pt", "*.report.*", "__pycache__")


@dataclass(frozen=True)
class Block:
    """One block: its language, its text as written, and what the comments before it say."""

    language: str
    source: Lexeme
    skip: str | None = None
    ci: str | None = None
    reduced: str | None = None

    @property
    def run(self) -> bool:
        return self.language in RUN and self.skip is None and self.ci is None

    def reduced_source(self) -> Lexeme:
        """The text that tests run. ValueError where it holds no OLD of `reduced`."""
        text = str(self.source)
        for change in (self.reduced or "").split(";") if self.reduced else ():
            old, arrow, new = (part.strip() for part in change.partition("=>"))
            if not arrow or old not in text:
                raise ValueError(f"reduced: {change.strip()!r}: no such text in\n{self.source}")
            text = text.replace(old, new)
        return Lexeme(text, self.source.offset, self.source.line_offset)


def read(path: Path) -> Document:
    """A document whose examples run in the present folder. ValueError as `blocks_of`."""
    return Document.parse(str(path), lambda document: blocks_of(document))


def blocks_of(document: Document) -> Iterator[Region]:
    """A region, evaluated by `run`, for each block, hidden ones too.

    Raises:
        ValueError: an unknown language or comment, a `skip` without a reason, a comment that
            stands before no block.
    """
    fences = sorted(FENCES(document), key=lambda region: region.start)
    pending: dict[str, str] = {}
    comments = [c for c in COMMENTS(document) if not any(f.start < c.start < f.end for f in fences)]
    end = 0
    for region in sorted([*fences, *comments], key=lambda region: region.start):
        where = f"{document.path}, {document.line_column(region.start)}"
        if pending and document.text[end : region.start].strip():
            raise ValueError(f"{where}: no block follows {pending}")
        found = region.lexemes
        if "directive" not in found:
            if found["language"].split(" ")[0] not in LANGUAGES:
                raise ValueError(f"{where}: language {found['language']!r}, known: {LANGUAGES}")
            block = Block(found["language"], found["source"], **pending)
            pending, end = {}, region.end
            yield Region(region.start, region.end, block, run)
            continue
        name, value = found["directive"], found["arguments"].strip()
        if name not in DIRECTIVES or not value:
            raise ValueError(f"{where}: comment {name!r} {value!r}, known: {DIRECTIVES}")
        end = document.text.index("-->", region.start) + len("-->")
        if name == "setup":
            yield Region(region.start, region.end, Block(value, found["source"]), run)
        else:
            pending[name] = value
    if pending:
        raise ValueError(f"{document.path}: no block follows {pending}")


def run(example: Example) -> None:
    """Run a block in the present folder. SybilFailure or an exception where it fails."""
    block: Block = example.parsed
    if not block.run:
        return
    source = block.reduced_source()
    if block.language == "python":
        at = Region(example.start, example.end, source)
        PythonEvaluator()(Example(example.document, example.line, 0, at, example.namespace))
        return
    scripts = sysconfig.get_path("scripts")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", str(source)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**environment, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
    )
    if done.returncode:
        raise AssertionError(
            f"{example.path}, line {example.line}: exit code {done.returncode} of\n{source}"
            f"{done.stdout}{done.stderr}"
        )


@contextlib.contextmanager
def fresh_copy(folder: Path) -> Iterator[Path]:
    """The present folder is `folder`, with a copy of what a reader of the README has at hand."""
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=LEFT_BY_RUNS)
    with contextlib.chdir(folder):
        yield folder
