"""Files: one dictionary of plain values and tensors, written atomically, read without pickle.

format, version   "snnconvert", 1
stage             "ann", "qann", "snn" or "spiking": the most advanced network inside
networks          {stage: {"model": name, "config": {...}, "state": {name: tensor}}}
recipe            the resolved recipe of the training, or {}
probe             uint8 [N, C, H, W]: held-out real images, for calibration and reports
provenance        data, seed, steps, images seen, versions
moments           optional: {stage: {"eps_second_moment": [diffusion_steps], and how measured}}
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.torch_version import TorchVersion  # a str that old files hold in their provenance

from snnconvert.errors import CheckpointError, InputError

FORMAT, VERSION = "snnconvert", 1
STAGES = ("ann", "qann", "snn", "spiking")
KEYS = {"format", "version", "stage", "networks", "recipe", "probe", "provenance"}
OPTIONAL = {"moments"}
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


def save_checkpoint(path: str | Path, content: dict[str, Any]) -> None:
    """Write `content` (keys as above; format and version are added) atomically to `path`."""
    write_atomically(path, writer_of(content))


def writer_of(content: dict[str, Any]) -> Writer:
    """What writes a checkpoint's `content` into an open file."""
    full = {"recipe": {}, "probe": None, "provenance": {}, **content}
    full |= {"format": FORMAT, "version": VERSION}
    if set(full) - OPTIONAL != KEYS:
        raise ValueError(f"checkpoint keys: found {sorted(full)}, needed {sorted(KEYS)}")
    return lambda file: torch.save(full, file)


def read_file(path: str | Path) -> Any:
    """Plain values and tensors of a file written by `torch.save`; no code in it ever runs.

    Raises:
        CheckpointError: missing, truncated, foreign, or a pickle that holds code.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise CheckpointError(f"{path}: is a folder; name a file")
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file")
        with torch.serialization.safe_globals([TorchVersion]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
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
    if type(version) is not int or version != VERSION:
        raise CheckpointError(
            f"{path}: has version {version!r}, this snnconvert reads {VERSION}: "
            "upgrade snnconvert, or write the file again with this one"
        )
    if set(content) - OPTIONAL != KEYS:
        wrong = ", ".join(sorted(map(str, (set(content) - OPTIONAL) ^ KEYS)))
        raise CheckpointError(f"{path}: missing or unknown keys: {wrong}")
    for key, fits in FORMS.items():
        if key in content and not fits(content[key]):
            raise CheckpointError(f"{path}: its {key} is not of a known form; the file is damaged")
    if content["stage"] not in content["networks"]:
        held = ", ".join(content["networks"]) or "none"
        raise CheckpointError(f"{path}: stage {content['stage']!r}, but it holds: {held}")
    return content


def is_table(value: object) -> bool:
    """A dictionary with names as its keys."""
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def is_networks(value: object) -> bool:
    """{stage: {"config": {...}, "state": {name: tensor}}}, with "model" unless it is "unet"."""
    return is_table(value) and all(
        stage in STAGES
        and is_table(network)
        and set(network) - {"model"} == {"config", "state"}
        and isinstance(network.get("model", ""), str)
        and is_table(network["config"])
        and is_table(network["state"])
        and all(isinstance(tensor, torch.Tensor) for tensor in network["state"].values())
        for stage, network in value.items()  # type: ignore[attr-defined]
    )


def is_probe(value: object) -> bool:
    """None or uint8 images [N, C, H, W]."""
    images = isinstance(value, torch.Tensor) and value.ndim == 4 and value.dtype == torch.uint8
    return value is None or images


def is_moments(value: object) -> bool:
    """{stage: {"eps_second_moment": float tensor [diffusion_steps], ...}}."""
    return is_table(value) and all(
        is_table(entry)
        and isinstance(curve := entry.get("eps_second_moment"), torch.Tensor)
        and curve.ndim == 1
        and bool(curve.isfinite().all())
        for entry in value.values()  # type: ignore[attr-defined]
    )


FORMS: dict[str, Callable[[object], bool]] = {
    "networks": is_networks,
    "recipe": is_table,
    "provenance": is_table,
    "probe": is_probe,
    "moments": is_moments,
}


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
