"""Files: one dictionary of plain values and tensors, written atomically, read without pickle.

format, version   "snnconvert", 1
stage             "ann", "qann", "snn" or "spiking": the most advanced network inside
networks          {stage: {"config": {...}, "state": {name: tensor}}}
recipe            the resolved recipe of the training, or {}
probe             uint8 [N, C, H, W]: held-out real images, for calibration and reports
provenance        data, seed, steps, images seen, versions
moments           optional: {stage: {"eps_second_moment": [diffusion_steps], and how measured}}
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch.torch_version import TorchVersion  # a str that old files hold in their provenance

from snnconvert.errors import CheckpointError, InputError

FORMAT, VERSION = "snnconvert", 1
STAGES = ("ann", "qann", "snn", "spiking")
KEYS = {"format", "version", "stage", "networks", "recipe", "probe", "provenance"}
OPTIONAL = {"moments"}


def write_atomically(path: str | Path, write) -> None:
    """Call `write(binary file)` on a temporary file beside `path`, sync it, move it into place.

    Whatever fails, an older file at `path` stays as it was and no temporary file is left.

    Raises:
        InputError: the folder does not exist or cannot take the file (missing rights, disk full).
    """
    path = Path(path)
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            temporary = file.name
            write(file)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)  # temporary files are private by default
        Path(temporary).replace(path)
        temporary = None
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
        raise InputError(f"{path}: cannot be written ({error}); nothing was changed") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def check_destination(path: str | Path) -> Path:
    """`path` if a file can be created there, else InputError; to be asked before slow work."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; create it first")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            return path
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error


def save_checkpoint(path: str | Path, content: dict[str, Any]) -> None:
    """Write `content` (keys as above; format and version are added) atomically to `path`."""
    full = {"recipe": {}, "probe": None, "provenance": {}, **content}
    full |= {"format": FORMAT, "version": VERSION}
    if set(full) - OPTIONAL != KEYS:
        raise ValueError(f"checkpoint keys: found {sorted(full)}, needed {sorted(KEYS)}")
    write_atomically(path, lambda file: torch.save(full, file))


def read_file(path: str | Path) -> Any:
    """Plain values and tensors of a file written by `torch.save`; no code in it ever runs.

    Raises:
        CheckpointError: missing, truncated, foreign, or a pickle that holds code.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        with torch.serialization.safe_globals([TorchVersion]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes can raise nearly anything inside the unpickler
        if isinstance(error, OSError):
            raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
        raise CheckpointError(f"{path}: {unreadable(path, error)}") from error
    return content


def unreadable(path: Path, error: Exception) -> str:
    """Why `torch.load` refused: a damaged file, or one that would have run code."""
    foreign = "Unsupported global" in str(error) or "weights_only" in str(error)
    if foreign and zipfile.is_zipfile(path):
        return (
            "holds Python objects, which could run code, and is refused; save plain "
            "tensors (a state_dict) or export the network with torch.export"
        )
    return "is damaged or no checkpoint; write it again with `snnconvert train` or `convert`"


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The checked content of a snnconvert checkpoint.

    Raises:
        CheckpointError: as `read_file`, or another format, a newer version, wrong or missing keys.
    """
    content = read_file(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: is no snnconvert checkpoint (its key `format` is missing)")
    version = content.get("version")
    if version != VERSION:
        raise CheckpointError(
            f"{path}: has version {version!r}, this snnconvert reads {VERSION}: "
            "upgrade snnconvert, or write the file again with this one"
        )
    if set(content) - OPTIONAL != KEYS:
        wrong = ", ".join(sorted(map(str, (set(content) - OPTIONAL) ^ KEYS)))
        raise CheckpointError(f"{path}: missing or unknown keys: {wrong}")
    networks = content["networks"]
    if content["stage"] not in STAGES or not isinstance(networks, dict) or not networks:
        raise CheckpointError(f"{path}: stage {content['stage']!r}, allowed: {', '.join(STAGES)}")
    for stage, network in networks.items():
        if stage not in STAGES or set(network) != {"config", "state"}:
            raise CheckpointError(f"{path}: network {stage!r} is not of a known form")
    if not isinstance(content.get("moments", {}), dict):
        raise CheckpointError(f"{path}: its moments are not of a known form")
    return content


def fingerprint(value: Any) -> str:
    """A hash of plain values and tensors, to tell whether two things are the same."""
    digest = hashlib.sha256()

    def add(item: Any) -> None:
        if isinstance(item, torch.Tensor):
            digest.update(f"{item.dtype}{tuple(item.shape)}".encode())
            flat = item.detach().cpu().contiguous().flatten()
            digest.update(flat.view(torch.uint8).numpy().tobytes())
        elif isinstance(item, dict):
            for key in sorted(item, key=str):
                digest.update(f"{key}:".encode())
                add(item[key])
        elif isinstance(item, (list, tuple)):
            for part in item:
                add(part)
        else:
            digest.update(f"{item!r};".encode())

    add(value)
    return digest.hexdigest()
