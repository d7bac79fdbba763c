"""Networks that this project trains. Importing the package registers every file's kind."""

from __future__ import annotations

import importlib
import pkgutil

from snnconvert.models.family import MODELS, Family

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

from snnconvert.models.spiking_config import SpikingUNetConfig  # noqa: E402 (registers first)
from snnconvert.models.spiking_unet import SpikingUNet  # noqa: E402

__all__ = ["MODELS", "Family", "SpikingUNet", "SpikingUNetConfig"]
