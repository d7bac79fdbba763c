"""Block reconstruction: weights, biases and ceilings trained block by block, without labels.

Each block of the quantised network reads what the calibrated blocks before it give, and is trained
to give what the float network has at the same place (BRECQ, Li et al. 2021; QDrop, Wei et al.
2022). What it has learned is kept only where it brought the block closer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from snnconvert.conversion.calibration.options import WeightCalibration
from snnconvert.conversion.calibration.weights.blocks import Block, find_blocks
from snnconvert.conversion.calibration.weights.dropped_clip import Coin, dropped_clip
from snnconvert.conversion.calibration.weights.relative_adam import RelativeAdam
from snnconvert.conversion.execution.executor import call_of
from snnconvert.conversion.execution.interpreter import Interpreter
from snnconvert.conversion.graph.nodes import Clip, before_name, ceiling_name
from snnconvert.conversion.graph.program import Node, Program, Ref
from snnconvert.conversion.rules import rule_of

Values = dict[str, Any]
# PyTorch before 2.14 dies in the gradient of a channels-last group norm whose input needs none.
CRASHES = {"aten.group_norm.default"} if torch.__version__ < "2.14" else set()


@dataclass(frozen=True)
class Networks:
    """The float network and its quantised one, node by node of the same names.

    Attributes:
        plain, quantised: their programs.
        open: names of the clips whose ceilings were calibrated.
        trainable: constants that may change, the ceilings of those clips among them.
    """

    plain: Program
    quantised: Program
    open: Collection[str]
    trainable: Collection[str]

    @property
    def ceilings(self) -> set[str]:
        """Names of the calibrated ceilings."""
        return {ceiling_name(name) for name in self.open}

    @cached_property
    def readers(self) -> dict[str, list[Node]]:
        """The operations of the quantised network that read each name."""
        return self.quantised.readers()

    def trainable_in(self, names: Collection[str]) -> list[str]:
        """What only the operations of these names read."""
        return sorted(
            constant for constant in self.trainable
            if constant in self.readers
            and all(node.name in names for node in self.readers[constant])
        )  # fmt: skip


@torch.enable_grad()
def reconstruct(
    networks: Networks,
    constants: Mapping[str, Tensor],
    calls: Sequence[list[Tensor]],
    options: WeightCalibration,
) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """New constants, and each block's relative error before and after.

    Args:
        constants: of both networks; left as they are.
        calls: inputs, one training batch each.
    """
    constants = dict(constants)
    blocks = find_blocks(networks.quantised)
    wanted = [dict(zip(networks.plain.inputs, call, strict=True)) for call in calls]
    found = [dict(values) for values in wanted]
    report = []
    bar = tqdm(total=len(blocks) * options.block_steps, desc="blocks", unit="step", disable=None)
    for number, block in enumerate(blocks):
        training = BlockTraining(block, networks, constants, options, number)
        training.advance_plain(wanted)
        before = after = training.error(constants, found, wanted)
        inside = networks.trainable_in(block.names)
        if inside and before > 0:
            trained = training.train(inside, found, wanted, bar)
            after = training.error({**constants, **trained}, found, wanted)
            if after < before:
                constants |= trained
        training.advance(constants, found)
        report.append({"layer": block.layer, "before": before, "after": min(before, after)})
        _forget(blocks[number + 1 :], networks, constants, wanted, found)
    bar.close()
    return constants, report


class BlockTraining:
    """One block in both networks, and its training."""

    def __init__(
        self,
        block: Block,
        networks: Networks,
        constants: Mapping[str, Tensor],
        options: WeightCalibration,
        number: int,
    ) -> None:
        plain = block.part_of(networks.plain, constants)
        rounded = block.part_of(networks.quantised, constants)
        coin = Coin(options.quantised, options.seed + number)
        self.block, self.options, self.constants = block, options, constants
        self.inputs = rounded.inputs, plain.inputs
        self.plain, self.rounded = Interpreter(plain), Interpreter(rounded)
        self.dropped = Interpreter(rounded, dropped_clips(rounded, networks, coin))
        self.channels_last = not any(needs_order(node) for node in rounded.nodes)
        self.ceilings = networks.ceilings
        self.order = torch.Generator().manual_seed(options.seed + number)

    def read(self, values: Values, names: Sequence[str]) -> list[Any]:
        """The block's inputs among `values`, laid out as convolutions are fastest."""
        return [laid_out(values[name], self.channels_last) for name in names]

    @torch.no_grad()
    def advance_plain(self, wanted: Sequence[Values]) -> None:
        for values in wanted:
            outputs = self.plain.run(self.constants, self.read(values, self.inputs[1]))
            values.update(zip(self.block.targets, outputs, strict=True))

    @torch.no_grad()
    def advance(self, constants: Mapping[str, Tensor], found: Sequence[Values]) -> None:
        for values in found:
            outputs = self.rounded.run(constants, self.read(values, self.inputs[0]))
            values.update(zip(self.block.targets, outputs, strict=True))

    def loss(self, outputs: Sequence[Any], wanted: Values) -> Tensor:
        targets = [wanted[name] for name in self.block.targets]
        return relative_squared_error(outputs, targets)

    @torch.no_grad()
    def error(
        self, constants: Mapping[str, Tensor], found: Sequence[Values], wanted: Sequence[Values]
    ) -> float:
        """Mean relative squared error of the quantised block's targets."""
        total = 0.0
        for ours, theirs in zip(found, wanted, strict=True):
            outputs = self.rounded.run(constants, self.read(ours, self.inputs[0]))
            total += float(self.loss(outputs, theirs))
        return total / len(found)

    def train(
        self, names: Sequence[str], found: Sequence[Values], wanted: Sequence[Values], bar: tqdm
    ) -> dict[str, Tensor]:
        optimizer = RelativeAdam(
            {name: self.constants[name] for name in names}, self.ceilings, self.options.rate,
            self.options.block_steps, self.channels_last,
        )  # fmt: skip
        for _ in range(self.options.block_steps):
            index = int(torch.randint(len(found), (), generator=self.order))
            inputs = self.read(found[index], self.inputs[0])
            outputs = self.dropped.run({**self.constants, **optimizer.values()}, inputs)
            loss = self.loss(outputs, wanted[index])
            if not loss.requires_grad:
                break  # no target depends on what may change
            optimizer.step(loss)
            bar.update()
        return optimizer.result()


def dropped_clips(program: Program, networks: Networks, coin: Coin) -> dict[str, Any]:
    """For each calibrated clip of `program`, the operation that leaves a part unquantised."""
    before = {node.name: node for node in networks.plain.nodes}
    calls = {}
    for node in program.nodes:
        if Clip.found(node) and node.name in networks.open:
            clip = Clip.of(node)
            calls[node.name] = dropped_clip(
                clip.input.name, clip.ceiling.name, clip.levels, clip.signed,
                _activation(before[node.name], clip.input), coin,
            )  # fmt: skip
    return calls


def _activation(node: Node, source: Ref) -> Any:
    """The float operation in place of the clip; nothing where a function comes before it."""
    if source.name == before_name(node.name):
        return lambda x: x
    run = call_of(node)
    return lambda x: run({source.name: x})


def needs_order(node: Node) -> bool:
    """Whether `node` takes only tensors whose elements lie in order."""
    rule = rule_of(node.op)
    return node.op in CRASHES or (rule is not None and rule.in_order)


def relative_squared_error(outputs: Sequence[Any], targets: Sequence[Any]) -> Tensor:
    """Sum over targets of the squared error over the mean square."""
    return torch.stack([
        (a - b).square().mean() / b.square().mean().clamp_min(1e-12)
        for a, b in zip(outputs, targets, strict=True)
        if isinstance(a, Tensor) and a.is_floating_point()
    ]).sum()  # fmt: skip


def laid_out(value: Any, channels_last: bool) -> Any:
    if not isinstance(value, Tensor):
        return value
    if channels_last and value.ndim == 4:
        return value.contiguous(memory_format=torch.channels_last)
    return value.contiguous()


def _forget(
    later: Sequence[Block], networks: Networks, constants: Mapping[str, Tensor], *kept: Any
) -> None:
    """Drop what no later block reads."""
    for program, calls in zip((networks.plain, networks.quantised), kept, strict=True):
        needed = {n for block in later for n in block.part_of(program, constants).inputs}
        for values in calls:
            for name in set(values) - needed:
                del values[name]
