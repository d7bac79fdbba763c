"""Networks that this project trains. Importing the package registers every file's kind."""

from __future__ import annotations

import importlib
import pkgutil

from snnconvert.models.family import MODELS, Family

for _module in pkgutil.walk_packages(__path__, f"{__name__}."):
    importlib.import_module(_module.name)

from snnconvert.models.spiking.config import SpikingUNetConfig  # noqa: E402 (registers first)
from snnconvert.models.spiking.unet import SpikingUNet  # noqa: E402

__all__ = ["MODELS", "Family", "SpikingUNet", "SpikingUNetConfig"]
