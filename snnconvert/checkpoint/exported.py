"""ONNX files that `snnconvert export` wrote, where checkpoints are asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.checkpoint.exported_facts import PREFIX, ExportedFacts
from snnconvert.checkpoint.exported_network import ExportedNetwork, open_session
from snnconvert.checkpoint.format import FORMAT, VERSION
from snnconvert.common.inputs import inputs_of
from snnconvert.errors import CheckpointError


def metadata_of(path: str | Path) -> dict[str, str]:
    """The metadata of an ONNX file; empty where `path` is none that can be read."""
    if Path(path).suffix.lower() != ".onnx":
        return {}
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), load_external_data=False)
    except (OSError, DecodeError, ValueError):
        return {}
    return {entry.key: entry.value for entry in model.metadata_props}


def is_exported(path: str | Path) -> bool:
    """Whether `path` is an ONNX file that we exported: it carries our metadata."""
    return f"{PREFIX}format" in metadata_of(path)


@dataclass(frozen=True, eq=False)
class ExportedFile(Checkpoint):
    """An exported network as the checkpoint that commands draw from and evaluate."""

    facts: ExportedFacts = field(kw_only=True)

    @classmethod
    def read(cls, path: str | Path) -> ExportedFile:
        """What the file at `path` says of itself. CheckpointError where it is none of ours."""
        metadata = metadata_of(path)
        if not metadata:
            raise CheckpointError(f"{path}: is no ONNX file that snnconvert exported")
        facts = ExportedFacts.from_metadata(metadata, str(path))
        noise = (
            None if facts.schedule is None else torch.tensor(facts.schedule, dtype=torch.float64)
        )
        known = facts.prediction is not None or noise is not None or bool(facts.ranges)
        denoiser = {"prediction": facts.prediction, "alphas_cumprod": noise, **facts.ranges}
        content: dict[str, Any] = {
            "format": FORMAT, "version": VERSION, "stage": "snn", "networks": {"snn": {}},
            "recipe": facts.recipe, "probe": None, "provenance": {},
            **({"denoiser": denoiser} if known else {}),
        }  # fmt: skip
        return cls(content, str(path), facts=facts)

    def entry(self, stage: str | None = None) -> dict[str, Any]:
        """What tells this network from others: the bytes of its file."""
        super().entry(stage)
        return {"onnx": self.path.read_bytes().hex()}

    def network(self, stage: str | None = None) -> ExportedNetwork:
        super().entry(stage)
        session = open_session(self.source, self.source)
        return ExportedNetwork(session, self.facts, self.source).eval()

    def image_shape(self, network: nn.Module) -> tuple[int, int, int]:
        shape = (inputs_of(network).shapes or ((),))[0]
        if len(shape) != 4:
            raise CheckpointError(f"{self.source}: takes no images [B, C, H, W], draws none")
        return shape[1], shape[2], shape[3]


def open_checkpoint(path: str | Path) -> Checkpoint:
    """The checkpoint at `path`, or the exported network that stands for one.

    Raises:
        CheckpointError: neither, or damaged.
    """
    return ExportedFile.read(path) if is_exported(path) else Checkpoint.read(path)
