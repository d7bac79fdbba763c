"""What a network that a command writes was made from, and the file that it goes to."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnconvert.cli.arguments.output import destination
from snnconvert.errors import CheckpointError, InputError, printable

if TYPE_CHECKING:
    from snnconvert.cli.arguments.named_network import NamedNetwork


def add_out(command: argparse.ArgumentParser, kind: str, made: str) -> None:
    """-o and --force. `kind`: of the default file, <FILE stem>.<kind>.pt; `made`: in what way."""
    command.add_argument("-o", "--out", help=f"file to write (default: <FILE stem>.{kind}.pt, "
                         f"which is replaced only where it was {made} from the same)")  # fmt: skip
    command.add_argument("--force", action="store_true", help="replace the default file whatever "
                         "it holds")  # fmt: skip


def out_of(args: argparse.Namespace, kind: str) -> Path:
    """The file that the arguments name, or the default one; asked before slow work.

    Raises:
        InputError: it cannot be written.
    """
    named = args.file or args.model.partition(":")[2] if args.file or args.model else "network"
    out = Path(args.out) if args.out else Path(named).parent / f"{Path(named).stem}.{kind}.pt"
    destination(args, out)
    return out


def origin_of(args: argparse.Namespace) -> str:
    """What a network is converted from, by the names that the user gave."""
    return " ".join(filter(None, (args.model, Path(args.file).name if args.file else "")))


def replaced(args: argparse.Namespace, out: Path) -> str:
    """What is said of the file that `out` replaces; empty where there is none.

    Raises:
        InputError: the user has not named it, and it was made from something else.
    """
    from snnconvert.checkpoint.format import read_checkpoint

    if not out.exists():
        return ""
    try:
        origin = read_checkpoint(out)["provenance"].get("converted_from", "unknown")
    except CheckpointError:
        origin = "no network that this version reads"
    if args.out is None and not args.force and origin != origin_of(args):
        raise InputError(
            f"{out}: is there already (made from: {origin}), and this conversion is of "
            f"{origin_of(args)}; name another file with -o, or give --force"
        )
    return f" (which was there before, made from: {printable(origin)})"


def denoiser_facts(args: argparse.Namespace, named: NamedNetwork) -> dict[str, Any]:
    """What is kept of a denoiser from elsewhere: which noise, what it predicts, at which times.

    Raises:
        InputError: a prediction or times that contradict the file, or that there are not.
    """
    from snnconvert.diffusion.schedule import named_schedule
    from snnconvert.diffusion.times import checked_t_range

    if named.checkpoint is not None:
        named.checkpoint.predicts(args.prediction)
        return {}
    given: dict[str, Any] = {
        "schedule": None if args.schedule is None else named_schedule(args.schedule),
        "prediction": args.prediction,
        "t_range": None if args.t_range is None else checked_t_range(args.t_range),
        "data_range": named.data_range,
    }
    return {**named.known, **{name: v for name, v in given.items() if v is not None}}
