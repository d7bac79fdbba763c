"""A page in headless Chromium: its picture, its DOM, and what the console and the network saw."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--enable-logging=stderr", "--v=0", "--virtual-time-budget=3000",
)  # fmt: skip


@dataclass(frozen=True)
class Visit:
    """What a browser made of a page: the DOM after its scripts, and lines of the console."""

    dom: str
    console: list[str]


def visit(page: Path, width: int, height: int = 2000, picture: Path | None = None) -> Visit:
    """Open a file; nothing is shown."""
    with tempfile.TemporaryDirectory() as profile:
        command = [
            CHROMIUM,
            *FLAGS,
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
        ]
        if picture is not None:
            subprocess.run([*command, f"--screenshot={picture}", page.as_uri()],
                           capture_output=True, timeout=90)  # fmt: skip
        done = subprocess.run([*command, "--dump-dom", page.as_uri()], capture_output=True,
                              text=True, timeout=90)  # fmt: skip
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Visit(done.stdout, console)


def addresses(text: str) -> list[str]:
    """Everything in a page that a browser would fetch, but what it holds itself."""
    found = re.findall(r"(?:src|href|action|data|poster)\s*=\s*[\"']([^\"']+)", text)
    found += re.findall(r"url\(\s*[\"']?([^\"')]+)", text)
    return [address for address in found if not address.startswith(("#", "data:"))]
