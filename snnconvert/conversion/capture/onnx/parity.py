"""What onnxruntime computes of a file, to hold the imported network against."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from snnconvert.conversion.capture.onnx.inputs import Wanted
from snnconvert.conversion.capture.onnx.network import OnnxNetwork
from snnconvert.errors import CheckpointError, UnsupportedOpError

TOLERANCE = 1e-5  # relative, of outputs in float32
RESOLUTION = 2.0**-23  # of float32 near 1: how far a sigmoid near 0 is off in onnxruntime
HALF = 2e-2  # where the file computes in half precision
DIGIT = 1e-6  # relative change of an input that means nothing
OWN = 8  # times as far as such a change moves onnxruntime's result, where that is more
ROUNDED = 5e-2  # relative; a result that moves further hides errors


class Runtime:
    """A file in onnxruntime, which computes it node by node as it is written.

    Args:
        path: of the file.
        wanted: its inputs.
        content: the model itself, where it is not the file as it is.

    Raises:
        CheckpointError: onnxruntime cannot read it.
    """

    def __init__(self, path: Path, wanted: Sequence[Wanted], content: bytes | None = None) -> None:
        self.path, self.wanted = path, wanted
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        options.intra_op_num_threads = torch.get_num_threads()
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(path.parent.resolve())
        )
        try:
            self.session = onnxruntime.InferenceSession(
                str(path) if content is None else content, options,
                providers=["CPUExecutionProvider"],
            )  # fmt: skip
        except Exception as error:  # it has a dozen of its own
            raise CheckpointError(f"{path}: onnxruntime cannot read it ({first(error)})") from error

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Outputs of one call, floats as float32. CheckpointError where the file cannot be run."""
        fed = {}
        for item, value in zip(self.wanted, inputs, strict=True):
            array = value.numpy()
            fed[item.name] = array.astype(np.float16) if item.code == 10 else array
        try:
            found = self.session.run(None, fed)
        except Exception as error:
            raise CheckpointError(
                f"{self.path}: onnxruntime cannot run it ({first(error)})"
            ) from error
        return [tensor(value) for value in found]


def tensor(value: object) -> Tensor:
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise UnsupportedOpError(f"an output holds {array.dtype}, no numbers")
    array = array.astype(np.float32) if array.dtype == np.float16 else array
    return torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape))


def first(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__


def outputs_of(network: OnnxNetwork, inputs: Sequence[Tensor]) -> list[Tensor]:
    with torch.no_grad():
        found = network(*(value.clone() for value in inputs))
    return [found] if isinstance(found, Tensor) else list(found)


def gap(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """Distance over size, the largest of all outputs; infinite where shapes differ."""
    if len(found) != len(wanted):
        return float("inf")
    largest = 0.0
    for a, b in zip(found, wanted, strict=True):
        if a.shape != b.shape:
            return float("inf")
        a, b = a.double(), b.double()
        same = (a == b) | (a.isnan() & b.isnan()) | ((a - b).abs() <= RESOLUTION)
        difference = torch.where(same, torch.zeros_like(a), a - b)
        size = torch.where(b.isfinite(), b, torch.zeros_like(b)).norm().clamp_min(1e-12)
        distance = float(difference.norm() / size) if difference.numel() else 0.0
        largest = max(largest, distance if distance == distance else float("inf"))
    return largest


def check_parity(
    network: OnnxNetwork, runtime: Runtime, inputs: Sequence[Tensor], path: Path
) -> float:
    """The relative distance between the network and onnxruntime on `inputs`.

    A network that magnifies rounding (a quantised one rounds up where another kernel rounds down)
    is held against how far onnxruntime's own result moves with the seventh digit of the inputs.

    Raises:
        UnsupportedOpError: they differ by more than rounding.
    """
    wanted, found = runtime(inputs), outputs_of(network, inputs)
    distance, allowed = gap(found, wanted), TOLERANCE
    if any(item.half for item in runtime.wanted) or network.halves:
        allowed = HALF
    if distance > allowed:
        allowed = max(allowed, min(OWN * sensitivity(runtime, inputs, wanted), ROUNDED))
    if not distance <= allowed:
        raise UnsupportedOpError(
            f"{path}: the imported network differs from onnxruntime by {distance:.2g} (relative) "
            f"on the example inputs, allowed is {allowed:.2g}; please report the file"
        )
    return distance


def sensitivity(runtime: Runtime, inputs: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """How far the result of onnxruntime moves when the inputs change in the seventh digit."""
    generator = torch.Generator().manual_seed(0)
    moved = [
        value * (1 + DIGIT * torch.randn(value.shape, generator=generator, dtype=value.dtype))
        if value.is_floating_point() else value
        for value in inputs
    ]  # fmt: skip
    return gap(runtime(moved), wanted)
