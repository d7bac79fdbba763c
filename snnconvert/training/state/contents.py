"""Whether image files are those of before: by what the file system knows, and by some bytes."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from snnconvert.errors import DataError, printable
from snnconvert.files.fingerprint import fingerprint

BLOCK = 1 << 14  # bytes at the start, the middle and the end of a file that tell it from others
REMEMBERED = 4096  # files whose labels a training remembers


def touched(files: Sequence[Path]) -> str:
    """A hash of names below their folder, and of what changes where anybody touches a file.

    Equal ones need not be read; a copy has others and may hold the same.
    """
    parts = len(common_folder(files))
    found = []
    for file in files:
        about = file.stat()
        facts = (about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino)
        found.append(f"{'/'.join(file.parts[parts:])} {facts}")
    return fingerprint(found)


def common_folder(files: Sequence[Path]) -> list[str]:
    """The parts of a path that all files share."""
    shared = []
    for parts in zip(*(file.parent.parts for file in files), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return shared


def digests_of(files: Sequence[Path]) -> list[str]:
    """A short hash of each file's length and of its first, middle and last bytes.

    Raises:
        DataError: a file that cannot be read.
    """
    with ThreadPoolExecutor() as pool:
        return list(pool.map(digest_of, files))


def digest_of(file: Path) -> str:
    try:
        size = file.stat().st_size
        digest = hashlib.blake2b(str(size).encode(), digest_size=8)
        with file.open("rb") as opened:
            for start in (0, (size - BLOCK) // 2, size - BLOCK):
                opened.seek(max(0, start))
                digest.update(opened.read(BLOCK))
    except OSError as error:
        raise DataError(f"{printable(file)}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()


def labels_by_digest(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    """The label of each content; contents under several labels are left out."""
    found: dict[str, set[int]] = defaultdict(set)
    for digest, label in pairs:
        found[digest].add(label)
    return {digest: min(given) for digest, given in found.items() if len(given) == 1}


def remembered(labels: Mapping[str, int]) -> dict[str, int]:
    """Some of them, the same wherever and in whatever order they lie."""
    return {digest: labels[digest] for digest in sorted(labels)[:REMEMBERED]}


def moved_class(before: Mapping[str, int], now: Mapping[str, int]) -> tuple[int, int] | None:
    """A label of before, and the one that most of its files have now; None where none moved.

    A single file tells nothing of its class.
    """
    found: dict[int, list[int]] = defaultdict(list)
    for digest, label in before.items():
        if digest in now:
            found[label].append(now[digest])
    for label, given in sorted(found.items()):
        most = max(sorted(set(given)), key=given.count)
        if most != label and given.count(most) > max(1, len(given) / 2):
            return label, most
    return None
