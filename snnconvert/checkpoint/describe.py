"""What a recipe or a checkpoint is, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.checkpoint.recipe import Recipe
from snnconvert.common.words import counted
from snnconvert.conversion.capture.captured_network import CapturedNetwork
from snnconvert.errors import printable, shortened
from snnconvert.neurons.spiking import CallRecord, spiking
from snnconvert.operators.clip import QuantizedClip

PLAIN = (bool, int, float, str, type(None))
CHANNELS = {"fashion-mnist": 1}  # all other sources give colour


def describe_recipe(recipe: Recipe) -> str:
    """Size of the network and length of the training, as TOML comments."""
    with torch.device("meta"):  # sizes only
        network = recipe.family.build(
            recipe.network(CHANNELS.get(recipe.dataset, 3), recipe.stages[-1])
        )
    steps = sum(map(recipe.steps_of, recipe.stages))
    return f"# {describe_network(network)}\n# {steps} steps, {steps * recipe.batch_size} images"


def describe_network(network: nn.Module) -> str:
    """One line: size and kind."""
    if (own := spiking(network)) is not None:
        return own.description
    if isinstance(network, CapturedNetwork):
        held = sum(value.numel() for value in network.parameters())
        return f"{held:,} weights, {network.extra_repr()}"
    sites = [m for m in network.modules() if isinstance(m, QuantizedClip)]
    weight_count = sum(
        p.numel() for n, p in network.named_parameters() if not n.endswith("ceiling")
    )
    kind = counted(len(sites), "quantised activation") if sites else "ReLU activations"
    return f"{weight_count:,} weights, {kind}"


def checkpoint_facts(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a file holds, as plain values: stages, networks, what was measured, provenance, recipe.

    Of a `.pt2` only `file`, `networks` and `takes`, the shapes of its inputs.
    """
    networks = {s: describe_network(checkpoint.network(s)) for s in checkpoint.stages}
    if checkpoint.exported is not None:
        takes = [list(shape) for shape in checkpoint.exported.program.takes.shapes or ()]
        return {"file": checkpoint.source, "networks": networks, "takes": takes}
    content, probe = checkpoint.content, checkpoint.probe
    predicts = None if checkpoint.is_classifier else checkpoint.prediction
    moments: dict[str, dict[str, Any]] = {}
    for stage, entry in checkpoint.moments.items():
        measured = {"eps_second_moment": entry, "correction": entry.get("correction", {})}
        moments[stage] = {name: {key: found[key] for key in ("images", "times")}
                          for name, found in measured.items() if name in entry}  # fmt: skip
    return {
        "file": checkpoint.source, "stage": checkpoint.stage, "version": content["version"],
        "networks": networks, "probe": None if probe is None else list(probe.shape),
        "predicts": predicts, "moments": moments,
        "provenance": plain(content["provenance"]), "recipe": plain(content["recipe"]),
    }  # fmt: skip


def plain(value: object) -> Any:
    """`value` as JSON has it; what that cannot hold, as Python writes it."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    finite = not isinstance(value, float) or math.isfinite(value)
    return value if isinstance(value, PLAIN) and finite else str(value)


def describe_checkpoint(facts: dict[str, Any]) -> str:
    """Several lines of `checkpoint_facts`."""
    networks = facts["networks"].items()
    if "takes" in facts:
        takes = ", ".join(map(str, facts["takes"]))
        told = ", ".join(kind for _, kind in networks)
        return shortened(printable(f"{facts['file']}: exported by PyTorch, {told}, takes {takes}"))
    lines = [f"{facts['file']}: stage {facts['stage']}, version {facts['version']}"]
    lines += [f"  {stage}: {kind}" for stage, kind in networks]
    if facts["probe"] is not None:
        lines.append(f"  probe: {facts['probe'][0]} images {facts['probe'][1:]}")
    if facts["predicts"] is not None:
        lines.append(f"  predicts: {facts['predicts']}")
    lines += [
        f"  {stage}: {name} of {found['images']} images at {found['times']} times"
        for stage, measured in facts["moments"].items() for name, found in measured.items()
    ]  # fmt: skip
    for title in ("provenance", "recipe"):
        lines += [f"  {title}:", *(f"    {k} = {v}" for k, v in facts[title].items())]
    return "\n".join(shortened(printable(line)) for line in lines)


def history_means(history: Sequence[CallRecord]) -> dict[str, float]:
    """Of a spiking network's calls: how many, how many carried on, and means of a call."""
    calls = len(history)
    found = {
        name: sum(getattr(call, name) for call in history) / max(calls, 1)
        for name in ("steps", "spikes", "counts")
    }
    return {"calls": calls, "carried": sum(call.carried for call in history), **found}


def describe_history(history: Sequence[CallRecord]) -> str:
    """One line: what the calls of a spiking network took on average."""
    mean = history_means(history)
    if not mean["steps"]:
        return f"{mean['calls']} calls by counts: no clock ran, no spikes were fired one by one"
    return (
        f"{mean['calls']} calls, {mean['carried']} of them carried on: {mean['steps']:.1f} clock "
        f"steps, {mean['spikes']:,.0f} spikes per image and call, "
        f"{mean['spikes'] / max(mean['counts'], 1.0):.2f} spikes per count"
    )
