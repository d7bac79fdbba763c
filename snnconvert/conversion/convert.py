"""Rewrite a captured network: its quantised activations become integrate-and-fire neurons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from snnconvert.conversion.capture import capture
from snnconvert.conversion.check import Problem, find_problems
from snnconvert.conversion.executor import Executor
from snnconvert.conversion.network import SpikingConfig, SpikingNetwork
from snnconvert.conversion.program import Node, Program, Ref
from snnconvert.conversion.rules import NEURON, QUANTIZED_CLIP
from snnconvert.errors import InputError, UnsupportedOpError


def check(model: nn.Module, example_inputs: Sequence[Tensor]) -> list[Problem]:
    """Everything that keeps `model` from being converted; an empty list when nothing does."""
    return find_problems(capture(model, example_inputs)[0])


def convert(
    model: nn.Module,
    timesteps: int = 4,
    *,
    example_inputs: Sequence[Tensor],
    firing: str = "immediate",
    signed: bool = True,
    settle: int | str | None = None,
    simulate: str = "steps",
    norm: str = "accumulated",
    neuron: str = "if",
) -> SpikingNetwork:
    """The spiking network of a quantised-clip `model`; `model` itself is left as it is.

    Args:
        model: a network whose activations are `snnconvert.quantizer.quantized_clip`.
        timesteps: T; the spiking network computes what `model` with `levels = T` computes.
        example_inputs: arguments of one call, batch first, e.g. `(x, t)`.
        settle: input-free steps of immediate firing, or "auto" (default; 0 for `norm="per_step"`).
        firing, signed, simulate, norm, neuron: see `SpikingConfig`.

    Raises:
        UnsupportedOpError: operations without a rule, all of them by layer.
        InputError: an option out of range, or options that contradict each other.
    """
    if settle is None and norm == "per_step":
        settle = 0
    if isinstance(settle, str):
        if settle != "auto":
            raise InputError(f"settle: found {settle!r}, allowed are integers from 0 up, or 'auto'")
        settle = None
    config = SpikingConfig(
        timesteps=timesteps, firing=firing, signed=signed, simulate=simulate, norm=norm,
        settle=settle, neuron=neuron,
    )  # fmt: skip
    program, constants = capture(model, example_inputs)
    problems = find_problems(program)
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise UnsupportedOpError(f"{type(model).__name__} cannot be converted:{lines}")
    program, constants = fold_constants(program, constants)
    return SpikingNetwork(place_neurons(program, constants), constants, config)


def fold_constants(
    program: Program, constants: dict[str, Tensor]
) -> tuple[Program, dict[str, Tensor]]:
    """Compute once what depends on no input (quantised weights); drop what nobody reads."""
    varying = program.downstream_of(set(program.inputs))
    fixed = Program((), tuple(n for n in program.nodes if n.name not in varying), [])
    with torch.no_grad():
        values = Executor(fixed).start(constants, ())
    nodes = tuple(n for n in program.nodes if n.name in varying)
    read = {name for node in nodes for name in node.refs}
    kept = {name: values[name] for name in values if name in read}
    return replace(program, nodes=nodes), kept


def place_neurons(program: Program, constants: dict[str, Tensor]) -> Program:
    """Replace every quantised clip by a neuron with the learned ceiling as its threshold."""
    nodes = []
    for node in program.nodes:
        if node.op == QUANTIZED_CLIP:
            source, ceiling, _levels, *rest = node.args
            if not isinstance(ceiling, Ref) or ceiling.name not in constants:
                raise UnsupportedOpError(f"{node.layer}: its ceiling is computed, not learned")
            if not bool((constants[ceiling.name] > 0).all()):
                raise InputError(f"{node.layer}: its ceiling is not positive; train it again")
            args = (source, ceiling.name, bool(rest and rest[0]))
            node = Node(node.name, NEURON, args, {}, node.layer)
        nodes.append(node)
    return replace(program, nodes=tuple(nodes))
