"""How deep each operation lies, in layers of neurons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snnconvert.conversion.execution.executor import Executor


def depths(executor: Executor) -> dict[str, int]:
    """Neuron layers on the longest path up to and including each node (1 = first layer)."""
    found: dict[str, int] = {}
    for node, run, _ in executor.dynamic:
        before = max((found.get(name, 0) for name in node.refs), default=0)
        found[node.name] = before + (run is None)
    return found


def settling_bound(executor: Executor, neurons: Mapping[str, Any]) -> int:
    """Settle steps that always suffice: once its input rests, a layer needs its count's range."""
    ranges = [cell.levels - cell.lowest for cell in neurons.values()]
    return 1 + max(ranges, default=0) * max(depths(executor).values(), default=0)
