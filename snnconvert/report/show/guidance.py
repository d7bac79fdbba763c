"""The search for a threshold scale as a person reads it."""

from __future__ import annotations

from typing import Any


def format_search(found: dict[str, Any]) -> str:
    """The result as a person reads it in a terminal."""
    lines = [f"{'scale':>8}  {found['metric']}"]
    for row in found["rows"]:
        mark = "  <- lowest" if row == found["best"] else ""
        lines.append(f"{row['scale']:8.4f}  {row['fid']:.4f}{mark}")
    of, against = found["of"], found["against"]
    lines.append(
        f"of {found['samples']} images each of {of['source']} ({of['stage']}, {of['solver']}, "
        f"{of['steps']} steps, seed {of['seed']}) against {against['samples']} images"
    )
    return "\n".join(lines + [f"note     {note}" for note in found["notes"]])
