"""One table: what each ATen operation does to spikes, and all else that is known of it.

`rule.py` says what a rule holds, `registry.py` how operations find theirs.
"""

from snnconvert.conversion.graph.nodes import NEURON, QUANTIZED_CLIP
from snnconvert.conversion.rules import (  # noqa: F401 (register)
    accumulated,
    fires,
    linear,
    moving,
    refused,
    static,
)
from snnconvert.conversion.rules.registry import (
    REMEDY,
    RULES,
    argument_at,
    converts,
    function_of,
    has_weights,
    is_commuting,
    is_number,
    listed_rule,
    macs_of,
    register,
    rule_of,
    unregister,
    with_bias,
)
from snnconvert.conversion.rules.rule import Activation, Rule, View

__all__ = ["NEURON", "QUANTIZED_CLIP", "REMEDY", "RULES", "Activation", "Rule", "View",
           "argument_at", "converts", "function_of", "has_weights", "is_commuting", "is_number",
           "listed_rule", "macs_of", "register", "rule_of", "unregister", "with_bias"]  # fmt: skip
