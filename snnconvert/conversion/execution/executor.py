"""Executes a `Program` operation by operation, and re-executes only what has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from snnconvert.conversion.execution.undefined import undefined_on_the_way
from snnconvert.conversion.graph.nodes import Neuron
from snnconvert.conversion.graph.program import Node, Program, Ref
from snnconvert.conversion.graph.values import references, substitute
from snnconvert.conversion.rules import function_of, rule_of

Values = dict[str, Any]


def call_of(node: Node) -> Callable[[Values], Any]:
    """The operation of `node` as a function of all values so far.

    What it makes is where those are: the device of a capture stands for wherever the network is.
    """
    call = function_of(node.op)
    placed = any(isinstance(a, torch.device) for a in (*node.args, *node.kwargs.values()))
    literal = [a for a in node.args if not isinstance(a, Ref)], node.kwargs
    if not placed and not any(True for _ in references(literal)):
        plain = [(a.name, None) if isinstance(a, Ref) else (None, a) for a in node.args]
        fixed = dict(node.kwargs)

        def run_plain(values: Values) -> Any:
            return call(*[values[name] if name else value for name, value in plain], **fixed)

        return run_plain

    def run(values: Values) -> Any:
        def look_up(ref: Ref) -> Any:
            return values[ref.name]

        args = [substitute(a, look_up) for a in node.args]
        kwargs = {k: substitute(v, look_up) for k, v in node.kwargs.items()}
        if placed:
            here = device_among(values)
            args = [here if isinstance(a, torch.device) else a for a in args]
            kwargs = {k: here if isinstance(v, torch.device) else v for k, v in kwargs.items()}
        return call(*args, **kwargs)

    return run


def device_among(values: Values) -> torch.device:
    """Where the constants and inputs of a call are."""
    tensors = (value for value in values.values() if isinstance(value, Tensor))
    return next((value.device for value in tensors), torch.device("cpu"))


def last_reads(program: Program, among: set[str]) -> dict[str, list[str]]:
    """Per node of `among` the names of `among` that it is the last to read."""
    spent: dict[str, list[str]] = {name: [] for name in among}
    seen = {ref.name for ref in references(program.output)}
    for node in reversed([node for node in program.nodes if node.name in among]):
        for name in node.refs:
            if name in among and name not in seen:
                seen.add(name)
                spent[node.name].append(name)
    return spent


def sole_readers(program: Program, among: set[str]) -> set[str]:
    """Neurons that alone read their input, in memory that nothing else uses: they may reuse it."""
    readers = program.readers()
    fresh = {
        node.name for node in program.nodes
        if node.name in among and has_own_memory(node)
        and node.name not in program.output_names and len(readers.get(node.name, ())) == 1
    }  # fmt: skip
    neurons = [(n.name, Neuron.of(n)) for n in program.nodes if Neuron.found(n)]
    return {name for name, neuron in neurons if neuron.input.name in fresh}


def has_own_memory(node: Node) -> bool:
    """Whether the result of `node` shares memory with nothing."""
    rule = rule_of(node.op)
    return rule is not None and rule.fresh


class Executor:
    """Runs the nodes of a program against a dictionary of values.

    Neurons are not executed here: a simulator supplies their values.

    Attributes:
        static: nodes that depend on no neuron, run once a call.
        neurons: the neuron nodes in order.
        currents: names of what they integrate, by their own.
        dynamic: all nodes downstream of a neuron, neurons included (function None), in order,
            with the names that each reads.
        sole_readers: neurons that may overwrite their input in a pass that drops values.
        waiting: neurons whose input may be undefined while spikes are on their way.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.neurons = [node for node in program.nodes if Neuron.found(node)]
        self.currents = {node.name: Neuron.of(node).input.name for node in self.neurons}
        moving = program.downstream_of({node.name for node in self.neurons})
        self.static = [(n, call_of(n)) for n in program.nodes if n.name not in moving]
        self.dynamic = [
            (n, None if Neuron.found(n) else call_of(n), frozenset(n.refs))
            for n in program.nodes
            if n.name in moving
        ]
        self.dynamic_names = moving
        self.spent = last_reads(program, moving)
        self.sole_readers = sole_readers(program, moving)
        self.waiting = undefined_on_the_way(self.dynamic)

    def __reduce__(self) -> tuple[type[Executor], tuple[Program]]:
        """Copied and pickled as its program: what it makes of that holds functions."""
        return Executor, (self.program,)

    def start(self, constants: Mapping[str, Tensor], inputs: Iterable[Tensor]) -> Values:
        """Values of constants, inputs and all static nodes."""
        values: Values = dict(constants)
        values.update(zip(self.program.inputs, inputs, strict=True))
        for node, run in self.static:
            values[node.name] = run(values)
        return values

    def step(
        self,
        values: Values,
        neuron: Callable[[Node, bool], bool],
        changed: set[str] | None = None,
        drop: bool = False,
    ) -> None:
        """One pass over the dynamic nodes, in order, updating `values`.

        Args:
            neuron: called as `neuron(node, input has changed)`; sets the node's value and returns
                whether it changed.
            changed: names that changed before the pass; None: everything is new.
            drop: forget each value after its last use, so that its memory serves the next one;
                only the output is left.
        """
        everything = changed is None
        moved: set[str] = set() if changed is None else set(changed)
        for node, run, reads in self.dynamic:
            fresh = everything or not moved.isdisjoint(reads)
            if run is None:
                if neuron(node, fresh):
                    moved.add(node.name)
            elif fresh:
                values[node.name] = run(values)
                moved.add(node.name)
            if drop:
                for name in self.spent[node.name]:
                    values.pop(name, None)

    def output(self, values: Values) -> Any:
        """What the program returns, in the structure the user's module returns."""
        return substitute(self.program.output, lambda ref: values[ref.name])
