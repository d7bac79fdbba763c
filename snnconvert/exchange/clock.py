"""The step form wrapped into an ONNX `Loop`: the whole clock of immediate firing in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from snnconvert.checkpoint.exported_facts import ExportedFacts
from snnconvert.checkpoint.exported_network import LEFT, STEP, STEPS

ROUND, GOES_ON = "clock.round", "clock.goes_on"
BOUND, BATCH, ONE, NOTHING, ALWAYS, TIMESTEPS = (
    f"clock.{name}" for name in ("bound", "batch", "one", "nothing", "always", "timesteps")
)


def looped(
    model: Any, facts: ExportedFacts, outputs: Sequence[str], batch: str, timesteps: int | None
) -> Any:
    """A model that runs `model`, a step, up to `facts.bound` times.

    What depends on no count is computed once, before the loop.

    Args:
        model: of the step form.
        outputs: names of what a call returns.
        batch: name of an input whose rows are the batch.
        timesteps: T where the loop ends at silence, looked for from step T on; None: it runs to
            the bound.
    """
    from onnx import TensorProto, helper

    graph, counts = model.graph, list(facts.states)
    moving = downstream(graph, {STEP, *counts})
    kinds = {value.name: kind_of(value) for value in (*graph.input, *graph.output)}
    carried = [*(f"{name}.next" for name in counts), *(name for name in outputs if name in moving)]
    inner = {name: f"{name}.inner" for name in carried}
    held = {f"{name}.next": name for name in counts}
    held = {name: held.get(name, f"{name}.held") for name in carried}
    rest = {name: f"{name}.rest" for name in carried}
    value, number = helper.make_tensor_value_info, TensorProto.INT64
    body = helper.make_graph(
        [helper.make_node("Add", [ROUND, ONE], [STEP]),
         *(renamed(node, inner) for node in graph.node if moving.intersection(node.output)),
         helper.make_node("Identity", [STEP], [f"{STEPS}.inner"]), *going_on(timesteps)],
        "step",
        [value(ROUND, number, []), value(f"{GOES_ON}.held", TensorProto.BOOL, []),
         *(value(held[name], kinds[name], None) for name in carried),
         value(f"{STEPS}.held", number, [])],
        [value(GOES_ON, TensorProto.BOOL, []),
         *(value(inner[name], kinds[name], None) for name in carried),
         value(f"{STEPS}.inner", number, [])],
    )  # fmt: skip
    before = [node for node in graph.node if not moving.intersection(node.output)]
    rests, shapes = at_rest(facts, carried, rest, kinds, batch)
    loop = helper.make_node("Loop", [BOUND, ALWAYS, *rest.values(), NOTHING], [*carried, STEPS],
                            body=body)  # fmt: skip
    given = [entry for entry in graph.input if entry.name not in (STEP, *counts)]
    returned = [entry for entry in graph.output if entry.name != LEFT]
    made = helper.make_graph(
        [*before, *rests, loop], "clock", given, [*returned, value(STEPS, number, [])],
        [*graph.initializer, *shapes, *numbers(facts.bound, timesteps)],
    )  # fmt: skip
    return helper.make_model(
        made, opset_imports=list(model.opset_import), ir_version=model.ir_version
    )


def downstream(graph: Any, starts: set[str]) -> set[str]:
    """Names of values that depend on any of `starts`."""
    found = set(starts)
    for node in graph.node:
        if found.intersection(reads(node)):
            found.update(node.output)
    return found


def reads(node: Any) -> set[str]:
    """Names that a node reads, in graphs inside it too."""
    found = set(node.input)
    for attribute in node.attribute:
        for within in attribute.g.node if attribute.HasField("g") else ():
            found |= reads(within)
    return found


def renamed(node: Any, names: Mapping[str, str]) -> Any:
    """A copy of `node` that reads and writes other names."""
    copy = type(node)()
    copy.CopyFrom(node)
    for field in (copy.input, copy.output):
        field[:] = [names.get(name, name) for name in field]
    return copy


def kind_of(value: Any) -> int:
    """Element type of an input or output."""
    return int(value.type.tensor_type.elem_type)


def going_on(timesteps: int | None) -> list[Any]:
    """Nodes that say whether another step follows: before T always, then until silence."""
    from onnx import helper

    if timesteps is None:
        return [helper.make_node("Identity", [f"{GOES_ON}.held"], [GOES_ON])]
    return [
        helper.make_node("Less", [STEP, TIMESTEPS], ["clock.early"]),
        helper.make_node("Cast", [LEFT], ["clock.left"], to=1),
        helper.make_node("Equal", ["clock.left", f"{NOTHING}.left"], ["clock.silent"]),  # NaN is no
        helper.make_node("Not", ["clock.silent"], ["clock.restless"]),
        helper.make_node("Or", ["clock.early", "clock.restless"], [GOES_ON]),
    ]


def numbers(bound: int, timesteps: int | None) -> list[Any]:
    """The constants of a clock."""
    from onnx import TensorProto, helper

    found = {BOUND: bound, ONE: 1, NOTHING: 0} | (
        {} if timesteps is None else {TIMESTEPS: timesteps}
    )
    made = [helper.make_tensor(n, TensorProto.INT64, [], [v]) for n, v in found.items()]
    if timesteps is not None:
        made.append(helper.make_tensor(f"{NOTHING}.left", TensorProto.FLOAT, [], [0.0]))
    return [*made, helper.make_tensor(ALWAYS, TensorProto.BOOL, [], [True])]


def at_rest(
    facts: ExportedFacts, carried: Sequence[str], rest: Mapping[str, str],
    kinds: Mapping[str, int], batch: str,
) -> tuple[list[Any], list[Any]]:  # fmt: skip
    """Nodes and constants that make what the first step finds: counts of zero, empty outputs."""
    import numpy as np
    from onnx import helper, numpy_helper

    nodes = [helper.make_node("Shape", [batch], [BATCH], start=0, end=1)] if batch else []
    constants = []
    for name in carried:
        shape = facts.states.get(name.removesuffix(".next"), (0,))
        per_row = np.array([max(-size, 0) for size in shape], np.int64)
        fixed = np.array([max(size, 0) for size in shape], np.int64)
        constants.append(numpy_helper.from_array(fixed, f"{name}.shape"))
        size = f"{name}.shape"
        if per_row.any():
            constants.append(numpy_helper.from_array(per_row, f"{name}.per_row"))
            nodes.append(helper.make_node("Mul", [BATCH, f"{name}.per_row"], [f"{name}.rows"]))
            nodes.append(helper.make_node("Add", [f"{name}.rows", size], [f"{name}.size"]))
            size = f"{name}.size"
        zero = helper.make_tensor("zero", kinds[name], [1], [0])
        nodes.append(helper.make_node("ConstantOfShape", [size], [rest[name]], value=zero))
    return nodes, constants
