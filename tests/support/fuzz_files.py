"""Hold the reader of every file format against broken files: `python -m tests.support.fuzz_files`.

    python -m tests.support.fuzz_files --cases 100000 --out fuzz.json

Each case is a sound file broken at random (`mutants`), given to the commands that read such files.
Allowed is success, or a refusal in a few printable lines; every other end is a fault: a traceback,
a crash, more than 20 s of the processor, more than 4 GiB, code of the file that ran. Cases run in
processes of their own, some hundreds in each, so that a crash ends none but its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from snnconvert.errors import MOST_LINES, SnnconvertError
from snnconvert.evaluation.metrics.gaussian import holds_statistics, load_statistics
from snnconvert.images.sources import open_source
from tests.support.command_line import call_cli
from tests.support.mutants import mutant, write_seeds
from tests.support.paths import ROOT

LONGEST, LARGEST = 20, 4 << 30  # seconds of the processor, bytes
WAITING = 15 * LONGEST  # seconds on the clock, of a case that waits or of a busy machine
LIMITS = [
    (signal.SIGPROF, signal.ITIMER_PROF, LONGEST),
    (signal.SIGALRM, signal.ITIMER_REAL, WAITING),
]
CHUNK = 200  # cases of a process
DRAWN = ["-n", "1", "--steps", "2", "--no-progress", "-o", "drawn.npz", "--device", "cpu"]


class TooLong(Exception):
    """A case took longer than is allowed."""


def commands(file: Path) -> list[list[str]]:
    """What a user does with such a file."""
    name = file.name
    if file.suffix == ".toml":
        return [["train", name, "--dry-run"]]
    if file.suffix == ".pt2":
        return [["info", name], ["check", name], ["sample", name, "--schedule", "linear", *DRAWN]]
    return [["info", name], ["sample", name, "--schedule", "linear", *DRAWN]]


def fault_of(file: Path) -> str | None:
    """What is wrong with how a broken file is met; None where all is well."""
    for sign, timer, seconds in LIMITS:
        signal.signal(sign, too_long)
        signal.setitimer(timer, seconds)
    try:
        if file.suffix == ".npz":
            read_arrays(file)
        else:
            for command in commands(file):
                fault = fault_of_command(command, file.parent)
                if fault is not None:
                    return fault
    except SnnconvertError as error:
        return fault_of_text(str(error))
    except TooLong:
        return f"hang: more than {LONGEST} s"
    except Exception:
        return "traceback: " + traceback.format_exc(limit=-4)
    finally:
        for _, timer, _ in LIMITS:
            signal.setitimer(timer, 0)
    return "code of the file ran" if (file.parent / "pwned").exists() else None


def too_long(_signal: int, _frame: object) -> None:
    raise TooLong


def read_arrays(file: Path) -> None:
    """Take a file for statistics, or for images, whichever it says it is."""
    if holds_statistics(str(file)):
        load_statistics(str(file))
        return
    images = open_source(str(file), file.parent)
    for _ in images.batches(3, len(images)):
        pass


def fault_of_command(command: list[str], folder: Path) -> str | None:
    result = call_cli(*command, cwd=folder)
    allowed = (0, 1, 2) if command[0] == "check" else (0, 2)  # 1: it is read, and has problems
    if result.returncode not in allowed:
        return f"exit code {result.returncode}: {command} {result.stderr[-500:]}"
    if "more memory than there is" in result.stderr:
        return f"memory: {command}"
    return fault_of_text(result.stderr + result.stdout)


def fault_of_text(text: str) -> str | None:
    if "Traceback" in text:
        return f"traceback: {text[-500:]}"
    odd = {c for c in text if not (c.isprintable() or c in "\n\r")}
    if odd:
        return f"control characters: {odd!r}"
    return f"{text.count(chr(10))} lines" if text.count("\n") > MOST_LINES + 60 else None


def cases(numbers: Iterable[int], folder: Path) -> Iterator[tuple[int, str, str]]:
    """(number, kind of file, fault) of the cases that end otherwise than they may."""
    with tempfile.TemporaryDirectory(dir=folder) as seeds:
        sound = write_seeds(Path(seeds))
        (folder / "case").mkdir(exist_ok=True)
        for number in numbers:
            rng = random.Random(number)
            seed = sound[number % len(sound)]
            broken = folder / "case" / seed.name
            broken.write_bytes(mutant(seed, rng))
            (folder / "now").write_text(f"{number} {seed.name}")
            fault = fault_of(broken)
            if fault is not None:
                yield number, seed.name, fault
            for left in (folder / "case").iterdir():
                left.unlink()


def work(first: int, count: int, folder: Path) -> None:
    """A process's share; its faults as lines of JSON."""
    torch.set_num_threads(1)
    own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (own + LARGEST,) * 2)
    for found in cases(range(first, first + count), folder):
        print(json.dumps(found), flush=True)


def share(first: int, count: int) -> list[list[Any]]:
    """The faults of some cases, run in a process of their own; after a crash the rest go on."""
    found: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        while count > 0:
            worker = subprocess.run(
                [sys.executable, "-W", "ignore", "-m", "tests.support.fuzz_files", "--first",
                 str(first), "--cases", str(count), "--work", folder],
                cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                capture_output=True, text=True, timeout=WAITING * count,
            )  # fmt: skip
            found += [json.loads(line) for line in worker.stdout.splitlines()]
            if worker.returncode == 0:
                break
            number, _, name = (Path(folder) / "now").read_text().partition(" ")
            found.append([int(number), name, f"crash {worker.returncode}: {worker.stderr[-800:]}"])
            first, count = int(number) + 1, first + count - int(number) - 1
    return found


def shown(shares: Iterable[list[list[Any]]]) -> Iterator[list[Any]]:
    """Every fault, told as soon as it is known."""
    for found in shares:
        for number, name, fault in found:
            print(f"case {number}, {name}: {fault}", flush=True)
            yield [number, name, fault]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="number, hence seed, of the first")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, help="JSON to write")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.first, args.cases, args.work)
        return 0
    started = time.monotonic()
    last = args.first + args.cases
    firsts = range(args.first, last, CHUNK)
    with ThreadPoolExecutor(args.processes) as pool:
        shares = pool.map(lambda first: share(first, min(CHUNK, last - first)), firsts)
        faults = list(shown(shares))
    kinds = Counter(fault.partition(":")[0] for _, _, fault in faults)
    report = {"cases": args.cases, "first": args.first, "kinds": kinds, "faults": faults,
              "seconds": round(time.monotonic() - started)}  # fmt: skip
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"{args.cases} cases, {len(faults)} faults, {report['seconds']} s: {dict(kinds)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
