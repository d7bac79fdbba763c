"""The converted network: an `nn.Module` with the signature of its ANN and a clock inside."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from snnconvert.conversion import simulate
from snnconvert.conversion.executor import Executor
from snnconvert.conversion.program import Node, Program, Ref, decode_program, encode_program
from snnconvert.conversion.rules import NEURON, QUANTIZED_CLIP
from snnconvert.conversion.simulate import Recorder, Run
from snnconvert.errors import CheckpointError, InputError
from snnconvert.neurons.counts import IF

if TYPE_CHECKING:
    from snnconvert.conversion.captured_network import CapturedNetwork

RECORDS = (None, "counts", "spikes")


@dataclass(frozen=True)
class SpikingConfig:
    """How a converted network spikes.

    Attributes:
        timesteps: T, steps in which the input is presented; a neuron carries T levels.
        firing: "immediate" (fire while integrating) or "deferred" (integrate T steps, then fire).
        signed: spikes may be taken back by negative ones (immediate firing only).
        settle: input-free steps after the T; None until no neuron fires ("auto").
        simulate: "steps" (the clock runs) or "counts" (one pass, where that is exact).
        norm: "accumulated", or "per_step" to reproduce SDM's conversion.
        neuron: "if".
    """

    timesteps: int = 4
    firing: str = "immediate"
    signed: bool = True
    settle: int | None = None
    simulate: str = "steps"
    norm: str = "accumulated"
    neuron: str = "if"

    def __post_init__(self) -> None:
        if type(self.timesteps) is not int or self.timesteps < 1:
            raise InputError(f"timesteps: found {self.timesteps!r}, allowed are integers from 1 up")
        allowed = {"firing": ("immediate", "deferred"), "simulate": ("steps", "counts"),
                   "norm": ("accumulated", "per_step"), "neuron": ("if",)}  # fmt: skip
        for key, choices in allowed.items():
            if getattr(self, key) not in choices:
                found = getattr(self, key)
                raise InputError(f"{key}: found {found!r}, allowed: {', '.join(choices)}")
        if self.settle is not None and (type(self.settle) is not int or self.settle < 0):
            raise InputError(
                f"settle: found {self.settle!r}, allowed are integers from 0 up, or 'auto'"
            )
        fixed = self.firing == "immediate" and (self.settle is not None or not self.signed)
        combinations = [
            (self.simulate == "counts" and fixed,
             "simulate='counts' is exact only for deferred firing, and for immediate firing with "
             "signed spikes and settle='auto': use simulate='steps'"),
            (self.norm == "per_step" and (self.firing == "deferred" or self.simulate == "counts"),
             "norm='per_step' reproduces SDM's conversion, which fires immediately, step by step"),
            (self.norm == "per_step" and self.settle != 0,
             "norm='per_step' has no input-free steps: use settle=0"),
        ]  # fmt: skip
        for wrong, message in combinations:
            if wrong:
                raise InputError(message)


class SpikingNetwork(nn.Module):
    """A converted network. Call it like its ANN; it resets itself at every call.

    Args:
        program: captured network whose activations are "neuron" nodes
            `(input, name of the threshold, lowest count is negative, function before it or None)`.
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
        self.calibration: dict[str, Any] = {}
        self._names = tuple(constants)
        for name, value in constants.items():
            self.register_buffer(f"constant_{name}", value)

    @property
    def constants(self) -> dict[str, Tensor]:
        return {name: getattr(self, f"constant_{name}") for name in self._names}

    @property
    def neurons(self) -> dict[str, IF]:
        """Neuron layers by node name, in execution order."""
        timesteps = self.config.timesteps
        return {
            node.name: IF(
                getattr(self, f"constant_{node.args[1]}"),
                timesteps,
                -timesteps if node.args[2] else 0,
            )
            for node in self.executor.neurons
        }

    @property
    def layers(self) -> dict[str, str]:
        """The user's module path of each neuron layer, by node name."""
        return {node.name: node.layer or node.name for node in self.executor.neurons}

    @property
    def functions(self) -> dict[str, str | None]:
        """Function applied to the accumulated potential before each neuron layer, or None."""
        return {
            node.name: node.args[3] if len(node.args) > 3 else None
            for node in self.executor.neurons
        }

    def quantized_ann(self) -> CapturedNetwork:
        """The quantised ANN that this network equals, as a module; weights are shared."""
        from snnconvert.conversion.capture import Captured
        from snnconvert.conversion.captured_network import CapturedNetwork

        levels = self.config.timesteps

        def quantiser(node: Node) -> Node:
            if node.op != NEURON:
                return node
            source, ceiling, signed = node.args[:3]
            return replace(node, op=QUANTIZED_CLIP, args=(source, Ref(ceiling), levels, signed))

        program = replace(self.program, nodes=tuple(map(quantiser, self.program.nodes)))
        functions = {name: f for name, f in self.functions.items() if f}
        return CapturedNetwork(Captured(program, self.constants, {}), functions).eval()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(*args, **kwargs).output

    @torch.no_grad()
    def run(self, *args: Any, record: str | None = None, **kwargs: Any) -> Run:
        """One call with its bookkeeping.

        Args:
            args, kwargs: as the ANN takes them, batch first.
            record: "counts" adds spikes emitted and the output by step, "spikes" whole trains too.

        Raises:
            InputError: other inputs than the captured ones, or an unknown `record`.
        """
        if record not in RECORDS:
            raise InputError(f"record: found {record!r}, allowed are None, 'counts' and 'spikes'")
        values = self.executor.start(self.constants, self.program.bind(args, kwargs))
        config, neurons = self.config, self.neurons
        if config.simulate == "counts":
            if record == "spikes":
                raise InputError("record='spikes' needs simulate='steps'")
            return simulate.by_counts(self.executor, values, neurons)
        recorder = Recorder(self.executor, record)
        if config.norm == "per_step":
            return simulate.per_step(
                self.executor, values, neurons, config.timesteps, config.signed, recorder
            )
        if config.firing == "deferred":
            return simulate.deferred(self.executor, values, neurons, config.timesteps, recorder)
        return simulate.immediate(
            self.executor, values, neurons, config.timesteps, config.settle, config.signed, recorder
        )

    def with_config(self, **changes: Any) -> SpikingNetwork:
        """The same network spiking another way; weights are shared, not copied."""
        config = SpikingConfig(**{**asdict(self.config), **changes})
        network = SpikingNetwork(self.program, self.constants, config)
        network.calibration = self.calibration
        return network

    @property
    def latency_steps(self) -> int | None:
        """Clock steps from input to output; None where a call ends only at silence."""
        config = self.config
        if config.firing == "deferred":
            deepest = max(simulate.depths(self.executor).values(), default=0)
            return config.timesteps * (deepest + 1)
        return None if config.settle is None else config.timesteps + config.settle

    def extra_repr(self) -> str:
        c = self.config
        settle = "auto" if c.settle is None else c.settle
        return (
            f"timesteps={c.timesteps}, firing={c.firing}, signed={c.signed}, settle={settle}, "
            f"simulate={c.simulate}, norm={c.norm}, neuron layers={len(self.executor.neurons)}"
        )

    def to_content(self) -> dict[str, Any]:
        """Plain values and tensors from which `from_content` rebuilds the network."""
        config = {
            **asdict(self.config),
            "program": encode_program(self.program),
            "calibration": self.calibration,
        }
        return {"config": config, "state": {k: v.cpu() for k, v in self.constants.items()}}

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> SpikingNetwork:
        """Inverse of `to_content`. CheckpointError if the content is damaged."""
        try:
            config = dict(content["config"])
            program = decode_program(config.pop("program"))
            calibration = dict(config.pop("calibration", {}))
            network = cls(program, dict(content["state"]), SpikingConfig(**config))
            network.calibration = calibration
            return network
        except CheckpointError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"converted network: is damaged ({error})") from error
