"""The converted network: an `nn.Module` with the signature of its ANN and a clock inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from snnconvert.conversion import simulation
from snnconvert.conversion.config import SpikingConfig
from snnconvert.conversion.executor import Executor
from snnconvert.conversion.leak import fitted_names
from snnconvert.conversion.program import Node, Program, decode_program, encode_program
from snnconvert.conversion.simulation import Call, Recorder, Run
from snnconvert.errors import CheckpointError, InputError
from snnconvert.neurons.counts import IF
from snnconvert.neurons.potential import Potential
from snnconvert.neurons.radix import RadixIF

RECORDS = (None, "counts", "spikes")
FITTED_FOR = ("timesteps", "firing", "tau", "v_reset", "v_init")  # what a leaky fit depends on


@dataclass(frozen=True)
class CallRecord:
    """What `SpikingNetwork.history` keeps of one call.

    Attributes:
        steps: clock steps it took.
        spikes: of either sign, per input of the batch.
        counts: sum of the absolute counts in which it ended, per input of the batch.
        carried: True where it went on from the counts of the call before.
    """

    steps: int
    spikes: float
    counts: float
    carried: bool


def check_shapes(program: Program, inputs: Sequence[Tensor]) -> None:
    """InputError if an input has another shape than the one that was captured."""
    for name, found, shape in zip(program.inputs, inputs, program.shapes, strict=False):
        fits = found.ndim == len(shape) and all(
            size in (None, actual) for size, actual in zip(shape, found.shape, strict=True)
        )
        if not fits:
            wanted = ", ".join("B" if size is None else str(size) for size in shape)
            raise InputError(
                f"{name}: found shape {list(found.shape)}, the network was converted for "
                f"[{wanted}]; convert it again with example inputs of the new size"
            )


class SpikingNetwork(nn.Module):
    """A converted network. Call it like its ANN; it resets itself at every call.

    With `reset="trajectory"` the counts stay from one call to the next, and the next input is
    a change. Every call still ends in silence, so its result depends on its own inputs alone; a
    batch of another shape therefore just starts at zero again, and `reset()` does so at any time.

    Attributes:
        history: a `CallRecord` per call after `keep_history()`; None (default) keeps none.

    Args:
        program: captured network whose activations are "neuron" nodes
            `(input, name of the threshold, lowest count is negative)`.
        constants: weights, thresholds and other fixed tensors by name.
        config: how it spikes.
    """

    def __init__(
        self, program: Program, constants: dict[str, Tensor], config: SpikingConfig
    ) -> None:
        super().__init__()
        self.program = program
        self.config = config
        self.executor = Executor(program)
        self.history: list[CallRecord] | None = None
        self._carried: dict[str, Tensor] = {}
        self._carried_from: Any = None  # shapes, types and places of the inputs that left them
        self._names = tuple(constants)
        for name, value in constants.items():
            self.register_buffer(f"constant_{name}", value)
        self._check_neurons()

    @property
    def constants(self) -> dict[str, Tensor]:
        return {name: getattr(self, f"constant_{name}") for name in self._names}

    @property
    def neurons(self) -> dict[str, IF | Potential]:
        """Neuron layers by node name, in execution order."""
        return {node.name: self._cell(node) for node in self.executor.neurons}

    def _cell(self, node: Node) -> IF | Potential:
        config, levels = self.config, self.config.levels
        ceiling = getattr(self, f"constant_{node.args[1]}")
        lowest = -levels if node.args[2] else 0
        if config.held_as_counts:
            return (RadixIF if config.code == "radix" else IF)(ceiling, levels, lowest)
        fitted = {"v_threshold": ceiling, "gain": ceiling, "bias": torch.zeros_like(ceiling)}
        if config.neuron == "lif":
            names = fitted_names(node.name)
            fitted = {key: getattr(self, f"constant_{name}") for key, name in names.items()}
        return Potential(
            ceiling, levels=levels, lowest=lowest, tau=config.leak, v_reset=config.v_reset,
            v_init=config.start, **fitted,
        )  # fmt: skip

    def _check_neurons(self) -> None:
        """InputError where the config asks for neurons that this network cannot have."""
        for node in self.executor.neurons:
            if self.config.forgets and node.args[2]:
                raise InputError(
                    f"{node.layer or node.name}: its activation is signed, so its neurons fire "
                    "negative spikes, which neurons with a leak or a hard reset cannot: use "
                    "neuron='if' with v_reset=None"
                )
            missing = set(fitted_names(node.name).values()) - set(self._names)
            if self.config.neuron == "lif" and missing:
                raise InputError(
                    f"{node.layer or node.name}: neuron='lif' needs a threshold fitted to data: "
                    "convert with calibration=[...], some batches of the network's inputs"
                )

    @property
    def layers(self) -> dict[str, str]:
        """The user's module path of each neuron layer, by node name."""
        return {node.name: node.layer or node.name for node in self.executor.neurons}

    def forward(self, *inputs: Tensor) -> Any:
        return self.run(*inputs).output

    @torch.no_grad()
    def run(self, *inputs: Tensor, record: str | None = None) -> Run:
        """One call with its bookkeeping.

        Args:
            inputs: as the ANN takes them, batch first.
            record: "counts" adds spikes emitted and the output by step, "spikes" whole trains too.

        Raises:
            InputError: wrong number of inputs, or an unknown `record`.
        """
        if record not in RECORDS:
            raise InputError(f"record: found {record!r}, allowed are None, 'counts' and 'spikes'")
        if len(inputs) != len(self.program.inputs):
            names = ", ".join(self.program.inputs)
            raise InputError(f"found {len(inputs)} inputs, the network takes ({names})")
        check_shapes(self.program, inputs)
        if record == "spikes" and self.config.simulate == "counts":
            raise InputError("record='spikes' needs simulate='steps'")
        recorder = Recorder(self.executor, record, tally=self.history is not None)
        call = Call(
            self.executor, self.executor.start(self.constants, inputs), self.neurons,
            self.config.timesteps, recorder,
        )  # fmt: skip
        kept = [(value.shape, value.dtype, value.device) for value in inputs]
        carried = self._carried if self._carried_from == kept else None
        run = self._simulate(call, carried)
        if self.config.reset == "trajectory":
            sound = all(bool(n.sum().isfinite()) for n in run.counts.values())  # else: NaN inputs
            self._carried, self._carried_from = run.counts, kept if sound else None
        if self.history is not None:
            counts = sum(float(n.abs().sum()) for n in run.counts.values())
            each = len(inputs[0])
            self.history.append(
                CallRecord(run.steps, recorder.fired / each, counts / each, carried is not None)
            )
        return run

    def _simulate(self, call: Call, carried: dict[str, Tensor] | None) -> Run:
        config = self.config
        if config.simulate == "counts":
            return simulation.by_counts(call)
        if config.norm == "per_step":
            return simulation.per_step(call, config.signed)
        if config.firing == "deferred":
            return simulation.deferred(call)
        if not config.held_as_counts:
            return simulation.potentials(call, config.settle or 0, config.signed)
        return simulation.immediate(call, config.settle, config.signed, carried)

    def reset(self) -> None:
        """Forget the counts that `reset="trajectory"` carries from call to call."""
        self._carried, self._carried_from = {}, None

    def keep_history(self) -> None:
        """From now on `history` holds a `CallRecord` of every call; starts an empty one."""
        self.history = []

    def _apply(self, *args: Any, **kwargs: Any) -> SpikingNetwork:
        self.reset()  # carried counts do not move to another device or type
        return super()._apply(*args, **kwargs)

    def with_config(self, **changes: Any) -> SpikingNetwork:
        """The same network spiking another way; weights are shared, not copied.

        Raises:
            InputError: as `SpikingConfig`, or a change that a leaky network's fit does not fit.
        """
        fitted = [key for key in FITTED_FOR if key in changes]
        changed = [key for key in fitted if changes[key] != getattr(self.config, key)]
        if changed and self.config.neuron == changes.get("neuron", "lif") == "lif":
            raise InputError(
                f"{', '.join(changed)}: the thresholds of neuron='lif' were fitted for other "
                "values; convert again"
            )
        config = SpikingConfig(**{**asdict(self.config), **changes})
        return SpikingNetwork(self.program, self.constants, config)

    @property
    def latency_steps(self) -> int | None:
        """Clock steps from input to output; None where a call ends only at silence."""
        config = self.config
        if config.firing == "deferred":
            deepest = max(simulation.depths(self.executor).values(), default=0)
            return config.timesteps * (deepest + 1)
        return None if config.settle is None else config.timesteps + config.settle

    def extra_repr(self) -> str:
        c = self.config
        settle = "auto" if c.settle is None else c.settle
        kind = c.neuron if c.leak is None else f"lif, tau={c.leak:g}"
        kind += "" if c.v_reset is None else ", hard reset"
        return (
            f"neuron={kind}, timesteps={c.timesteps}, firing={c.firing}, signed={c.signed}, "
            f"settle={settle}, code={c.code}, simulate={c.simulate}, norm={c.norm}, "
            f"reset={c.reset}, neuron layers={len(self.executor.neurons)}"
        )

    def to_content(self) -> dict[str, Any]:
        """Plain values and tensors from which `from_content` rebuilds the network."""
        config = {**asdict(self.config), "program": encode_program(self.program)}
        return {"config": config, "state": {k: v.cpu() for k, v in self.constants.items()}}

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> SpikingNetwork:
        """Inverse of `to_content`. CheckpointError if the content is damaged."""
        try:
            config = dict(content["config"])
            program = decode_program(config.pop("program"))
            return cls(program, dict(content["state"]), SpikingConfig(**config))
        except CheckpointError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"converted network: is damaged ({error})") from error
