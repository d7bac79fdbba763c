"""One small handler per ONNX operation, by theme; each reads every opset from 7 on."""

from snnconvert.conversion.capture.onnx.operations import (  # noqa: F401 (register)
    activations,
    attention,
    control,
    convolutions,
    elementwise,
    indexing,
    norms,
    padding,
    pools,
    quantised,
    recurrent,
    reductions,
    resize,
    shapes,
)
from snnconvert.conversion.capture.onnx.operations.quantised import PAIR
from snnconvert.conversion.capture.onnx.steps.registry import OPERATIONS

__all__ = ["OPERATIONS", "PAIR"]
