"""An evaluation as a person reads it in a terminal."""

from __future__ import annotations

from typing import Any


def format_accuracy(content: dict[str, Any]) -> str:
    """The accuracy of a classifier as a person reads it in a terminal."""
    return (
        f"accuracy = {100 * content['accuracy']:.2f} %\n"
        f"of       {content['samples']} images of {content['against']}: {content['of']}, "
        f"{content['stage']}"
    )


def format_evaluation(content: dict[str, Any]) -> str:
    """The result as a person reads it in a terminal."""
    of, against, score = content["of"], content["against"], content["inception_score"]
    lines = [f"{content['metric']} = {content['fid']:.4f}"]
    if score is None:
        lines.append(f"Inception Score: none, {content['inception_score_missing']}")
    else:
        splits = f"{score['splits']} splits"
        lines.append(f"Inception Score = {score['mean']:.4f} ± {score['std']:.4f} ({splits})")
    if content["precision_recall"] is not None:
        near = content["precision_recall"]
        lines.append(
            f"precision = {near['precision']:.4f}, recall = {near['recall']:.4f} "
            f"(Inception features, {near['real_images']} real images)"
        )
    facts = ", ".join(
        f"{key} {value}"
        for key, value in of.items()
        if key not in ("kind", "source", "spiking", "sha256", "schedule")
        and value not in (None, {})
    )
    lines.append(f"of       {content['samples']} images of {of['source']}: {facts}")
    if of.get("spiking"):
        lines.append("spiking  " + ", ".join(f"{k} {v}" for k, v in of["spiking"].items()))
    if of.get("sha256"):
        lines.append(f"sha256   {of['sha256']}")
    lines.append(
        f"against  {against['samples'] or 'unknown number of'} images: {against['source']}"
    )
    lines.append(f"weights  Inception {content['weights']}")
    lines.extend(f"note     {note}" for note in content["notes"])
    if content["command"]:
        lines.append(f"command  {content['command']}")
    return "\n".join(lines)
