"""The search for a threshold scale as a person reads it."""

from __future__ import annotations

from typing import Any

from snnconvert.report.show.columns import columns


def format_search(found: dict[str, Any]) -> str:
    """The result as a person reads it in a terminal."""
    rows = [("scale", found["metric"])]
    for row in found["rows"]:
        mark = "  <- lowest" if row == found["best"] else ""
        rows.append((f"{row['scale']:.4f}", f"{row['fid']:.4f}{mark}"))
    lines = columns(">8 <", rows, gap="  ")
    of, against = found["of"], found["against"]
    lines.append(
        f"of {found['samples']} images each of {of['source']} ({of['stage']}, {of['solver']}, "
        f"{of['steps']} steps, seed {of['seed']}) against {against['samples']} images"
    )
    return "\n".join(lines + [f"note     {note}" for note in found["notes"]])
