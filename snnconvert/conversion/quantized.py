"""The quantised ANN of any network: quantised clips in place of its activations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from snnconvert.conversion.batch_norm import fold_batch_norms
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
    quantised, new = place_quantizers(program, constants, sites, ceilings, levels)
    if found is None:
        if options is not None:
            raise InputError(NOTHING_TO_CALIBRATE.format(weights, type(model).__name__))
    else:
        names = {f"{name}_ceiling" for name in ceilings}
        networks = Networks(program, quantised, frozenset(ceilings), captured.trainable | names)
        quantised, new = _fitted(
            networks, constants, new, sites, found, threshold == "learned", options,
            bias_correction,
        )  # fmt: skip
        if not trainable:
            quantised, new = fold_batch_norms(quantised, new)
    paths, parameters = _named_ceilings(captured, quantised, ceilings)
    kept = parameters if trainable else frozenset()
    return CapturedNetwork(Captured(quantised, new, paths, kept), functions), found


def _fitted(
    networks: Networks,
    original: dict[str, Tensor],
    constants: dict[str, Tensor],
    sites: list[Site],
    found: Calibration,
    learned: bool,
    options: WeightCalibration | None,
    bias_correction: bool,
) -> tuple[Program, dict[str, Tensor]]:
    """The quantised network with all that is fitted after its thresholds; `found` tells of it.

    Args:
        original, constants: of the float network and of the quantised one.
        learned: train the thresholds.
        options: train the weights too.
    """
    if learned:
        names = sorted(networks.ceilings)
        constants = learn_ceilings(
            networks.plain, networks.quantised, constants, names, found.kept.calls(32)
        )
    if options is not None:
        constants, found.weights = calibrate_weights(networks, constants, found.kept, options)
    if not bias_correction:
        return networks.quantised, constants
    rows = max(1, min(PASS_INPUTS, PASS_BYTES // found.bytes_per_input))
    return correct_bias(
        networks.plain, networks.quantised, constants, sites, found.kept.calls(rows), original
    )


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
