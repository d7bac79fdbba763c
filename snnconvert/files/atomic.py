"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from snnconvert.errors import InputError
from snnconvert.files.plain_json import json_text

try:
    import fcntl
except ImportError:  # no such locks on this system: nothing is taken for stale
    fcntl = None  # type: ignore[assignment]

Writer = Callable[[Any], object]  # takes an open binary file
UNFINISHED = re.compile(r"\.(?P<target>.+)\.[a-z0-9_]{8}\.unfinished")


def write_atomically(path: str | Path, write: Writer) -> None:
    """Call `write(binary file)` on a temporary file beside `path`, sync it, move it into place.

    Whatever fails, an older file at `path` stays as it was and no temporary file is left; after a
    kill, `check_destination` of the next run clears it away.

    Raises:
        InputError: the folder does not exist or cannot take the file (missing rights, disk full).
    """
    write_together({path: write})


def json_writer(content: Mapping[str, Any]) -> Writer:
    """What writes `content` as JSON into an open file; see `json_text`."""
    text = json_text(content, indent=1) + "\n"
    return lambda file: file.write(text.encode())


def save_json(content: Mapping[str, Any], path: str | Path) -> None:
    """Write `content` as JSON to `path`, atomically."""
    write_atomically(path, json_writer(content))


def write_together(files: Mapping[str | Path, Writer]) -> None:
    """As `write_atomically` for several files: none is moved before all are written."""
    written: list[tuple[Path, Path]] = []
    path = Path()
    try:
        for name, write in files.items():
            path = Path(name)
            target = path.resolve()  # a link keeps pointing to the file that is replaced
            with unfinished(target) as file:
                written.append((Path(file.name), target))
                write(file)
                file.flush()
                os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        for temporary, target in written:
            temporary.chmod(0o666 & ~umask)  # temporary files are private by default
            temporary.replace(target)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
        raise InputError(f"{path}: cannot be written ({error}); nothing was changed") from error
    finally:
        for temporary, _ in written:
            temporary.unlink(missing_ok=True)


def unfinished(target: Path) -> IO[bytes]:
    """A new file beside `target`, locked as long as its writer lives."""
    prefix, suffix = f".{shown_name(target)}.", ".unfinished"
    while True:
        file = tempfile.NamedTemporaryFile(  # noqa: SIM115  the caller closes it
            dir=target.parent, prefix=prefix, suffix=suffix, delete=False
        )
        if fcntl is not None:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)
        if Path(file.name).exists():  # nobody took it for stale before it was locked
            return file
        file.close()


def shown_name(target: Path) -> str:
    """What a file's companions are called after; names have a largest length."""
    return target.name[:100]


def clear_stale(folder: Path, name: str | None = None) -> None:
    """Remove what killed writers of `name` (default: of any file) left in a folder.

    Their lock tells: the system takes it from a process that ends, however it ends.
    """
    if fcntl is None or not folder.is_dir():
        return
    for file in folder.glob(".*.unfinished"):
        found = UNFINISHED.fullmatch(file.name)
        if found is None or name not in (None, found["target"]):
            continue
        with contextlib.suppress(OSError), file.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: it is written now
            file.unlink()


def check_destination(path: str | Path) -> Path:
    """`path` if a file can be created there, else InputError; to be asked before slow work.

    What a killed writer of it left beside it is cleared away.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder; name a file")
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: is no regular file; name another one")
        if not path.parent.is_dir():
            raise InputError(f"{path}: the folder {path.parent} does not exist; create it first")
        target = path.resolve()
        clear_stale(target.parent, shown_name(target))
        with tempfile.TemporaryFile(dir=target.parent):
            return path
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
