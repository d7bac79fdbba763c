"""The converted network: an `nn.Module` with the signature of its ANN and a clock inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from snnconvert.common.denoises import facts_of, with_facts
from snnconvert.conversion.capture.captured import Captured, HoldsProgram
from snnconvert.conversion.capture.captured_network import CapturedNetwork
from snnconvert.conversion.execution.executor import Executor
from snnconvert.conversion.graph.encoding import check_references, decode_program, encode_program
from snnconvert.conversion.graph.nodes import Neuron
from snnconvert.conversion.graph.owned import on_cpu, owned
from snnconvert.conversion.graph.program import Program
from snnconvert.conversion.rules.layer_names import layer_names, plain_name
from snnconvert.conversion.spiking import simulation
from snnconvert.conversion.spiking.config import SpikingConfig
from snnconvert.conversion.spiking.neuron_nodes import (
    COMMON_START,
    Cell,
    cells_of,
    place_clips,
    refuse_signed,
    refuse_unfitted,
    signed_of,
    tables_of,
    weakened,
)
from snnconvert.conversion.spiking.simulation import Call, Recorder, Run
from snnconvert.conversion.spiking.still_judged import checked, still_judged, unjudged
from snnconvert.conversion.spiking.trial_run import check_neurons, verify
from snnconvert.errors import CheckpointError, InputError, SnnconvertError
from snnconvert.neurons.spiking import CallRecord, Spiking

RECORDS = (None, "counts", "spikes")
FITTED_FOR = ("timesteps", "firing", "tau", "v_reset", "v_init")  # what a leaky fit depends on


class SpikingNetwork(Spiking, HoldsProgram):
    """A converted network. Call it like its ANN; it resets itself at every call.

    With `reset="trajectory"` the counts stay from one call to the next, and the next input is
    a change. Every call still ends in silence, so its result depends on its own inputs alone; a
    batch of another shape therefore just starts at zero again, and `reset()` does so at any time.

    Attributes:
        history: a `CallRecord` per call after `keep_history()`; None (default) keeps none.
        names: of its layers, as reports, warnings and `run` say them, by node name.

    Args:
        program: captured network whose activations are neuron nodes (see `neuron_nodes`).
        constants: weights, thresholds and other fixed tensors by name.
        config: how it spikes.
        calibration: what was found where thresholds were calibrated; empty for learned ones.
    """

    stage = "snn"
    config: SpikingConfig

    def __init__(
        self, program: Program, constants: dict[str, Tensor], config: SpikingConfig,
        calibration: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.program = program
        self.config = config
        self.executor = Executor(program)
        self.names = layer_names(program)
        self.calibration = dict(calibration or {})
        self.history = None
        self._cells: dict[str, Cell] = {}
        self._carried: dict[str, Tensor] = {}
        self._carried_from: Any = None  # shapes, types and places of the inputs that left them
        self._keys = [(name, f"constant_{name}") for name in constants]
        for name, value in constants.items():
            self.register_buffer(f"constant_{name}", value)
        refuse_signed(signed_of(program), config)
        refuse_unfitted(program, constants, config)

    @property
    def constants(self) -> dict[str, Tensor]:
        held = self._buffers  # asking the module itself for every one takes several times as long
        return {n: getattr(self, k) if (v := held.get(k)) is None else v for n, k in self._keys}

    @property
    def neurons(self) -> dict[str, Cell]:
        """Neuron layers by name, in order; thresholds that depend on t are the whole table."""
        constants = self.constants
        tables = tables_of(self.program).items()
        cells = self.cells({**constants, **{name: constants[table] for name, table in tables}})
        return {self.names[node]: cell for node, cell in cells.items()}

    def cells(self, values: Mapping[str, Any]) -> dict[str, Cell]:
        """The neuron layers in a call, by node name.

        Args:
            values: of its constants, inputs and all that depends on no spike.
        """
        self._cells = cells = cells_of(self.executor.neurons, values, self.config, self._cells)
        return cells

    @property
    def layers(self) -> dict[str, str]:
        """The user's module path of each neuron layer, by the layer's own name."""
        return {self.names[node.name]: plain_name(node) for node in self.executor.neurons}

    @property
    def functions(self) -> dict[str, str | None]:
        """Function applied to the accumulated potential before each neuron layer, or None."""
        neurons = self.executor.neurons
        return {self.names[node.name]: Neuron.of(node).function for node in neurons}

    @property
    def functions_of_time(self) -> list[str]:
        """Activations that stay functions, for only the time (or a label) reaches them."""
        neurons = {node.name for node in self.executor.neurons}
        return [name for node, name in self.names.items() if node not in neurons]

    def quantized_ann(self) -> CapturedNetwork:
        """The quantised ANN of `config.levels` as a module; weights are shared.

        What this network equals wherever nothing is lost.
        """
        program = place_clips(self.program, self.config)
        read = {name for node in program.nodes for name in node.refs} | program.output_names
        start = {COMMON_START: torch.tensor(self.config.start, dtype=torch.float64)}
        constants = {n: value for n, value in (self.constants | start).items() if n in read}
        neurons = [(node.name, Neuron.of(node)) for node in self.executor.neurons]
        functions = {name: neuron.function for name, neuron in neurons if neuron.function}
        network = CapturedNetwork(Captured(program, constants, {}), functions)
        return with_facts(network, facts_of(self)).eval()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        def output(*args: Any, **kwargs: Any) -> Any:
            return self._run(args, kwargs, None, lean=self.history is None).output

        return self.of_any_batch(output, args, kwargs, self.quantized_ann)

    @torch.no_grad()
    def run(self, *args: Any, record: str | None = None, **kwargs: Any) -> Run:
        """One call with its bookkeeping.

        Args:
            args, kwargs: as the ANN takes them, batch first.
            record: "counts" adds spikes emitted and the output by step, "spikes" whole trains too.

        Raises:
            InputError: other inputs than the captured ones, or an unknown `record`.
        """
        return self._run(args, kwargs, record).named(self.names)

    @torch.no_grad()
    def _run(self, args: Any, kwargs: Any, record: str | None, lean: bool = False) -> Run:
        """As `run`; `lean`: nothing but the output is wanted."""
        if record not in RECORDS:
            raise InputError(f"record: found {record!r}, allowed are None, 'counts' and 'spikes'")
        inputs = self.program.bind(args, kwargs)
        if record == "spikes" and self.config.simulate == "counts":
            raise InputError("record='spikes' needs simulate='steps'")
        recorder = Recorder(self.executor, record, tally=self.history is not None)
        try:
            values = self.executor.start(self.constants, inputs)
        except (RuntimeError, IndexError, TypeError) as error:
            raise self.program.explained(error, inputs) from error
        cells = self.cells(values)
        sums = self.config.norm != "per_step"
        call = Call(self.executor, values, cells, self.config.timesteps, recorder, sums)
        kept = [(value.shape, value.dtype, value.device) for value in inputs]
        carried = self._carried if self._carried_from == kept else None
        run = self._simulate(call, carried, lean)
        run.neurons = cells
        if self.config.reset == "trajectory":
            # NaN inputs leave counts that no later call may go on from
            sound = all(bool(n.double().sum().isfinite()) for n in run.counts.values())
            self._carried, self._carried_from = run.counts, kept if sound else None
        if self.history is not None:
            counts = sum(float(n.double().abs().sum()) for n in run.counts.values())
            each = self.program.batch_size(inputs)
            self.history.append(
                CallRecord(run.steps, recorder.fired / each, counts / each, carried is not None)
            )
        return run

    def _simulate(self, call: Call, carried: dict[str, Tensor] | None, lean: bool) -> Run:
        config = self.config
        if config.simulate == "counts":
            return simulation.by_counts(call, lean)
        if config.norm == "per_step":
            return simulation.per_step(call, config.signed)
        if config.firing == "deferred":
            return simulation.deferred(call)
        if not config.held_as_counts:
            return simulation.potentials(call, config.settle or 0, config.signed)
        return simulation.immediate(call, config.settle, config.signed, carried, lean)

    def reset(self) -> None:
        """Forget the counts that `reset="trajectory"` carries from call to call."""
        self._carried, self._carried_from = {}, None

    def keep_history(self) -> None:
        """From now on `history` holds a `CallRecord` of every call; starts an empty one."""
        self.history = []

    def _apply(self, *args: Any, **kwargs: Any) -> SpikingNetwork:
        self.reset()  # carried counts do not move to another device or type
        result: SpikingNetwork = super()._apply(*args, **kwargs)
        return result

    def with_config(self, **changes: Any) -> SpikingNetwork:
        """The same network spiking another way; weights are shared, not copied.

        Raises:
            InputError: as `SpikingConfig`, or a change that a leaky network's fit does not fit.
        """
        changed = [k for k in FITTED_FOR if k in changes and changes[k] != getattr(self.config, k)]
        if changed and self.config.neuron == changes.get("neuron", "lif") == "lif":
            raise InputError(
                f"{', '.join(changed)}: the thresholds of neuron='lif' were fitted for other "
                "values; convert again"
            )
        config = SpikingConfig(**{**asdict(self.config), **changes})
        known = still_judged(self.calibration, self.config, config)
        network = SpikingNetwork(self.program, self.constants, config, known)
        return with_facts(network, facts_of(self))

    def _with_thresholds(self, scale: float) -> SpikingNetwork:
        program, known = weakened(self.program, scale), unjudged(self.calibration)
        network = SpikingNetwork(program, self.constants, self.config, known)
        return with_facts(network, facts_of(self)).eval()

    def captured(self) -> Captured:
        raise InputError(
            "model: is a converted network already; with_config(...) changes how it spikes, and "
            "quantized_ann() gives the network that it equals"
        )

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
        kind += "" if c.v_init == 0.5 else f", v_init={c.v_init}"
        return (
            f"neuron={kind}, timesteps={c.timesteps}, firing={c.firing}, signed={c.signed}, "
            f"settle={settle}, code={c.code}, simulate={c.simulate}, norm={c.norm}, "
            f"reset={c.reset}, neuron layers={len(self.executor.neurons)}"
        )

    @property
    def description(self) -> str:
        weight_count = sum(v.numel() for v in self.constants.values() if v.is_floating_point())
        return f"{weight_count:,} weights, {self.extra_repr()}"

    def to_content(self) -> dict[str, Any]:
        """Plain values and tensors from which `from_content` rebuilds the network."""
        program = encode_program(self.program)
        config = {**asdict(self.config), "program": program, "calibration": self.calibration}
        return {"config": config, "state": on_cpu(self.constants)}

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> SpikingNetwork:
        """Inverse of `to_content`. CheckpointError if the content is damaged."""
        try:
            config = dict(content["config"])
            program = decode_program(config.pop("program"))
            check_references(program, content["state"])
            check_neurons(program, content["state"])
            calibration = checked(config.pop("calibration", {}))
            state = owned(content["state"], content["state"].values())
            network = cls(program, state, SpikingConfig(**config), calibration)
            verify(program, network.constants, network.config)
            return network
        except CheckpointError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise CheckpointError(f"converted network: is damaged ({error})") from error


def converted(
    network: object, refusal: str = "", error: type[SnnconvertError] = InputError
) -> SpikingNetwork:
    """`network` where it is a converted one, else `error` with `refusal`."""
    if not isinstance(network, SpikingNetwork):
        found = f"snn: found {type(network).__name__}, needed is what `convert` returns"
        raise error(refusal or found)
    return network
