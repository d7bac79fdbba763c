"""A converted network traced into an ONNX model, with what a reader must know as metadata."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.checkpoint.exported_facts import ExportedFacts
from snnconvert.checkpoint.exported_network import LEFT, STEP, STEPS
from snnconvert.checkpoint.format import RANGES
from snnconvert.checkpoint.networks import known_of
from snnconvert.common.denoises import facts_of
from snnconvert.conversion.graph.program import Ref
from snnconvert.conversion.graph.signature import BATCH
from snnconvert.conversion.graph.values import substitute
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.conversion.spiking.simulation import settling_bound
from snnconvert.errors import InputError, UnsupportedOpError
from snnconvert.exchange.clock import looped
from snnconvert.exchange.examples import open_batch, state_shapes, traced_inputs, traced_rows
from snnconvert.exchange.fewer_passes import go_over_memory_less_
from snnconvert.exchange.spelled import OnePass, OneStep, Spelled, output_order

LARGEST = 2**31 - 1  # bytes of one protobuf message
MANY = 4096  # thresholds of a layer above which only their shape is told


@dataclass(frozen=True)
class OnnxModel:
    """A network as an ONNX model.

    Attributes:
        model: `onnx.ModelProto` with the counts of every layer among its outputs.
        facts: what it says of itself.
        network: what it was made from, spiking as the form does.
        counts: name of the output that holds each layer's counts, by node name.
        step: the step form that the clock runs, or this one itself; None where there is no clock.
    """

    model: Any
    facts: ExportedFacts
    network: SpikingNetwork
    counts: dict[str, str]
    step: OnnxModel | None = None

    def content(self, with_counts: bool = False) -> bytes:
        """The bytes of the file; counts are kept in the step form, and where asked for.

        Raises:
            InputError: more than one ONNX file can hold.
        """
        import onnx

        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        if not with_counts and self.facts.form != "step":
            dropped = set(self.counts.values())
            kept = [output for output in model.graph.output if output.name not in dropped]
            del model.graph.output[:]
            model.graph.output.extend(kept)
        size = model.ByteSize()
        if size > LARGEST:
            raise InputError(f"export: {size / 2**30:.1f} GiB, one ONNX file holds 2")
        content: bytes = model.SerializeToString()
        return content


def onnx_model(network: SpikingNetwork, form: str, like: Checkpoint | None = None) -> OnnxModel:
    """`network`, which spikes as `form` does, as a model.

    Raises:
        InputError: shapes that are not known.
        UnsupportedOpError: an operation without an ONNX form.
    """
    traced = traced_inputs(network)
    names = unique_names([network.program.label(name) for name in network.program.inputs])
    outputs = [f"output_{i}" if i else "output" for i in range(len(output_order(network)))]
    states = {name: f"count.{name}" for name in network.executor.currents}
    shapes = state_shapes(network) if form != "deferred" else {}
    counts = {name: f"{state}.next" if shapes else state for name, state in states.items()}
    held = {states[name]: shape for name, shape in shapes.items()}
    facts = exported_facts(network, form, names, outputs, held, like)
    if form == "deferred":
        results = [*outputs, *counts.values()]
        model = traced_model(OnePass(network), network, traced, names, results, {})
        return OnnxModel(described(model, facts), facts, network, counts)
    model = traced_model(
        OneStep(network), network, traced, [*names, STEP, *states.values()],
        [*outputs, *counts.values(), LEFT], shapes,
    )  # fmt: skip
    stepping = replace(facts, form="step")
    step = OnnxModel(described(model, stepping), stepping, network, counts)
    if form == "step":
        return replace(step, step=step)
    batch = next((names[i] for i in network.program.batch_inputs), "")
    waits = network.config.settle is None
    clock = looped(step.model, facts, outputs, batch, network.config.timesteps if waits else None)
    facts = replace(facts, states={})
    return OnnxModel(described(clock, facts), facts, network, counts, step)


def described(model: Any, facts: ExportedFacts) -> Any:
    """`model` with its metadata."""
    model.producer_name = "snnconvert"
    del model.metadata_props[:]
    for key, value in facts.to_metadata().items():
        model.metadata_props.add(key=key, value=value)
    return model


def unique_names(names: Sequence[str]) -> list[str]:
    """`names`, none of which may be one of ours or twice."""
    found: list[str] = []
    for name in names:
        taken = (
            name in found
            or name in (STEP, STEPS, LEFT)
            or name.startswith(("count.", "clock.", "output"))
        )
        found.append(f"input_{len(found)}" if taken else name)
    return found


def exported_facts(
    network: SpikingNetwork, form: str, names: Sequence[str], outputs: Sequence[str],
    states: dict[str, tuple[int, ...]], like: Checkpoint | None,
) -> ExportedFacts:  # fmt: skip
    program, config = network.program, network.config
    renamed = dict(zip(output_order(network), outputs, strict=True))
    settle = settling_bound(network.executor, network.neurons)
    bound = config.timesteps + (settle if config.settle is None else config.settle)
    thresholds = {
        name: cell.v_threshold.tolist() if cell.v_threshold.numel() <= MANY
        else {"shape": list(cell.v_threshold.shape)}
        for name, cell in zip(network.executor.currents, network.neurons.values(), strict=True)
    }  # fmt: skip
    layers = {name: network.names[name] for name in network.executor.currents}
    return ExportedFacts(
        form, config, program.inputs, tuple(names), program.signature,
        substitute(program.output, lambda ref: Ref(renamed[ref.name])),
        layers, thresholds, states, bound if form != "deferred" else 0,
        **said_of(network, like),
    )  # fmt: skip


def said_of(network: SpikingNetwork, like: Checkpoint | None) -> dict[str, Any]:
    """What a file says of the task: prediction, noise and ranges of a denoiser, the recipe."""
    facts = facts_of(network) if like is None else known_of(like)
    schedule = facts["schedule"].alphas_cumprod.tolist() if "schedule" in facts else None
    return {
        "prediction": facts.get("prediction"),
        "schedule": schedule,
        "recipe": {} if like is None else dict(like.content["recipe"]),
        "ranges": {name: facts[name] for name in RANGES if name in facts},
    }


def traced_model(
    module: Spelled, network: SpikingNetwork, inputs: Sequence[Tensor], names: Sequence[str],
    outputs: Sequence[str], states: dict[str, tuple[int, ...]],
) -> Any:  # fmt: skip
    """`torch.onnx.export` of `module`; `states`: shapes of the counts that it takes as well."""
    rows = traced_rows(network)
    dtype = next((v.dtype for v in inputs if v.is_floating_point()), torch.float32)
    counts = [torch.zeros([n if n >= 0 else -n * rows for n in s], dtype=dtype)
              for s in states.values()]  # fmt: skip
    step = [torch.tensor(1)] if states else []
    signature = network.program.signature
    batch = torch.export.Dim("batch", min=max(1, signature.smallest_batch if signature else 0),
                             max=network.program.largest_batch)  # fmt: skip
    dynamic = [
        {0: batch} if i in network.program.batch_inputs else {} for i in range(len(inputs))
    ] + [{}] * len(step)
    dynamic += [
        {axis: batch if n == BATCH else -n * batch for axis, n in enumerate(s) if n < 0}
        for s in states.values()
    ]
    shapes = (tuple(dynamic),) if open_batch(network.program) else None
    try:
        with quietly():
            program = torch.onnx.export(
                module.eval(), (*inputs, *step, *counts), dynamo=True, verbose=False,
                dynamic_shapes=shapes, input_names=names, output_names=outputs, report=False,
            )  # fmt: skip
            if not states:
                go_over_memory_less_(program.model.graph)  # type: ignore[union-attr]
            return program.model_proto  # type: ignore[union-attr]
    except Exception as error:  # whatever the exporter, or an operation under it, raises
        raise UnsupportedOpError(f"export: {reason_of(error)}") from error


def reason_of(error: BaseException) -> str:
    """The innermost cause in one line; the exporter's own messages are pages."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"


@contextmanager
def quietly() -> Iterator[None]:
    """Without the exporter's progress in the log."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
