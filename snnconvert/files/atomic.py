"""Files written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from snnconvert.errors import InputError

Writer = Callable[[Any], object]  # takes an open binary file


def write_atomically(path: str | Path, write: Writer) -> None:
    """Call `write(binary file)` on a temporary file beside `path`, sync it, move it into place.

    Whatever fails, an older file at `path` stays as it was and no temporary file is left.

    Raises:
        InputError: the folder does not exist or cannot take the file (missing rights, disk full).
    """
    write_together({path: write})


def json_writer(content: Mapping[str, Any]) -> Writer:
    """What writes `content` as JSON into an open file. ValueError where it holds NaN."""
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
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
            with tempfile.NamedTemporaryFile(
                dir=target.parent, prefix=f".{target.name[:100]}.", delete=False
            ) as file:
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


def check_destination(path: str | Path) -> Path:
    """`path` if a file can be created there, else InputError; to be asked before slow work."""
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder; name a file")
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: is no regular file; name another one")
        if not path.parent.is_dir():
            raise InputError(f"{path}: the folder {path.parent} does not exist; create it first")
        with tempfile.TemporaryFile(dir=path.resolve().parent):
            return path
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
