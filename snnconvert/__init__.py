"""Convert artificial neural networks into spiking ones, and say what was lost.

    ann = snnconvert.load("checkpoints/fashion-unet.pt")
    snn = snnconvert.convert(ann, timesteps=4, example_inputs=(x, t))
    report = snnconvert.compare(ann, snn, [(x, t)])

The names below are imported on first use, so that `import snnconvert` stays instant.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from snnconvert.version import __version__ as __version__

if TYPE_CHECKING:
    from snnconvert.checkpoint.checkpoint import Checkpoint
    from snnconvert.checkpoint.networks import load, save
    from snnconvert.checkpoint.recipe import Recipe, load_recipe
    from snnconvert.conversion.convert import check, convert
    from snnconvert.conversion.finetune import finetune
    from snnconvert.conversion.quantize import quantize
    from snnconvert.diffusion.moments import eps_second_moment
    from snnconvert.diffusion.sampling.drawing import invert, sample
    from snnconvert.diffusion.schedule import ContinuousSchedule, Schedule
    from snnconvert.evaluation.evaluate import evaluate
    from snnconvert.evaluation.metrics.cache import statistics_of
    from snnconvert.evaluation.metrics.features import Inception
    from snnconvert.evaluation.metrics.gaussian import Statistics, load_statistics
    from snnconvert.images.sources import open_source
    from snnconvert.report.compare import compare
    from snnconvert.training.loop import train

__all__ = [
    "Checkpoint",
    "ContinuousSchedule",
    "Inception",
    "Recipe",
    "Schedule",
    "Statistics",
    "check",
    "compare",
    "convert",
    "eps_second_moment",
    "evaluate",
    "finetune",
    "invert",
    "load",
    "load_recipe",
    "load_statistics",
    "open_source",
    "quantize",
    "sample",
    "save",
    "statistics_of",
    "train",
]

_HOMES = {
    "Checkpoint": "checkpoint.checkpoint",
    "ContinuousSchedule": "diffusion.schedule",
    "Inception": "evaluation.metrics.features",
    "Recipe": "checkpoint.recipe",
    "Schedule": "diffusion.schedule",
    "Statistics": "evaluation.metrics.gaussian",
    "check": "conversion.convert",
    "compare": "report.compare",
    "convert": "conversion.convert",
    "eps_second_moment": "diffusion.moments",
    "evaluate": "evaluation.evaluate",
    "finetune": "conversion.finetune",
    "invert": "diffusion.sampling",
    "load": "checkpoint.networks",
    "load_recipe": "checkpoint.recipe",
    "load_statistics": "evaluation.metrics.gaussian",
    "open_source": "images.sources",
    "quantize": "conversion.quantize",
    "sample": "diffusion.sampling",
    "save": "checkpoint.networks",
    "statistics_of": "evaluation.metrics.cache",
    "train": "training.loop",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f"snnconvert.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    if importlib.util.find_spec(f"snnconvert.{name}") is None:
        raise AttributeError(f"module 'snnconvert' has no attribute {name!r}")
    return importlib.import_module(f"snnconvert.{name}")  # snnconvert.models.UNet, ...


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
