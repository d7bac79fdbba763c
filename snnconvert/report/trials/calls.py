"""The calls that batches of inputs are, and which networks a report holds against each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from snnconvert.common.denoises import facts_of, with_facts
from snnconvert.common.inputs import Inputs, KnowsInputs
from snnconvert.common.warning import warn
from snnconvert.conversion.calibration.batches import check_batches, within
from snnconvert.conversion.graph.program import Program
from snnconvert.conversion.graph.signature import arguments_of
from snnconvert.conversion.graph.values import leaves
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.errors import InputError
from snnconvert.files.fingerprint import weight_digests
from snnconvert.report.measures.clip_recorder import ClipRecorder
from snnconvert.report.measures.difference import Difference

ALIKE = 0.05  # relative error of a quantiser that is written in other operations, at most
Call = tuple[tuple[Any, ...], dict[str, Any]]  # positional and keyword arguments


class AsCaptured(nn.Module, KnowsInputs):
    """A network called with what the one converted from it takes: perhaps integer times."""

    def __init__(self, network: nn.Module, program: Program) -> None:
        super().__init__()
        self.network, self.program = network, program
        with_facts(self, facts_of(network))

    @property
    def takes(self) -> Inputs:
        return self.program.takes

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        inputs = self.program.bind(args, kwargs)
        args, kwargs = self.program.unbind(inputs, positional=len(args))
        return self.network(*args, **kwargs)


def calls_in(program: Program, batches: Iterable[Any]) -> Iterator[Call]:
    """The calls that batches are, one at a time, in pieces that the network takes.

    Raises:
        InputError: no iterable of batches, none in it, or one of another form than the network's.
    """
    check_batches("batches", batches, "[x]")
    empty = True
    for number, batch in enumerate(batches):
        try:
            call = call_of(program, batch)
        except InputError as error:
            raise InputError(f"batches, number {number}: {error}") from error
        for part in within(program, call):
            empty = False
            yield part
    if empty:
        raise InputError("compare: no batches were given")


def call_of(program: Program, batch: Any) -> Call:
    """The call that a batch is. InputError where it is of another form than the network's."""
    args, kwargs = arguments_of(batch)
    if program.signature is not None and program.signature.sole_dict(batch) is not None:
        args, kwargs = (batch,), {}  # as the network itself takes it
    program.bind(args, kwargs, any_batch=True)
    return args, kwargs


def first_of(calls: Iterator[Call]) -> tuple[Call, Iterator[Call]]:
    """The first call, and all of them."""
    first = next(calls)
    return first, chain([first], calls)


def few(program: Program, calls: Iterable[Call], inputs: int) -> list[Call]:
    """The first calls with at most so many inputs together; at least one call, cut to fit."""
    found: list[Call] = []
    left = inputs
    least = program.signature.smallest_batch if program.signature else 0
    for args, kwargs in calls:
        values, along = program.bind(args, kwargs), program.batch_inputs
        size = program.batch_size(values)
        if size > left and along and left > least:
            values = [v[:left] if i in along else v for i, v in enumerate(values)]
            size = left
        if size > left and found:
            break
        found.append(program.unbind(values, positional=len(args)))
        left -= size
        if left <= 0:
            break
    return found


@torch.no_grad()
def quantised_and_float(
    ann: nn.Module, snn: SpikingNetwork, call: Call, float_ann: nn.Module | None
) -> tuple[nn.Module, nn.Module | None]:
    """(quantised ANN of `snn`, float network or None) of what `snn` was converted from.

    Raises:
        InputError: `snn` was not converted from `ann`; a warning where only some weights are those
            that it was converted from.
    """
    recorder = ClipRecorder(snn.config.levels)
    with recorder:
        output = ann(*call[0], **call[1])
    quantised = len(recorder.seen) == len(snn.neurons)
    found = snn.quantized_ann()(*call[0], **call[1])
    known = quantised or snn.calibration or recorder.foreign
    if not known and not alike(found, output):  # else it has quantisers in plain operations
        raise InputError(
            f"the spiking network was not converted from this ANN: it has {len(snn.neurons)} "
            f"layers of neurons, the ANN {len(recorder.seen)} quantised activations"
        )
    shapes = [tuple(leaf.shape) for leaf in leaves(output)]
    made = [tuple(leaf.shape) for leaf in leaves(found)]
    if shapes != made:
        raise InputError(
            "the spiking network was not converted from this ANN: outputs of shapes "
            f"{list(map(list, made))} against {list(map(list, shapes))}"
        )
    if quantised:
        return ann, float_ann
    check_origin(ann, snn)
    return snn.quantized_ann(), ann


def alike(found: Any, wanted: Any) -> bool:
    """Whether outputs are as near to each other as those of the same quantisers are."""
    pairs = list(zip(leaves(found), leaves(wanted), strict=False))
    if len(leaves(found)) != len(leaves(wanted)) or any(a.shape != b.shape for a, b in pairs):
        return False
    gap = Difference()
    gap.add(found, wanted)
    return gap.relative_error < ALIKE


def check_origin(ann: nn.Module, snn: SpikingNetwork) -> None:
    """Hold the weights of `ann` against those that a calibrated `snn` was converted from.

    Another form of the same network may lack unused weights or have batch norms folded in, so that
    only a network of which nothing is known is refused.

    Raises:
        InputError: not one of them is.
    """
    known, held = set(snn.calibration.get("origin", ())), set(weight_digests(weights_of(ann)))
    if not known or not held:
        return
    common, most = len(known & held), min(len(known), len(held))
    if common == 0:
        raise InputError(
            "the spiking network was not converted from this ANN, but from one of the same shape: "
            "it has none of the weights that were converted; name the network that it was "
            "converted from, or convert this one"
        )
    if common < most:
        warn(
            f"only {common} of {most} weights of the ANN are those that the spiking network was "
            "converted from: it is another version of that network, or another form of it"
        )


def weights_of(network: nn.Module) -> Iterable[Tensor]:
    """Parameters and buffers."""
    return (v for v in network.state_dict().values() if isinstance(v, Tensor))
