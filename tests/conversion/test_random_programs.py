"""Laws of random networks, built of the rule table: `tests/support/random_programs.py`.

200 in every run, the same ones; SNNCONVERT_RANDOM_PROGRAMS=5000 as many as wanted, drawn anew.
"""

from __future__ import annotations

import copy
import os
import pickle
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, seed, settings
from torch import Tensor, nn

import snnconvert
from snnconvert.conversion.capture.captured_network import CapturedNetwork
from snnconvert.conversion.convertible import captured_of
from snnconvert.conversion.graph.values import leaves
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.errors import UnsupportedOpError
from tests.support.errors import relative_error
from tests.support.random_operations import Call, callable_operations, random_call
from tests.support.random_programs import FEW, ROWS, SHAPES, RandomProgram, numbered, programs

pytestmark = pytest.mark.filterwarnings("ignore")

WANTED = os.environ.get("SNNCONVERT_RANDOM_PROGRAMS")
COARSE, FINE = 2, 10  # radix: 3 levels, 1023 levels
PARTS = 2  # for as many processes
EVERY_RUN = 200
EACH = settings(
    max_examples=max(1, int(WANTED or EVERY_RUN) // PARTS), derandomize=WANTED is None,
    deadline=None, database=None, suppress_health_check=list(HealthCheck),
)  # fmt: skip


def unread() -> Iterator[Any]:
    """Calibration data that nobody may touch."""
    raise AssertionError("calibration was read before the network was refused")
    yield


@torch.no_grad()
def values(network: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    return leaves(network(*inputs))


def same(found: list[Tensor], wanted: list[Tensor]) -> bool:
    """Bit for bit; NaN where there is NaN."""
    return all(
        a.dtype == b.dtype and torch.equal(a.nan_to_num(7.25), b.nan_to_num(7.25))
        for a, b in zip(found, wanted, strict=True)
    )


def refused(network: nn.Module, program: RandomProgram) -> bool:
    """Whether it is refused: with reasons, and before anything slow."""
    problems = snnconvert.check(network, program.inputs)
    if problems:
        assert all(problem.reason and problem.remedy for problem in problems)
        with pytest.raises(UnsupportedOpError):
            snnconvert.convert(
                network, 2, example_inputs=program.inputs, calibration=unread(), share=True
            )
    return bool(problems)


def converted(network: nn.Module, program: RandomProgram, timesteps: int) -> SpikingNetwork:
    calibration = [program.batch(ROWS)]
    return snnconvert.convert(
        network, timesteps, calibration=calibration, code="radix", firing="deferred",
        threshold="max", bias_correction=False,
    )  # fmt: skip


def spikes_are_counts(snn: SpikingNetwork, inputs: tuple[Tensor, ...]) -> None:
    """Whole trains add up to the counts, those to what comes out."""
    run = snn.run(*inputs, record="spikes")
    assert run.trains.keys() == run.counts.keys() == run.emitted.keys()
    for layer, train in run.trains.items():
        assert train.dtype == torch.int8 and int(train.abs().max()) <= 1
        assert torch.equal(train.sum(0, dtype=torch.int64), run.counts[layer].long()), layer
        assert torch.equal(train.long().abs().sum(0), run.emitted[layer].long()), layer
    assert same(leaves(run.output), values(snn, inputs))


def holds(program: RandomProgram, folder: Path) -> str:
    """Check every law of one network; "refused" or "converted"."""
    try:
        network = CapturedNetwork(captured_of(program.network, program.inputs)).eval()
    except UnsupportedOpError:
        assert refused(program.network, program)
        return "refused"
    if refused(network, program):
        return "refused"
    few = program.batch(FEW)
    for found, wanted in zip(values(network, few), values(program.network, few), strict=True):
        assert torch.allclose(found, wanted, rtol=1e-3, atol=1e-4)
    snn, fine = (converted(network, program, steps) for steps in (COARSE, FINE))
    levels = snn.config.levels
    qann = snn.quantized_ann()
    silent = snnconvert.convert(qann, levels)  # rate, immediate, until no neuron fires
    for rows in (ROWS, FEW, 1):
        inputs = program.batch(rows)
        wanted = values(qann, inputs)
        if not all(bool(value.isfinite().all()) for value in wanted):
            return "undefined"  # a quotient of counts that are zero, say: it has no count
        assert same(values(snn, inputs), wanted), f"deferred, {rows} rows"
        run = silent.run(*inputs)
        assert run.silent in (True, None), f"not silent, {rows} rows"
        assert same(leaves(run.output), wanted), f"silent, {rows} rows"
        assert same(values(silent.with_config(simulate="counts"), inputs), wanted)
    inputs = program.batch(FEW)
    spikes_are_counts(silent, inputs)
    error_falls(program, snn, fine)
    if len(program.network.steps) % 3 == 0:  # reading a file costs as much as all else
        copies_are_the_same(snn, inputs, folder)
    return "converted"


def error_falls(program: RandomProgram, coarse: SpikingNetwork, fine: SpikingNetwork) -> None:
    """1023 levels are closer than 3, by far."""
    if not program.smooth:
        return
    inputs = program.batch(ROWS)
    exact = values(program.network, inputs)
    if not any(bool(value.any()) for value in exact):
        return  # relative to nothing
    errors = [relative_error(values(snn, inputs), exact) for snn in (coarse, fine)]
    assert errors[1] < 0.05 or errors[1] < errors[0] / 4, errors


def copies_are_the_same(snn: SpikingNetwork, inputs: tuple[Tensor, ...], folder: Path) -> None:
    wanted = values(snn, inputs)
    snnconvert.save(snn, folder / "net.snn.pt")
    copies = {
        "loaded": snnconvert.load(folder / "net.snn.pt"),
        "deepcopy": copy.deepcopy(snn),
        "pickled": pickle.loads(pickle.dumps(snn)),
    }
    for name, twin in copies.items():
        assert same(values(twin, inputs), wanted), name


@pytest.mark.parametrize("part", range(PARTS))
def test_random_networks_obey_every_law(part, tmp_path):
    found: Counter[str] = Counter()

    @seed(part)
    @EACH
    @given(programs() if WANTED else numbered(range(part, EVERY_RUN, PARTS)))
    def law(program: RandomProgram) -> None:
        found[holds(program, tmp_path)] += 1

    law()
    assert found["converted"] >= sum(found.values()) / 2, found


def test_operations_of_the_table_are_drawn():
    """Of those that a spike may reach, all that a schema can fill in for some shape."""
    random = Random(0)
    drawn = set()
    for op in callable_operations():
        for _ in range(60):
            shape = random.choice(SHAPES)
            some = [torch.rand(ROWS, *shape) for _ in range(2)]
            made = random_call(op, some, random)
            if made is not None and runs(made[0], [some[i] for i in made[1]]):
                drawn.add(op)
                break
    assert len(drawn) > 0.85 * len(callable_operations())


def runs(call: Call, some: list[Tensor]) -> bool:
    try:
        call(*some)
    except (RuntimeError, IndexError, TypeError, ValueError, NotImplementedError):
        return False
    return True
