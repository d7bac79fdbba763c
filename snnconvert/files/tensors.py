"""Plain values and tensors out of a file; no code in it ever runs."""

from __future__ import annotations

import errno
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.torch_version import TorchVersion  # a str that old files hold in their provenance

from snnconvert.errors import CheckpointError

GROWTH, ROOM = 16, 1 << 28  # bytes that a file may unpack to: so many of its own, and some more
WRITE_AGAIN = "write it again with `snnconvert train` or `convert`"
DEEPEST, MOST_ITEMS = 60, 4_000_000  # of nested lists and tables; shared ones count each time


def read_file(path: str | Path, remedy: str = WRITE_AGAIN) -> Any:
    """Plain values and tensors of a file written by `torch.save`; no code in it ever runs.

    Args:
        remedy: what to do about a damaged file, as its error says it.

    Raises:
        CheckpointError: missing, truncated, foreign, or a pickle that holds code.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise CheckpointError(f"{path}: is a folder; name a file")
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file")
        check_unpacked(path)
        with torch.serialization.safe_globals([TorchVersion]):
            content = torch.load(path, map_location="cpu", weights_only=True)
        check_size(content, path)
    except CheckpointError:
        raise
    except Exception as error:  # damaged bytes can raise nearly anything inside the unpickler
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # what a cut archive raises
            raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
        raise CheckpointError(f"{path}: {unreadable(path, error, remedy)}") from error
    return content


def check_unpacked(path: Path) -> None:
    """CheckpointError where an archive claims to unpack to far more than the file holds."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            claimed = sum(member.file_size for member in archive.infolist())
        refuse_claim(claimed, path)


def check_size(content: Any, path: Path) -> None:
    """CheckpointError where a few bytes stand for endless lists, or for tensors without end.

    A file may name one list, or one number of a tensor, any number of times.
    """
    items = claimed = 0
    open_ones = [iter((content,))]
    while open_ones:
        if len(open_ones) > DEEPEST or items > MOST_ITEMS:
            raise CheckpointError(f"{path}: is damaged: its lists and tables have no end")
        for item in open_ones[-1]:
            items += 1
            if isinstance(item, torch.Tensor) and item.layout == torch.strided:
                claimed += item.numel() * item.element_size()
            elif isinstance(item, Mapping | list | tuple | set):
                open_ones.append(inside(item))
                break
        else:
            open_ones.pop()
    refuse_claim(claimed, path)


def inside(container: Any) -> Iterator[Any]:
    """The items of a list; keys and values of a table."""
    if isinstance(container, Mapping):
        return (part for pair in container.items() for part in pair)
    return iter(container)


def refuse_claim(claimed: int, path: Path) -> None:
    """CheckpointError where `claimed` bytes are far more than the file has."""
    if claimed > GROWTH * path.stat().st_size + ROOM:
        raise CheckpointError(
            f"{path}: is damaged: claims to hold {claimed} bytes, and has {path.stat().st_size}"
        )


def unreadable(path: Path, error: Exception, remedy: str) -> str:
    """Why `torch.load` refused: a damaged file, or one that would have run code."""
    foreign = "Unsupported global" in str(error) or "weights_only" in str(error)
    if foreign and zipfile.is_zipfile(path):
        return (
            "holds Python objects, which could run code, and is refused; save plain "
            "tensors (a state_dict) or export the network with torch.export"
        )
    return f"is damaged or no checkpoint; {remedy}"
