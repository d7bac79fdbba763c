"""Files: one dictionary of plain values and tensors, written atomically, read without pickle.

format, version   "snnconvert", 1
stage             "ann", "qann", "snn" or "spiking": the most advanced network inside
networks          {stage: {"model": name, "config": {...}, "state": {name: tensor}}}; of the model
                  "captured", which no class makes, the program is part of the configuration
recipe            the resolved recipe of the training, or {}
probe             uint8 [N, C, H, W]: held-out real images, for calibration and reports
provenance        data, seed, steps, images seen, versions
moments           optional: {stage: {"eps_second_moment": [diffusion_steps], and how measured;
                  "correction": {"slope", "mean", "variance", and how measured}}}
denoiser          optional, of networks without a recipe: {"prediction", "alphas_cumprod"}, and
                  "data_range", (low, high) of the clean data, and "t_range", (first, last) of the
                  times that they take, where known
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from snnconvert.checkpoint import STAGES
from snnconvert.checkpoint.foreign import described
from snnconvert.common.denoises import is_pair
from snnconvert.errors import CheckpointError
from snnconvert.files.atomic import Writer, check_destination, write_atomically
from snnconvert.files.tensors import read_file

FORMAT, VERSION = "snnconvert", 1
KEYS = {"format", "version", "stage", "networks", "recipe", "probe", "provenance"}
OPTIONAL = {"moments", "denoiser"}
RANGES = ("data_range", "t_range")  # of a denoiser


def save_checkpoint(path: str | Path, content: dict[str, Any]) -> None:
    """Write `content` (keys as above; format and version are added) atomically to `path`."""
    write_atomically(check_destination(path), writer_of(content))


def writer_of(content: dict[str, Any]) -> Writer:
    """What writes a checkpoint's `content` into an open file."""
    full = {"recipe": {}, "probe": None, "provenance": {}, **content}
    full |= {"format": FORMAT, "version": VERSION}
    if set(full) - OPTIONAL != KEYS:
        raise ValueError(f"checkpoint keys: found {sorted(full)}, needed {sorted(KEYS)}")
    return lambda file: torch.save(full, file)


def content_of_tensors(stage: str, state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """The content of a file of which only the tensors of one network are known."""
    return {
        "format": FORMAT, "version": VERSION, "stage": stage, "recipe": {}, "probe": None,
        "networks": {stage: {"config": {}, "state": state}}, "provenance": {},
    }  # fmt: skip


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The checked content of a snnconvert checkpoint.

    Raises:
        CheckpointError: as `read_file`, or another format, a newer version, wrong or missing keys.
    """
    content = read_file(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: {described(content)}")
    version = content.get("version")
    if type(version) is not int or version != VERSION:
        raise CheckpointError(
            f"{path}: has version {version!r}, this snnconvert reads {VERSION}: "
            "upgrade snnconvert, or write the file again with this one"
        )
    if set(content) - OPTIONAL != KEYS:
        wrong = ", ".join(sorted(map(str, (set(content) - OPTIONAL) ^ KEYS)))
        raise CheckpointError(f"{path}: missing or unknown keys: {wrong}")
    for key, fits in FORMS.items():
        if key in content and not fits(content[key]):
            raise CheckpointError(f"{path}: its {key} is not of a known form; the file is damaged")
    if content["stage"] not in content["networks"]:
        held = ", ".join(content["networks"]) or "none"
        raise CheckpointError(f"{path}: stage {content['stage']!r}, but it holds: {held}")
    return content


def is_table(value: object) -> bool:
    """A dictionary with names as its keys."""
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def is_networks(value: object) -> bool:
    """{stage: {"config": {...}, "state": {name: tensor}}}, with "model" unless it is "unet"."""
    return is_table(value) and all(
        stage in STAGES
        and is_table(network)
        and set(network) - {"model"} == {"config", "state"}
        and isinstance(network.get("model", ""), str)
        and is_table(network["config"])
        and is_table(network["state"])
        and all(is_plain_tensor(tensor) for tensor in network["state"].values())
        for stage, network in value.items()  # type: ignore[attr-defined]
    )


def is_plain_tensor(value: object) -> bool:
    """A tensor of numbers that lie in memory one beside the other."""
    return (
        isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        and not value.is_nested
    )


def is_probe(value: object) -> bool:
    """None or uint8 images [N, C, H, W]."""
    return (
        value is None
        or (
            is_plain_tensor(value)
            and value.ndim == 4  # type: ignore[attr-defined]
            and value.dtype == torch.uint8  # type: ignore[attr-defined]
            and min(value.shape[1:]) > 0  # type: ignore[attr-defined]
        )
    )


def is_moments(value: object) -> bool:
    """{stage: {"eps_second_moment": float tensor [diffusion_steps], ...}}."""
    return is_table(value) and all(
        is_table(entry)
        and ("eps_second_moment" in entry or "correction" in entry)
        and ("eps_second_moment" not in entry or is_curve(entry["eps_second_moment"]))
        and ("correction" not in entry or is_correction(entry["correction"]))
        for entry in value.values()  # type: ignore[attr-defined]
    )


def is_curve(value: object, axes: int = 1) -> bool:
    """A float tensor [diffusion_steps], or [diffusion_steps, C], of finite numbers."""
    return (
        is_plain_tensor(value)
        and value.is_floating_point()  # type: ignore[attr-defined]
        and value.ndim == axes  # type: ignore[attr-defined]
        and value.numel() > 0  # type: ignore[attr-defined]
        and bool(value.isfinite().all())  # type: ignore[attr-defined]
    )


def is_correction(value: object) -> bool:
    """{"slope", "variance": [diffusion_steps], "mean": [diffusion_steps, C], ...}."""
    return is_table(value) and all(
        is_curve(value.get(key), 2 if key == "mean" else 1)  # type: ignore[attr-defined]
        for key in ("slope", "mean", "variance")
    )


def is_denoiser(value: object) -> bool:
    """{"prediction": str or None, "alphas_cumprod": float tensor or None}, and its ranges."""
    return (
        is_table(value)
        and set(value) - set(RANGES) == {"prediction", "alphas_cumprod"}  # type: ignore[call-overload]
        and is_pair(value.get("t_range", (0.0, 1.0)))  # type: ignore[attr-defined]
        and is_pair(value.get("data_range", (0.0, 1.0)))  # type: ignore[attr-defined]
        and rises(value.get("data_range", (0.0, 1.0)))  # type: ignore[attr-defined]
        and isinstance(value["prediction"], str | None)  # type: ignore[index]
        and (value["alphas_cumprod"] is None or is_curve(value["alphas_cumprod"]))  # type: ignore[index]
    )


def is_stage(value: object) -> bool:
    return isinstance(value, str)


def rises(pair: tuple[float, float]) -> bool:
    return pair[0] < pair[1]


FORMS: dict[str, Callable[[object], bool]] = {
    "stage": is_stage,
    "networks": is_networks,
    "recipe": is_table,
    "provenance": is_table,
    "probe": is_probe,
    "moments": is_moments,
    "denoiser": is_denoiser,
}
