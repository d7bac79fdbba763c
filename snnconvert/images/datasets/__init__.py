"""Images by name. Each file of this package registers one source; importing it finds them.

The files import PyTorch when images are read, so that `--help`, which lists them, is quick.

A source is a function `(root, image_size, train) -> Images`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from snnconvert.common.registry import Registry

if TYPE_CHECKING:
    from snnconvert.images.pixels import Images

DATASETS: Registry[Callable[[Path, int, bool], Images]] = Registry("dataset")

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
