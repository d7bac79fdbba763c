"""The quantised ANN of any network: quantised clips in place of its activations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from snnconvert.conversion.bias import correct_bias
from snnconvert.conversion.calibrate import Calibration, calibrate, place_quantizers
from snnconvert.conversion.calibrate_weights import calibrate_weights
from snnconvert.conversion.capture import Captured
from snnconvert.conversion.captured_network import CapturedNetwork
from snnconvert.conversion.check import captured_of, prepared, refuse_problems
from snnconvert.conversion.learn import learn_ceilings
from snnconvert.conversion.program import Program
from snnconvert.conversion.reconstruct import Networks
from snnconvert.conversion.sites import Site, find_sites
from snnconvert.conversion.thresholds import check_criterion
from snnconvert.conversion.weights import WeightCalibration, weight_calibration
from snnconvert.errors import InputError

PASS_BYTES = 1 << 28  # what the largest activation of one pass of bias correction may take
PASS_INPUTS = 256


NOTHING_TO_CALIBRATE = (
    "weights: found {!r}, but every activation of {} was trained quantised, there is nothing to "
    "calibrate: use weights='kept'"
)


def quantize(
    model: nn.Module,
    levels: int,
    *,
    example_inputs: Any = None,
    calibration: Iterable[Any] | None = None,
    threshold: str = "mse",
    per_channel: bool = True,
    bias_correction: bool = False,
) -> CapturedNetwork:
    """`model` with quantised clips for activations, to be trained further and then converted.

    Its weights keep their names, so `state_dict` keys are those of `model` plus one
    `<activation>_ceiling` each, which learns too. Convert the result with `timesteps=levels` and
    nothing is lost.

    Args:
        model: any network that `check` accepts; it is left as it was.
        levels: steps above zero of every activation.
        example_inputs: arguments of one call, as `convert` takes them.
        calibration: batches to start the ceilings from; default the example inputs.

    Raises:
        UnsupportedOpError: operations without a rule, all of them by layer.
        InputError: `levels` is no positive integer, or unusable example or calibration inputs.
    """
    if isinstance(levels, bool) or not isinstance(levels, int) or levels < 1:
        raise InputError(f"levels: found {levels!r}, allowed are integers from 1 up")
    batches = [example_inputs] if calibration is None else calibration
    return quantized_network(
        model, levels, example_inputs=example_inputs, calibration=batches, threshold=threshold,
        per_channel=per_channel, bias_correction=bias_correction, trainable=True,
    )[0]  # fmt: skip


def quantized_network(
    model: nn.Module,
    levels: int,
    *,
    example_inputs: Any,
    calibration: Iterable[Any] | None,
    threshold: str,
    per_channel: bool,
    bias_correction: bool,
    trainable: bool = False,
    weights: str | WeightCalibration = "kept",
) -> tuple[CapturedNetwork, Calibration | None]:
    """The quantised network that a conversion of `model` equals, and what calibration found.

    None where every activation had its threshold already, so that `calibration` was not read.

    Raises:
        InputError: it needs calibration and there is none.
        UnsupportedOpError: as `convert`.
    """
    check_criterion(threshold)
    options = weight_calibration(weights)
    captured = captured_of(model, example_inputs)
    program, constants = prepared(captured, fold=not trainable)
    refuse_problems(type(model).__name__, program, constants, captured.trainable)
    sites = find_sites(program, constants)
    open_sites = [site for site in sites if site.needs_ceiling]
    functions = {site.node.name: site.function for site in sites if site.function}
    if isinstance(model, CapturedNetwork):
        functions |= model.functions
    found: Calibration | None = None
    ceilings: dict[str, Tensor] = {}
    if open_sites:
        if calibration is None:
            raise InputError(needs_calibration(type(model).__name__, open_sites))
        found = calibrate(
            program, constants, sites, calibration, levels=levels, threshold=threshold,
            per_channel=per_channel,
        )  # fmt: skip
        ceilings = found.ceilings
    original = constants
    quantised, constants = place_quantizers(program, constants, sites, ceilings, levels)
    if found is not None and threshold == "learned":
        learned = [f"{name}_ceiling" for name in ceilings]
        constants = learn_ceilings(program, quantised, constants, learned, found.kept.calls(32))
    if options is not None:
        if found is None:
            raise InputError(NOTHING_TO_CALIBRATE.format(weights, type(model).__name__))
        names = {f"{name}_ceiling" for name in ceilings}
        networks = Networks(program, quantised, frozenset(ceilings), captured.trainable | names)
        constants, found.weights = calibrate_weights(networks, constants, found.kept, options)
    if found is not None and bias_correction:
        rows = max(1, min(PASS_INPUTS, PASS_BYTES // found.bytes_per_input))
        quantised, constants = correct_bias(
            program, quantised, constants, sites, found.kept.calls(rows), original
        )
    paths, parameters = _named_ceilings(captured, quantised, ceilings)
    kept = parameters if trainable else frozenset()
    return CapturedNetwork(Captured(quantised, constants, paths, kept), functions), found


def _named_ceilings(
    captured: Captured, quantised: Program, ceilings: dict[str, Tensor]
) -> tuple[dict[str, str], frozenset[str]]:
    """User names of all constants with the new ceilings, and which of them are trainable."""
    layers = {node.name: node.layer for node in quantised.nodes}
    paths = dict(captured.paths)
    for name in ceilings:
        prefix = f"{layers[name]}." if layers[name] else ""
        paths[f"{name}_ceiling"] = f"{prefix}{name}_ceiling"
    return paths, captured.trainable | {f"{name}_ceiling" for name in ceilings}


def needs_calibration(name: str, sites: list[Site]) -> str:
    layers = ", ".join(site.node.layer or site.node.name for site in sites[:3])
    more = f" and {len(sites) - 3} more" if len(sites) > 3 else ""
    return (
        f"{name}: {len(sites)} activations have no threshold ({layers}{more}); pass "
        "calibration=batches, an iterable of a few batches of real inputs, or train it with "
        "quantised activations (snnconvert.quantize)"
    )
