"""How an exported file compares to the network that it was made from, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snnconvert.checkpoint.exported_network import STEP, ExportedNetwork, open_session
from snnconvert.conversion.graph.values import leaves
from snnconvert.conversion.spiking.simulation import Run
from snnconvert.errors import InputError
from snnconvert.exchange.onnx_model import OnnxModel
from snnconvert.exchange.spelled import OneStep
from snnconvert.exchange.ties import Disagreement, Seen, disagreement

TOLERANCE = 1e-4


def report_path(path: str | Path) -> Path:
    """Where the figures of the file at `path` lie."""
    return Path(path).with_suffix(".parity.json")


@dataclass
class Parity:
    """Figures of one comparison.

    Attributes:
        form: of the file.
        samples: compared.
        relative_error: |difference| / |output|, the largest of all samples without a float tie.
        error_with_ties: the largest of all samples.
        tied_samples: in which a value on a rounding boundary was rounded the other way.
        counts, different_counts: in which calls end, and those of them that differ.
        step_counts, step_differences: the same after each single step, all from equal counts.
        step_ties: samples with a float tie in any step.
        steps: clock steps of each call in PyTorch, and in onnxruntime.
        tolerance: of `relative_error`.
        onnxruntime: version.
    """

    form: str
    tolerance: float
    samples: int = 0
    relative_error: float = 0.0
    error_with_ties: float = 0.0
    tied_samples: int = 0
    counts: int = 0
    different_counts: int = 0
    step_counts: int = 0
    step_differences: int = 0
    step_ties: int = 0
    steps: list[tuple[int, int]] = field(default_factory=list)
    onnxruntime: str = ""
    unexplained: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether the file computes what the network does."""
        return not self.unexplained and self.relative_error <= self.tolerance

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"onnxruntime {self.onnxruntime} on {self.samples} samples: relative error "
            f"{self.relative_error:.2g}, {self.different_counts} of {self.counts:,} counts differ, "
            f"{self.tied_samples} samples with a float tie"
            + (f" (error {self.error_with_ties:.2g} there)" if self.tied_samples else "")
            + (f"; step by step {self.step_differences} of {self.step_counts:,} differ, by float "
               f"ties in {self.step_ties} samples" if self.step_counts else "")
        )  # fmt: skip

    def add(self, wanted: Any, got: Any, rows: int, found: Disagreement) -> None:
        """One call's outputs, and the counts that differ in it."""
        errors = sample_errors(leaves(wanted), leaves(got), rows)
        self.samples += rows
        self.tied_samples += int(found.ties.sum())
        self.different_counts += found.counts
        self.unexplained += found.layers
        self.error_with_ties = max(self.error_with_ties, float(errors.max()))
        clean = errors[~found.ties]
        self.relative_error = max([self.relative_error, *clean.tolist()])


def sample_errors(wanted: Sequence[Tensor], got: Sequence[Tensor], rows: int) -> Tensor:
    """Relative error of each sample, the largest over all outputs; infinite where one is NaN."""
    errors = torch.zeros(rows, dtype=torch.float64)
    for a, b in zip(wanted, got, strict=True):
        if a.shape != b.shape:
            return torch.full_like(errors, torch.inf)
        each = rows if a.ndim and len(a) % rows == 0 else 1
        a, b = a.double().reshape(each, -1), b.double().reshape(each, -1)
        size = a.norm(dim=1).clamp_min(torch.finfo(torch.float32).tiny)
        error = ((a - b).norm(dim=1) / size).nan_to_num(nan=torch.inf)
        errors = errors.maximum(error if each == rows else error.max())
    return errors


def check_parity(
    exported: OnnxModel, content: bytes, batches: Sequence[list[Tensor]], tolerance: float,
    source: str,
) -> Parity:  # fmt: skip
    """Figures of the file `content` on inputs of the program.

    Raises:
        InputError: it computes something else.
        CheckpointError: onnxruntime cannot run it.
    """
    import onnxruntime

    found = Parity(exported.facts.form, tolerance, onnxruntime=onnxruntime.__version__)
    final = ExportedNetwork(open_session(content, source), exported.facts, source)
    counted = final
    if exported.facts.form != "step":
        bare = exported.content(with_counts=True)
        counted = ExportedNetwork(open_session(bare, source), exported.facts, source)
    step = exported.step
    stepper = None
    if step is not None:
        stepper = ExportedNetwork(open_session(step.content(), source), step.facts, source)
    for inputs in batches:
        compare_call(exported, final, counted, stepper, inputs, found)
    if not found.holds:
        where = f", first in {', '.join(dict.fromkeys(found.unexplained))}" * bool(
            found.unexplained
        )
        raise InputError(f"{source}: does not compute what the network does{where}: {found}; "
                         "nothing was written")  # fmt: skip
    return found


def compare_call(
    exported: OnnxModel, final: ExportedNetwork, counted: ExportedNetwork,
    stepper: ExportedNetwork | None, inputs: list[Tensor], found: Parity,
) -> None:  # fmt: skip
    """One call in PyTorch and in onnxruntime, added to `found`."""
    network = exported.network
    args, kwargs = network.program.unbind(inputs)
    nodes = {network.names[node]: node for node in network.executor.currents}
    run = network.run(*args, **kwargs).named(nodes)
    rows = network.program.batch_size(inputs) if network.program.batch_inputs else 1
    fed = dict(zip(exported.facts.names, (v.numpy() for v in inputs), strict=True))
    values, steps = counted.clock(fed) if exported.facts.form == "step" else counted.call(fed)
    counts = {name: torch.from_numpy(values[key]) for name, key in exported.counts.items()}
    differs = disagreement(seen_by(run, network.config.timesteps), counts, rows)
    found.counts += sum(n.numel() for n in counts.values())
    if stepper is not None:
        by_step = compare_steps(exported, stepper, inputs, run.steps, rows, found)
        if network.config.settle is not None:  # the end depends on the whole way
            differs.ties, differs.errors, differs.layers = by_step.ties, by_step.errors, []
        differs.layers = [*differs.layers, *by_step.layers]
    found.steps.append((run.steps, steps))
    found.add(run.output, final(*args, **kwargs), rows, differs)


def seen_by(run: Run, timesteps: int) -> Seen:
    """The end of a call in which every count is that of its own accumulated input."""
    cells = dict(run.neurons)
    levels = next((cell.levels for cell in cells.values()), timesteps)
    return Seen(run.counts, run.inputs, cells, levels)


@torch.no_grad()
def compare_steps(
    exported: OnnxModel, stepper: ExportedNetwork, inputs: list[Tensor], steps: int, rows: int,
    found: Parity,
) -> Disagreement:  # fmt: skip
    """Every step by itself, started from PyTorch's counts: spike for spike."""
    network, names = exported.network, stepper.facts.names
    module = OneStep(network)
    fed = dict(zip(names, (v.numpy() for v in inputs), strict=True))
    start = zip(network.executor.currents, stepper.zeros(rows).values(), strict=True)
    counts = {f"count.{n}": torch.from_numpy(c) for n, c in start}
    total = Disagreement(0, torch.zeros(rows, dtype=torch.bool),
                         torch.zeros(rows, dtype=torch.bool), [])  # fmt: skip
    for step in range(1, steps + 1):
        held = {name: count.numpy() for name, count in counts.items()}
        values, _ = stepper.call({**fed, **held, STEP: torch.tensor(step).numpy()})
        _, done = module.step((*inputs, torch.tensor(step), *counts.values()))
        seen = Seen(done.counts, done.means, done.cells, min(step, network.config.timesteps))
        got = {n: torch.from_numpy(values[f"count.{n}.next"]) for n in network.executor.currents}
        part = disagreement(seen, got, rows)
        found.step_counts += sum(n.numel() for n in got.values())
        found.step_differences += part.counts
        total.ties |= part.ties
        total.errors |= part.errors
        total.layers += part.layers
        counts = {f"count.{n}": c for n, c in done.counts.items()}
    found.step_ties += int(total.ties.sum())
    return total
