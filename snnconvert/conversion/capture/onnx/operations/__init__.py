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
    quantised,
    recurrent,
    reductions,
    shapes,
    signals,
)
from snnconvert.conversion.capture.onnx.operations.images import (  # noqa: F401 (register)
    pools,
    regions,
    resize,
)
from snnconvert.conversion.capture.onnx.operations.microsoft import (  # noqa: F401 (register)
    attention as attention_of_microsoft,
)
from snnconvert.conversion.capture.onnx.operations.microsoft import (  # noqa: F401 (register)
    fused,
)
from snnconvert.conversion.capture.onnx.operations.microsoft import (  # noqa: F401 (register)
    recurrent as recurrent_of_microsoft,
)
from snnconvert.conversion.capture.onnx.operations.quantised import PAIR
from snnconvert.conversion.capture.onnx.steps.registry import OPERATIONS

__all__ = ["OPERATIONS", "PAIR"]
