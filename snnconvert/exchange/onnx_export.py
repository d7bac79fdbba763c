"""Converted networks as ONNX files of standard operations, tried in onnxruntime before they count.

    snnconvert.export_onnx(snn, "out.onnx", form="deferred")

"deferred": the whole network in one pass over spike counts. "step": one time step, the counts of
every layer as inputs and outputs. "clock": the loop over all steps, until silence where settle is
"auto".
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import nn

from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.common.checks import checked_number
from snnconvert.conversion.spiking.on_cpu import network_on_cpu
from snnconvert.errors import InputError
from snnconvert.exchange.examples import example_inputs
from snnconvert.exchange.exportable import exportable
from snnconvert.exchange.onnx_model import onnx_model
from snnconvert.exchange.parity import TOLERANCE, Parity, check_parity, report_path
from snnconvert.files.atomic import check_destination, json_writer, write_together


def export_onnx(
    network: nn.Module, path: str | Path, *, form: str = "deferred",
    examples: Iterable[Any] = (), like: Checkpoint | None = None, tolerance: float = TOLERANCE,
) -> Parity:  # fmt: skip
    """Write a converted network as ONNX, and beside it (`.parity.json`) how well it compares.

    Args:
        network: converted, on any device; left as it is.
        path: of the `.onnx` file.
        form: "deferred" (one pass), "step" (one time step) or "clock" (the loop over steps).
        examples: batches of inputs to compare on, as `convert` takes them; default random ones.
        like: the checkpoint that it comes from: its schedule, prediction and recipe go along.
        tolerance: largest relative error of an output without a float tie.

    Raises:
        InputError: a network that the form cannot express, a path that cannot be written, a file
            that onnxruntime runs to another result (it is not written).
        UnsupportedOpError: an operation without an ONNX form.
    """
    check_name(path)
    tolerance = checked_number("tolerance", tolerance, "(0, inf)")
    snn = network_on_cpu(exportable(network, form))
    out = check_destination(path)
    report = check_destination(report_path(out))
    inputs = example_inputs(snn, examples)
    exported = onnx_model(snn, form, like)
    content = exported.content()
    found = check_parity(exported, content, inputs, tolerance, str(out))
    write_together({out: lambda file: file.write(content), report: json_writer(found.to_dict())})
    return found


def check_name(path: str | Path) -> None:
    """InputError for a file name that is no ONNX file's."""
    if Path(path).suffix.lower() != ".onnx":
        raise InputError(f"{path}: an exported network is a .onnx file; name it so")
