"""One table: what each ATen operation does to spikes. `table.py` says what the kinds mean."""

from snnconvert.conversion.rules import accumulated, fires, linear, static  # noqa: F401 (register)
from snnconvert.conversion.rules.table import (
    NEURON,
    QUANTIZED_CLIP,
    RULES,
    Activation,
    Rule,
    function_of,
    is_commuting,
    register,
    rule_of,
)

__all__ = ["NEURON", "QUANTIZED_CLIP", "RULES", "Activation", "Rule", "function_of",
           "is_commuting", "register", "rule_of"]  # fmt: skip
