"""The images of a training, looked at before it begins, and again when it goes on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from snnconvert.common.warning import warn
from snnconvert.errors import DataError
from snnconvert.files.fingerprint import fingerprint
from snnconvert.images.datasets.folder import FolderImages
from snnconvert.images.decoding import check_readable
from snnconvert.images.pixels import Images

NAMED = 5  # damaged files in an error


def seen_images(
    training: Images, held_out: Images, before: dict[str, Any] | None, progress: bool
) -> dict[str, Any]:
    """What a training remembers of its images: their number, and a hash of names and sizes.

    Files that were not seen `before` are read, each once; if they are others, a warning says so.

    Raises:
        DataError: none to train on or to hold out, or files that are no readable images.
    """
    if min(len(training), len(held_out)) == 0:
        raise DataError(
            f"found {len(training)} images to train on and {len(held_out)} held-out ones; both are "
            "needed"
        )
    files = [file for images in (training, held_out) for file in files_of(images)]
    seen = {"training": len(training), "held out": len(held_out), "files": listing(files)}
    if before == seen:
        return seen
    refuse_damaged(files, progress)
    if before is not None:
        warn(
            f"the images are not those that the training began with ({before['training']} to train "
            f"on and {before['held out']} held out; now {seen['training']} and "
            f"{seen['held out']}); it goes on with the new ones, and is no longer the same to the "
            "bit"
        )
    return seen


def files_of(images: Images) -> list[Path]:
    return images.files if isinstance(images, FolderImages) else []


def listing(files: list[Path]) -> str:
    """A hash of the names and sizes of files, wherever their folder lies."""
    parts = len(Path(*common_folder(files)).parts)
    return fingerprint([["/".join(f.parts[parts:]), f.stat().st_size] for f in files])


def common_folder(files: list[Path]) -> list[str]:
    """The parts of a path that all files share."""
    shared = []
    for parts in zip(*(file.parent.parts for file in files), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return shared


def refuse_damaged(files: list[Path], progress: bool) -> None:
    """DataError that names files which are no readable images."""

    def fault(file: Path) -> str | None:
        try:
            check_readable(file)
        except DataError as error:
            return str(error)
        return None

    with ThreadPoolExecutor() as pool:
        looked = pool.map(fault, files)
        bar = tqdm(looked, total=len(files), desc="images", disable=not (progress and files))
        faults = [found for found in bar if found is not None]
    if faults:
        more = f" (and {len(faults) - NAMED} more)" if len(faults) > NAMED else ""
        raise DataError("; ".join(faults[:NAMED]) + more)
