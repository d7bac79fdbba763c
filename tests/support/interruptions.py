"""SIGINT and SIGTERM at random moments of every command: `python -m tests.support.interruptions`.

    python -m tests.support.interruptions --count 100 --first 0

A command that is interrupted says so in one line, with 130 (Ctrl-C) or 143 (SIGTERM); what lies at
its destination can be read, nothing unfinished is left, and the same command again succeeds.
"""

from __future__ import annotations

import argparse
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

import torch

from snnconvert.errors import CheckpointError
from tests.support.kills import COMMANDS as WRITING
from tests.support.kills import ended, prepare, result_of, started

READING = {  # and what each writes
    "check": (["check", "tiny.pt"], ""),
    "info": (["info", "tiny.pt"], ""),
    "recipes": (["recipes"], ""),
    "report": (["report", "tiny.pt", "tiny.snn.pt", "--no-advice"], "tiny.snn.report.html"),
    "quantize": (["quantize", "tiny.pt"], "tiny.qann.pt"),
    "verify": (["verify", "tiny.pt", "tiny.snn.pt"], ""),
    "sweep": (["sweep", "tiny.pt", "-o", "sweep.json"], "sweep.json"),
    "trajectory": (["trajectory", "tiny.pt", "--steps", "4", "-n", "2"], "trajectory.json"),
    "export": (["export", "tiny.snn.pt", "tiny.onnx"], "tiny.onnx"),
    "finetune": (["finetune", "settled.snn.pt", "--data-root", "images", "--steps", "30"], ""),
    "demo": (["demo"], "snnconvert-demo.snn.pt"),
}  # fmt: skip
MEASURING = {  # where TORCH_HOME holds the weights of Inception
    "stats": (["stats", "images", "--dims", "64", "-o", "made.npz"], "made.npz"),
    "guidance": (["guidance", "tiny.snn.pt", "--against", "real.npz", "-n", "2", "--steps", "2",
                  "--scales", "1,0.9"], "guidance.json"),
}  # fmt: skip
if any(Path(torch.hub.get_dir(), "checkpoints").glob("pt_inception-*.pth")):
    READING |= MEASURING
OF_CONVERTED = {"report", "verify", "export", "finetune", "guidance"}
OF_STATISTICS = {"guidance"}
COMMANDS = {**WRITING, **READING}
SAID = "said"  # what a command says
SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143}


def interrupted(name: str, place: Path, number: signal.Signals, after: float) -> str | None:
    """What is wrong after `number` at `after` seconds; None where nothing is."""
    command, written = COMMANDS[name]
    process = started(command, place, SAID)
    time.sleep(after)
    os.kill(process, number)
    code = ended(process)
    said = (place / SAID).read_text(errors="replace")
    if "Exception ignored" in said and not code:
        return None  # Python's own import machinery swallowed the signal
    if "Traceback" in said or code not in (0, SIGNALS[number]):
        return f"ends with {code} and says {said[-600:]!r}"
    if code and "interrupted" not in said and "terminated" not in said:
        return f"says nothing of it: {said[-300:]!r}"
    left = sorted(file.name for file in place.rglob("*.unfinished"))
    if left:
        return f"left behind: {left}"
    try:
        if written and Path(written).suffix in (".pt", ".npz", ".json"):
            result_of(place / written)
    except (CheckpointError, ValueError, OSError) as error:
        return f"what lies there is broken: {error}"
    code = ended(started(command, place, SAID))
    again = (place / SAID).read_text(errors="replace")
    return f"the same command again ends with {code}: {again[-300:]!r}" if code else None


def interruptions(count: int, first: int, names: list[str]) -> Iterator[tuple[str, str | None]]:
    """(command, what was wrong) of interruptions at random moments, the commands in turn."""
    with tempfile.TemporaryDirectory() as root:
        fresh, place = Path(root) / "fresh", Path(root) / "place"
        fresh.mkdir()
        prepare(fresh)
        lines = [["convert", "tiny.pt", "-o", "tiny.snn.pt"],
                 ["convert", "net.pt", "--settle", "0", "-o", "settled.snn.pt"]]  # fmt: skip
        measured = ["stats", "images", "--dims", "64", "-o", "real.npz"]
        lines = lines if OF_CONVERTED & set(names) else []
        for line in [*lines, measured] if OF_STATISTICS & set(names) else lines:
            if ended(started(line, fresh, SAID)):
                raise RuntimeError((fresh / SAID).read_text())
        seconds: dict[str, float] = {}
        for number in range(first, first + count):
            name = names[number % len(names)]
            if name not in seconds:
                shutil.copytree(fresh, place)
                begun = time.monotonic()
                if ended(started(COMMANDS[name][0], place, SAID)):
                    raise RuntimeError(f"{name}: {(place / 'said').read_text()}")
                seconds[name] = time.monotonic() - begun
                shutil.rmtree(place)
            shutil.copytree(fresh, place)
            kind = list(SIGNALS)[(number // len(names)) % len(SIGNALS)]
            moment = random.Random(number).random() * seconds[name]
            yield f"{name}, {kind.name}, {moment:.2f} s", interrupted(name, place, kind, moment)
            shutil.rmtree(place)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2 * len(COMMANDS))
    parser.add_argument("--first", type=int, default=0, help="number, hence moment, of the first")
    parser.add_argument("--only", choices=COMMANDS, action="append", help="of these commands")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tried, faults = Counter(), 0
    for what, fault in interruptions(args.count, args.first, args.only or list(COMMANDS)):
        tried[what.split(",")[0]] += 1
        if fault is not None:
            faults += 1
            print(f"{what}: {fault}", flush=True)
    print(f"{args.count} interruptions, {faults} faults: {dict(tried)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
