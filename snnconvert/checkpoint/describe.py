"""What a recipe or a checkpoint is, in words."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.checkpoint.recipe import Recipe
from snnconvert.conversion.capture.captured_network import CapturedNetwork
from snnconvert.errors import printable, shortened
from snnconvert.neurons.spiking import CallRecord, spiking
from snnconvert.operators.clip import QuantizedClip

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
    kind = f"{len(sites)} quantised activations" if sites else "ReLU activations"
    return f"{weight_count:,} weights, {kind}"


def describe_checkpoint(checkpoint: Checkpoint) -> str:
    """Several lines: stages, networks, provenance, recipe."""
    content, probe = checkpoint.content, checkpoint.probe
    if checkpoint.exported is not None:
        takes = ", ".join(map(str, map(list, checkpoint.exported.program.takes.shapes or ())))
        told = f"exported by PyTorch, {describe_network(checkpoint.network())}, takes {takes}"
        return shortened(printable(f"{checkpoint.source}: {told}"))
    lines = [f"{checkpoint.source}: stage {checkpoint.stage}, version {content['version']}"]
    lines += [
        f"  {stage}: {describe_network(checkpoint.network(stage))}" for stage in checkpoint.stages
    ]
    if probe is not None:
        lines.append(f"  probe: {len(probe)} images {list(probe.shape[1:])}")
    if checkpoint.prediction is not None and not checkpoint.is_classifier:
        lines.append(f"  predicts: {checkpoint.prediction}")
    for stage, entry in checkpoint.moments.items():
        measured = {"eps_second_moment": entry, "correction": entry.get("correction", {})}
        lines += [
            f"  {stage}: {name} of {found['images']} images at {found['times']} times"
            for name, found in measured.items()
            if name in entry
        ]
    for title in ("provenance", "recipe"):
        lines += [f"  {title}:", *(f"    {k} = {v}" for k, v in content[title].items())]
    return "\n".join(shortened(printable(line)) for line in lines)


def mean_call(history: Sequence[CallRecord]) -> dict[str, float]:
    """How many calls a spiking network had, and what one took on average; no calls: zeros."""
    taken = {
        name: sum(getattr(call, name) for call in history) / max(len(history), 1)
        for name in ("steps", "spikes", "counts")
    }
    return {"calls": len(history), "carried": sum(call.carried for call in history), **taken}


def describe_history(history: Sequence[CallRecord]) -> str:
    """The same in one line."""
    found = mean_call(history)
    if not found["steps"]:
        return f"{found['calls']} calls by counts: no clock ran, no spikes were fired one by one"
    return (
        f"{found['calls']} calls, {found['carried']} of them carried on: "
        f"{found['steps']:.1f} clock steps, {found['spikes']:,.0f} spikes per image and call, "
        f"{found['spikes'] / max(found['counts'], 1.0):.2f} spikes per count"
    )
