"""Operations allowed only where nothing depends on spikes, and arithmetic of batch sizes."""

from __future__ import annotations

from snnconvert.conversion.rules.table import SYMBOLIC, Rule, add, register

add(Rule("static"), """
    snnconvert.quantized_weight.default snnconvert.threshold_at.default
    _weight_norm.default _weight_norm_interface.default
    embedding.default arange.default arange.start
    arange.start_step linspace.default zeros.default ones.default full.default empty.memory_format
    eye.default eye.m scalar_tensor.default one_hot.default tril.default triu.default
    sym_size.int floor.default ceil.default round.default trunc.default sign.default
    remainder.Scalar remainder.Tensor fmod.Scalar fmod.Tensor floor_divide.default div.Tensor_mode
    fill.Scalar fill.Tensor meshgrid.default meshgrid.indexing index_put.default
    broadcast_tensors.default""")  # fmt: skip
for name, function in SYMBOLIC.items():
    register(name, Rule("static", function=function))
