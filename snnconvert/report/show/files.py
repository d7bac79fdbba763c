"""A report as files: one HTML page, and the same figures as JSON and CSV beside it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from snnconvert.errors import InputError
from snnconvert.files.atomic import Writer, check_destination, json_writer, write_together
from snnconvert.report.examine import Examination, csv_rows
from snnconvert.report.show.page import page

SUFFIXES = (".html", ".json", ".csv")


def report_paths(path: str | Path) -> dict[str, Path]:
    """The three files of a report that is asked for as one of them, by suffix.

    Raises:
        InputError: another suffix, or a file that cannot be written.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: found {path.suffix or 'no suffix'!r}, allowed are "
                         f"{', '.join(SUFFIXES)} (all three are written)")  # fmt: skip
    return {suffix: check_destination(path.with_suffix(suffix)) for suffix in SUFFIXES}


def report_writers(
    found: Examination, paths: dict[str, Path], name: str
) -> dict[str | Path, Writer]:  # fmt: skip
    """What writes each of `report_paths`; `name` is the network's, for the page."""
    rows = io.StringIO()
    csv.writer(rows, lineterminator="\n").writerows(csv_rows(found.content))
    text = page(found.content, found.images, name).encode()
    return {
        paths[".html"]: lambda file: file.write(text),
        paths[".json"]: json_writer(found.content),
        paths[".csv"]: lambda file: file.write(rows.getvalue().encode()),
    }


def write_report(found: Examination, path: str | Path, name: str = "network") -> dict[str, Path]:
    """Write page, JSON and CSV, all or none; their paths by suffix. InputError as above."""
    paths = report_paths(path)
    write_together(report_writers(found, paths, name))
    return paths
