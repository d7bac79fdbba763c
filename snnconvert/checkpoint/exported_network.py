"""An exported network, run by onnxruntime: call it like the network that it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnconvert.checkpoint.exported_facts import ExportedFacts
from snnconvert.common.inputs import Inputs
from snnconvert.conversion.graph.program import Program
from snnconvert.conversion.graph.values import substitute
from snnconvert.errors import CheckpointError, InputError
from snnconvert.neurons.spiking import CallRecord, Spiking

STEPS, LEFT = "steps", "left"  # outputs of our own
STEP = "step"  # input of the step form


def open_session(model: str | bytes, source: str) -> Any:
    """An onnxruntime session of a file or of its content, with as many threads as PyTorch has.

    Raises:
        CheckpointError: onnxruntime refuses it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base of their own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{source}: onnxruntime cannot run it ({reason})") from error


class ExportedNetwork(Spiking):
    """A network in an ONNX file of ours; runs on the CPU, results come back to the input's device.

    Args:
        session: of onnxruntime.
        facts: what the file says of itself.
        source: its name, for messages.
    """

    stage = "snn"

    def __init__(self, session: Any, facts: ExportedFacts, source: str) -> None:
        super().__init__()
        self.session, self.facts, self.source = session, facts, source
        self.config = facts.config
        self.outputs = [output.name for output in session.get_outputs()]
        inputs = {value.name for value in session.get_inputs()}
        if not inputs.issuperset((*facts.names, *facts.states)):
            raise CheckpointError(f"{source}: its metadata speaks of inputs that it does not have")
        self._program = Program(facts.inputs, (), facts.output, facts.signature)

    @property
    def takes(self) -> Inputs:
        return self._program.takes

    @property
    def layers(self) -> dict[str, str]:
        return self.facts.layers

    @property
    def description(self) -> str:
        config = self.config
        return (
            f"exported to ONNX, form={self.facts.form}, timesteps={config.timesteps}, "
            f"firing={config.firing}, code={config.code}, neuron layers={len(self.layers)}"
        )

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        inputs = self._program.bind(args, kwargs)
        fed = {
            name: value.detach().cpu().contiguous().numpy()
            for name, value in zip(self.facts.names, inputs, strict=True)
        }
        found, steps = self.clock(fed) if self.facts.form == "step" else self.call(fed)
        if self.history is not None:
            self.history.append(CallRecord(steps, 0.0, 0.0, False))
        device = inputs[0].device if inputs else torch.device("cpu")

        def tensor(name: str) -> Tensor:
            return torch.from_numpy(found[name]).to(device)

        return substitute(self.facts.output, lambda ref: tensor(ref.name))

    def call(self, fed: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        """Every output of one run of the file, and the clock steps in it (0 without a clock)."""
        try:
            values = self.session.run(None, dict(fed))
        except Exception as error:  # as above
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InputError(f"{self.source}: onnxruntime cannot run it ({reason})") from error
        found = dict(zip(self.outputs, values, strict=True))
        return found, int(found[STEPS]) if STEPS in found else 0

    def zeros(self, rows: int) -> dict[str, Any]:
        """Counts at rest, by the name of their input, for a batch of so many rows."""
        types = {value.name: value.type for value in self.session.get_inputs()}
        return {
            name: np.zeros([n if n >= 0 else -n * rows for n in shape], NUMPY[types[name]])
            for name, shape in self.facts.states.items()
        }

    def clock(self, fed: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        """As `call` of the step form: run step by step, until silence where settle is "auto"."""
        rows = self._program.batch_size([torch.from_numpy(value) for value in fed.values()])
        counts = self.zeros(rows)
        for step in range(1, self.facts.bound + 1):
            found, _ = self.call({**fed, **counts, STEP: np.array(step, np.int64)})
            counts = {name: found[f"{name}.next"] for name in counts}
            waits = self.config.settle is None and step >= self.config.timesteps
            if waits and float(found[LEFT]) == 0:
                break
        return found, step

    def keep_history(self) -> None:
        self.history = []

    def to_content(self) -> dict[str, Any]:
        raise InputError(f"{self.source}: is an exported network; save the one it was made from")

    def _with_thresholds(self, scale: float) -> Spiking:
        raise InputError(
            f"{self.source}: is an exported network, its thresholds are fixed; scale them in the "
            "network that it was made from, and export that"
        )


NUMPY = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}
