"""Operations allowed only before spikes or behind the last weights; arithmetic of batch sizes."""

from __future__ import annotations

import math
import operator

import torch

from snnconvert.conversion.rules.registry import add, register
from snnconvert.conversion.rules.rule import Rule
from snnconvert.operators import clip, threshold_table, weights  # noqa: F401 (define ours)

add(Rule("static"), """
    snnconvert.quantized_weight.default snnconvert.threshold_at.default
    _weight_norm.default _weight_norm_interface.default
    arange.default arange.start
    arange.start_step linspace.default zeros.default ones.default full.default empty.memory_format
    eye.default eye.m scalar_tensor.default tril.default triu.default
    fill.Scalar fill.Tensor""")  # fmt: skip
# private ones that exports and decompositions give (`by_default` takes public ones only)
add(Rule("static"), """
    _embedding_bag.default _embedding_bag_forward_only.default _pdist_forward.default
    _unique2.default _linalg_det.default _linalg_slogdet.default _linalg_svd.default
    _linalg_eigh.default _linalg_solve_ex.default _linalg_eigvals.default
""")  # fmt: skip
add(Rule("static", number=True), "sym_size.int")
for function in (
    operator.mul, operator.add, operator.sub, operator.floordiv, operator.truediv,
    operator.neg, operator.mod, operator.pow,
    math.trunc, math.floor, math.ceil,
    torch.sym_float, torch.sym_int, torch.sym_max, torch.sym_min, torch.sym_sqrt,
):  # fmt: skip
    register(f"operator.{function.__name__}", Rule("static", function=function, number=True))
