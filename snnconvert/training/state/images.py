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
from snnconvert.training.state.contents import (
    digests_of,
    labels_by_digest,
    moved_class,
    remembered,
    touched,
)

NAMED = 5  # damaged files in an error


def seen_images(
    training: Images, held_out: Images, before: dict[str, Any] | None, path: Path, *,
    classes: bool, progress: bool,
) -> dict[str, Any]:  # fmt: skip
    """What a training remembers of its images: their number, hashes, and labels of some.

    Files that were not seen `before` are read, each once; if they are others, a warning says so.
    Names do not matter, contents, their order and their labels do.

    Args:
        before: what it gave when the training began, or went on last.
        path: where the training's state lies.
        classes: labels matter.

    Raises:
        DataError: none to train on or to hold out, files that are no readable images, or classes
            that have other labels than before.
    """
    if min(len(training), len(held_out)) == 0:
        raise DataError(
            f"found {len(training)} images to train on and {len(held_out)} held-out ones; both are "
            "needed"
        )
    both = (training, held_out)
    parts = [files_of(images) for images in both]
    files = [file for part in parts for file in part]
    labels = [images.labels.tolist() if classes and images.labels is not None else []
              for images in both]  # fmt: skip
    seen: dict[str, Any] = {
        "training": len(training), "held out": len(held_out), "labels": fingerprint(labels),
        "touched": touched(files),
    }  # fmt: skip
    if before is not None and all(before.get(key) == value for key, value in seen.items()):
        return before
    if before is None:
        refuse_damaged(files, progress)
    digests = [digests_of(part) for part in parts]
    known = labels_by_digest(
        p for pair in zip(digests, labels, strict=True) for p in zip(*pair, strict=False)
    )
    seen |= {"content": fingerprint(digests), "classes": remembered(known)}
    if before is None or all(
        before.get(key, seen[key]) == seen[key] for key in seen if key != "touched"
    ):
        return seen
    refuse_damaged(files, progress)
    refuse_moved(before.get("classes", {}), known, path)
    counts = (
        f"{before['training']} to train on and {before['held out']} held out; now "
        f"{seen['training']} and {seen['held out']}"
    )
    if (before["training"], before["held out"]) == (seen["training"], seen["held out"]):
        counts = "as many, of other contents, labels or order"
    warn(
        f"the images are not those that the training began with ({counts}); it goes on with the "
        "new ones, and is no longer the same to the bit"
    )
    return seen


def files_of(images: Images) -> list[Path]:
    return images.files if isinstance(images, FolderImages) else []


def refuse_moved(before: dict[str, int], now: dict[str, int], path: Path) -> None:
    """DataError where a class has another label than when the training began."""
    moved = moved_class(before, now)
    if moved is not None:
        raise DataError(
            f"the images of class {moved[0]} are now those of class {moved[1]}: classes are "
            "numbered by the names of their folders; give the folders their old names, or delete "
            f"{path} to start again"
        )


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
