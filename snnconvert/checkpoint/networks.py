"""Networks from files and back."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.checkpoint.entries import stored
from snnconvert.checkpoint.exported import is_exported, open_checkpoint
from snnconvert.checkpoint.format import RANGES, save_checkpoint
from snnconvert.common.denoises import facts_of, with_facts
from snnconvert.conversion.capture.captured_network import CapturedNetwork
from snnconvert.errors import InputError
from snnconvert.images.pixels import UNIT_RANGE

KEPT = (
    "recipe",
    "probe",
    "provenance",
    "denoiser",
)  # taken over from the origin
Like = Checkpoint | dict[str, Any] | None


def load(
    path: str | Path, stage: str | None = None, *, example_inputs: Any = None,
    outputs: Sequence[str] | None = None,
) -> nn.Module:  # fmt: skip
    """The network in a checkpoint, in evaluation mode.

    A denoiser says what it predicts (`network.prediction`) and by which noise it was trained
    (`network.schedule`), as far as the file knows; `sample` and `convert` go by that.

    Args:
        path: a `.pt` file written by snnconvert, a `.pt2` file written by torch.export.save (read
            as data: no code in it runs), or an `.onnx` file: one that `export_onnx` wrote is run by
            onnxruntime, one of any other exporter becomes a network to convert (held against
            onnxruntime).
        stage: "ann", "qann", "snn" or "spiking" where the file holds several; default the most
            advanced.
        example_inputs: of an ONNX file whose axes may be of any size: the arguments of one call.
        outputs: of an ONNX file: names of inner values at which the network shall end.

    Raises:
        CheckpointError: no readable checkpoint, or it holds no such stage.
        InputError: example inputs are needed, or do not fit; no such outputs.
        UnsupportedOpError: an ONNX file with operations that are not known.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"path: found {type(path).__name__}, needed is the path of a file")
    if str(path).endswith(".onnx") and not is_exported(path):
        from snnconvert.conversion.capture.onnx.read import read_onnx

        return CapturedNetwork(read_onnx(path, example_inputs, outputs)).eval()
    if example_inputs is not None or outputs is not None:
        raise InputError(f"{path}: example_inputs and outputs are for .onnx files of other origin")
    return network_of(open_checkpoint(path), stage)


def network_of(checkpoint: Checkpoint, stage: str | None = None) -> nn.Module:
    """A network of a checkpoint that is read already; as `load` gives it."""
    return with_facts(checkpoint.network(stage), known_of(checkpoint))


def save(network: nn.Module, path: str | Path, like: Like = None) -> None:
    """Write a network, atomically, so that `load` reads it without code.

    Args:
        network: a converted network, a quantised one (`quantize`), one that `load` gave, or one of
            `snnconvert.models`.
        path: of the file.
        like: the checkpoint it came from, or its content; recipe, probe and provenance carry over.

    Raises:
        InputError: a network of another kind, or a file that cannot be written.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(
            f"path: found {type(path).__name__}, needed is the path of a file, which is written "
            "whole or not at all; write a temporary file and read its bytes"
        )
    save_checkpoint(path, content_of(network, like))


def content_of(network: nn.Module, like: Like = None) -> dict[str, Any]:
    """What `save` writes."""
    stage, entry = stored(network)
    held = like.content if isinstance(like, Checkpoint) else like
    kept = {key: held[key] for key in KEPT if key in held} if held else {}
    if not kept.get("recipe") and "denoiser" not in kept:
        kept |= denoiser_entry(facts_of(network))
    provenance = {**kept.get("provenance", {}), "torch": str(torch.__version__)}
    return {**kept, "provenance": provenance, "stage": stage, "networks": {stage: entry}}


def known_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """What is known of a checkpoint's denoisers, as `facts_of` gives it; {} of a classifier."""
    if checkpoint.is_classifier:
        return {}
    kept = checkpoint.content.get("denoiser", {})
    known = checkpoint.has_recipe or kept.get("alphas_cumprod") is not None
    found = {
        "prediction": checkpoint.prediction,
        "schedule": checkpoint.schedule() if known else None,
        **{name: kept.get(name) for name in RANGES},
        **({"data_range": UNIT_RANGE} if checkpoint.has_recipe else {}),
    }
    return {name: value for name, value in found.items() if value is not None}


def denoiser_entry(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a file that says what is known of a denoiser; {} where nothing is."""
    if not facts:
        return {}
    noise = facts["schedule"].alphas_cumprod if "schedule" in facts else None
    entry = {"prediction": facts.get("prediction"), "alphas_cumprod": noise}
    entry |= {name: facts[name] for name in RANGES if name in facts}
    return {"denoiser": entry}
