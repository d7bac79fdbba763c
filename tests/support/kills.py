"""SIGKILL at random moments of every command that writes: `python -m tests.support.kills`.

    python -m tests.support.kills --kills 100 --out kills.json

A killed command loses nothing: what lies at its destination is whole, old or new, and the same
command again ends with the very result of one that was never disturbed, nothing else beside it.
Children are forked, with everything imported, so that a kill meets the work and not the imports.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import snnconvert
import snnconvert.training.loop
from snnconvert.checkpoint.format import save_checkpoint
from snnconvert.cli import main as command_line
from snnconvert.errors import CheckpointError
from snnconvert.files.fingerprint import fingerprint
from snnconvert.files.tensors import read_file
from snnconvert.images.pictures import save_png
from tests.support.tiny_checkpoint import tiny_content
from tests.support.tiny_recipe import tiny_recipe

COMMANDS = {  # and what each writes
    "convert": (["convert", "tiny.pt"], "tiny.snn.pt"),
    "sample into a folder": (["sample", "tiny.pt", "-n", "12", "--batch-size", "1", "-o", "drawn"],
                             "drawn"),
    "sample into an array": (["sample", "tiny.pt", "-n", "4", "-o", "drawn.npz"], "drawn.npz"),
    "moments": (["moments", "tiny.pt", "--times", "12"], "tiny.pt"),
    "evaluate": (["evaluate", "net.pt", "--against", "images", "-o", "found.json"], "found.json"),
    "train": (["train", "net.toml", "-o", "new.pt"], "new.pt"),
}  # fmt: skip


def prepare(folder: Path) -> None:
    """All that the commands read."""
    torch.manual_seed(0)
    save_checkpoint(folder / "tiny.pt", tiny_content())
    for number, image in enumerate(torch.rand(40, 3, 8, 8) * 2 - 1):
        place = folder / "images" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        save_png(place / f"{number:02}.png", image)
    (folder / "net.toml").write_text(tiny_recipe(30, 30, 3))
    os.chdir(folder)
    snnconvert.train(snnconvert.load_recipe("net.toml", ["steps=2"]), "net.pt", progress=False)


def started(command: list[str], folder: Path, said: str = os.devnull) -> int:
    """The process of a command, forked; what it says goes into the file `said`.

    Ctrl-C reaches it also where these tests run in the background and it is ignored.
    """
    process = os.fork()
    if process:
        return process
    code = 99
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(folder)
        place = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(place, 1)
        os.dup2(place, 2)
        code = command_line(command)
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException as error:
        os.write(2, f"Traceback: {error!r}".encode())
    finally:
        os._exit(code)


def ended(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def result_of(path: Path) -> str:
    """A hash of what lies at a destination; empty where nothing does. Errors where it is broken."""
    if not path.exists():
        return ""
    if path.is_dir():
        return fingerprint([[f.name, f.read_bytes()] for f in sorted(path.iterdir())])
    if path.suffix == ".pt":
        return fingerprint(read_file(path))
    if path.suffix == ".npz":
        with np.load(path) as held:
            return fingerprint([held[name].tolist() for name in held.files])
    return fingerprint(json.loads(path.read_text()))


def killed(name: str, place: Path, wanted: str, before: str, after: float) -> str | None:
    """What is wrong after a kill at `after` seconds and a second run; None where nothing is."""
    command, written = COMMANDS[name]
    process = started(command, place)
    time.sleep(after)
    os.kill(process, signal.SIGKILL)
    ended(process)
    try:
        held = result_of(place / written)
    except (CheckpointError, ValueError, OSError) as error:
        return f"what lies there is broken: {error}"
    if held not in (before, wanted) and written != "drawn":  # a folder grows
        return "what lies there is neither the old nor the new"
    code = ended(started(command, place))
    if code != 0:
        return f"the same command again ends with {code}"
    if result_of(place / written) != wanted:
        return "the same command again gives another result"
    left = sorted(file.name for file in place.rglob("*.unfinished"))
    return f"left behind: {left}" if left else None


def kills(count: int, first: int = 0) -> Iterator[tuple[int, str, str | None]]:
    """(number, command, what was wrong) of kills at random moments, the commands in turn."""
    with tempfile.TemporaryDirectory() as root:
        fresh = Path(root) / "fresh"
        fresh.mkdir()
        prepare(fresh)
        known: dict[str, tuple[str, str, float]] = {}
        for number in range(first, first + count):
            name = list(COMMANDS)[number % len(COMMANDS)]
            command, written = COMMANDS[name]
            place = Path(root) / "place"
            if name not in known:
                shutil.copytree(fresh, place)
                before, begun = result_of(place / written), time.monotonic()
                code = ended(started(command, place))
                if code != 0:
                    raise RuntimeError(f"{name}: ends with {code}, undisturbed")
                known[name] = result_of(place / written), before, time.monotonic() - begun
                shutil.rmtree(place)
            shutil.copytree(fresh, place)
            wanted, before, seconds = known[name]
            moment = random.Random(number).random() * seconds
            yield number, name, killed(name, place, wanted, before, moment)
            shutil.rmtree(place)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=24)
    parser.add_argument("--first", type=int, default=0, help="number, hence moment, of the first")
    parser.add_argument("--out", type=Path, help="JSON to write")
    args = parser.parse_args()
    out = args.out and args.out.resolve()
    torch.set_num_threads(1)
    tried, faults = Counter(), []
    for number, name, fault in kills(args.kills, args.first):
        tried[name] += 1
        if fault is not None:
            faults.append([number, name, fault])
            print(f"kill {number}, {name}: {fault}", flush=True)
    if out:
        out.write_text(json.dumps({"kills": tried, "faults": faults}, indent=1) + "\n")
    print(f"{args.kills} kills, {len(faults)} faults: {dict(tried)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
