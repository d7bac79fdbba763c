"""Solvers: functions `(denoiser, x, schedule, times, *, noise, own options) -> x_0`.

`times` is the grid, noisiest first, -1 for clean data; a solver loops over its pairs `(t, s)`.
Each file of this package registers its own; importing the package finds them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable

from torch import Tensor

from snnconvert.registry import Registry

SOLVERS: Registry[Callable[..., Tensor]] = Registry("solver")

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
