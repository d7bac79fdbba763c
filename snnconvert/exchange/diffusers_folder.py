"""Models in the folders that diffusers writes."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snnconvert.common.denoises import with_facts
from snnconvert.errors import CheckpointError, InputError
from snnconvert.exchange.diffusers import sampling_of

SCHEDULER = ("scheduler", "scheduler_config.json")  # of a pipeline, beside the model's folder
EXAMPLES, TOKENS = 2, 4  # rows of example inputs, and words of each
SIZES = {  # inputs of one vector, a sample or a word, and where a config says how long it is
    "encoder_hidden_states": ("joint_attention_dim", "caption_channels", "cross_attention_dim"),
    "pooled_projections": ("pooled_projection_dim",),
}  # fmt: skip


def load_diffusers(path: str | Path) -> nn.Module:
    """The model in a folder that diffusers wrote (`config.json`, `.safetensors`), to be converted.

    Where the folder beside it holds the pipeline's scheduler, the model knows what it predicts
    (`prediction`) and the noise that it was trained with (`schedule`).

    Raises:
        CheckpointError: no such folder, or its files do not fit together.
        InputError: diffusers is missing.
    """
    folder = Path(path)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        name = str(config["_class_name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: is no folder of a diffusers model (its config.json: {error}); of a pipeline "
            "name the folder inside, such as PIPELINE/unet"
        ) from error
    kind = getattr(package(), name, None)
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise CheckpointError(f"{path}: holds a {name}, which this diffusers has no model for")
    try:
        model = kind.from_pretrained(  # type: ignore[attr-defined]
            str(folder), local_files_only=True, use_safetensors=True, low_cpu_mem_usage=False
        )
    except Exception as error:  # whatever diffusers raises at missing and damaged weights
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path}: diffusers cannot read it ({reason})") from error
    result: nn.Module = model.eval()
    return with_facts(result, scheduled(folder))


def package() -> Any:
    """The package diffusers. InputError where it is missing."""
    try:
        import diffusers
    except ImportError as error:
        raise InputError("diffusers is missing: pip install 'snnconvert[diffusers]'") from error
    return diffusers


def scheduled(folder: Path) -> dict[str, Any]:
    """Prediction and schedule by the scheduler of the pipeline that a model's folder is part of.

    {} where there is none, or one whose noise is not variance-preserving.
    """
    path = folder.resolve().parent.joinpath(*SCHEDULER)
    try:
        found = sampling_of(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError):  # InputError is a ValueError
        return {}
    return {name: found[name] for name in ("prediction", "schedule")}


def example_call(model: nn.Module) -> tuple[Tensor, ...]:
    """Arguments of one call of a model of diffusers, of the sizes that its config says.

    Raises:
        InputError: it takes more than a noised image, a time, text and a class.
    """
    config = dict(getattr(model, "config", {}))
    generator = torch.Generator().manual_seed(0)
    values: list[Tensor] = []
    parameters = inspect.signature(model.forward).parameters
    known = [name for name in parameters if name in ("class_labels", *SIZES)]
    wanted = {name for name in known if _size(config, name)}
    for name, parameter in parameters.items():
        if not values:
            side = config.get("sample_size") or 0
            height, width = side if isinstance(side, (list, tuple)) else (side, side)
            shape = [EXAMPLES, config.get("in_channels", 0), height, width]
            if min(shape) < 1:
                raise InputError(f"{type(model).__name__}: its config says no sample_size; give "
                                 "--calibrate a .pt file with a tuple of its inputs")  # fmt: skip
            values.append(torch.randn(shape, generator=generator))
        elif name == "timestep":
            values.append(torch.linspace(1.0, 999.0, EXAMPLES))
        elif name == "class_labels" and name in wanted:
            values.append(torch.arange(EXAMPLES))
        elif name in wanted:
            words = [] if name == "pooled_projections" else [TOKENS]
            size = _size(config, name)
            values.append(torch.randn([EXAMPLES, *words, size], generator=generator))
        elif parameter.default is inspect.Parameter.empty:
            raise InputError(
                f"{type(model).__name__}: its input {name!r} is not known; give --calibrate a .pt "
                "file with a tuple of its inputs"
            )
        else:
            break
    return tuple(values)


def _size(config: dict[str, Any], name: str) -> int:
    """How long an input's vectors are, or how many classes there are; 0 where it takes none."""
    if name == "class_labels":
        return int(config.get("num_embeds_ada_norm") or config.get("num_class_embeds") or 0)
    return int(next((config[key] for key in SIZES[name] if config.get(key)), 0))
