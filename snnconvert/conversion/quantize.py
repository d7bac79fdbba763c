"""The quantised ANN of any network: quantised clips in place of its activations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from torch import Tensor, nn

from snnconvert.common.checks import checked_integer
from snnconvert.common.denoises import facts_of, with_facts
from snnconvert.common.warning import warn
from snnconvert.common.words import counted
from snnconvert.conversion.calibration.bias_correction import adjust
from snnconvert.conversion.calibration.calibrate import Calibration, calibrate
from snnconvert.conversion.calibration.judged import Judged
from snnconvert.conversion.calibration.options import CalibrationOptions
from snnconvert.conversion.calibration.over_t import time_argument
from snnconvert.conversion.calibration.quantizers import place_quantizers
from snnconvert.conversion.calibration.start_potential import start_fits
from snnconvert.conversion.calibration.weights.calibrate import calibrate_weights
from snnconvert.conversion.calibration.weights.learned_ceilings import learn_ceilings
from snnconvert.conversion.calibration.weights.reconstruct import Networks
from snnconvert.conversion.capture.captured import Captured
from snnconvert.conversion.capture.captured_network import CapturedNetwork
from snnconvert.conversion.convertible import Convertible, convertible_of
from snnconvert.conversion.graph.nodes import ceiling_name
from snnconvert.conversion.graph.owned import owned
from snnconvert.conversion.graph.program import Program
from snnconvert.conversion.prepare.batch_norm import fold_batch_norms
from snnconvert.conversion.prepare.own_ceilings import joined_ceilings, learned_again
from snnconvert.conversion.prepare.sites import Site
from snnconvert.conversion.spiking.config import LONGEST
from snnconvert.errors import InputError
from snnconvert.files.fingerprint import weight_digests

PASS_BYTES = 1 << 28  # what the largest activation of one pass of bias correction may take
PASS_INPUTS = 256


def quantize(
    model: nn.Module,
    levels: int,
    *,
    example_inputs: Any = None,
    calibration: Iterable[Any] | None = None,
    threshold: str = "mse",
    per_channel: bool = True,
    bias_correction: bool = False,
    spiking_time: bool = False,
) -> CapturedNetwork:
    """`model` with quantised clips for activations, to be trained further and then converted.

    Its weights are copies that keep their names, so `state_dict` keys are those of `model` plus one
    `<activation>_ceiling` each, which learns too; so do those of quantisers and clips that `model`
    was trained with, which keep their levels. Convert the result with `timesteps=levels` and
    nothing is lost.

    Args:
        model: any network that `check` accepts; it is left as it was.
        levels: steps above zero of every activation.
        example_inputs: arguments of one call, as `convert` takes them.
        calibration: batches to start the ceilings from; default the example inputs.
        spiking_time: clips also where nothing but the diffusion time is read; see `convert`.

    Raises:
        UnsupportedOpError: operations without a rule, all of them by layer.
        InputError: `levels` is none that timesteps could tell (65,535 at most), or unusable
            example or calibration inputs.
    """
    levels = checked_integer("levels", levels, 1, LONGEST)
    batches = [example_inputs] if calibration is None else calibration
    options = CalibrationOptions(
        threshold=threshold, per_channel=per_channel, bias_correction=bias_correction
    )
    network = convertible_of(model, example_inputs, trainable=True, spiking_time=spiking_time)
    qann = quantized_network(network, levels, batches, options, trainable=True)[0]
    return with_facts(qann, facts_of(model))


def quantized_network(
    network: Convertible,
    levels: int,
    calibration: Iterable[Any] | None,
    options: CalibrationOptions,
    *,
    trainable: bool = False,
) -> tuple[CapturedNetwork, Calibration | None]:
    """The quantised network that a conversion of `network` equals, and what calibration found.

    None where every activation had its threshold already, so that `calibration` was not read.

    Raises:
        InputError: it needs calibration and there is none, or there is nothing to fit.
    """
    refuse_nothing_to_fit(network, options)
    found: Calibration | None = None
    ceilings: dict[str, Tensor] = {}
    if network.open_sites:
        if calibration is None:
            raise InputError(needs_calibration(network.name, network.open_sites))
        found = calibrate(
            network.program, network.constants, network.sites, calibration, levels, options
        )
        found.origin = weight_digests(network.captured.constants.values())
        ceilings = found.ceilings
    over_t = found.over_t if found else None
    quantised, constants = place_quantizers(
        network.program, network.constants, network.sites, ceilings, levels, over_t
    )
    quantised, constants = joined_ceilings(network.captured, quantised, constants)
    if found is not None:
        quantised, constants = _fitted(network, quantised, constants, found, options)
        if not trainable:
            quantised, constants = fold_batch_norms(quantised, constants)
    captured = network.captured
    if trainable:
        captured, constants = learned_again(captured, quantised, constants)
    paths, parameters = _named_ceilings(captured, quantised, ceilings)
    kept = parameters if trainable else frozenset()
    if trainable:  # parameters become copies by themselves
        buffers = {name: value for name, value in constants.items() if name not in kept}
        constants |= owned(buffers, network.captured.constants.values())
    result = Captured(quantised, constants, paths, kept)
    return CapturedNetwork(result, network.functions), found


def _fitted(
    network: Convertible,
    quantised: Program,
    constants: dict[str, Tensor],
    found: Calibration,
    options: CalibrationOptions,
) -> tuple[Program, dict[str, Tensor]]:
    """The quantised network with trained ceilings and weights and corrected biases.

    What was trained is not taken where it makes samples escape that without it stay: training
    looks at usual inputs, and closes what a path needs beyond them.
    """
    finished = partial(_corrected, network, quantised, found=found, options=options)
    judge = found.path.judge if found.path else None
    untrained: Judged | None = None
    for option, train in _trainings(network, quantised, found, options):
        new = train(constants)
        if judge is not None and found.path is not None:
            untrained = untrained or judge(*finished(constants))
            trained = judge(*finished(new))
            if trained.escaped > untrained.escaped:
                found.path.left_out.append(option)
                found.weights = None if option == "weights" else found.weights
                told = "threshold='learned'" if option == "threshold" else "the training of weights"
                warn(
                    f"path: {told} is left out: with it {trained.escaped:,} of "
                    f"{counted(trained.samples, 'sample')} escape on the solver's path, "
                    f"{untrained.escaped:,} without"
                )
                continue
            untrained = trained
        constants = new
    return finished(constants)


def _trainings(
    network: Convertible, quantised: Program, found: Calibration, options: CalibrationOptions
) -> Iterator[tuple[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]]]:
    """(option, constants -> trained ones) of all that is to be trained, in order."""
    ceilings = set(map(ceiling_name, found.ceilings))
    training = options.training
    if options.threshold == "learned":
        yield (
            "threshold",
            lambda constants: learn_ceilings(
                network.program, quantised, constants, sorted(ceilings), found.kept.calls(32)
            ),
        )
    if training is not None:
        trainable = network.captured.trainable | ceilings
        networks = Networks(network.program, quantised, frozenset(found.ceilings), trainable)

        def trained(constants: dict[str, Tensor]) -> dict[str, Tensor]:
            new, found.weights = calibrate_weights(networks, constants, found.kept, training)
            return new

        yield "weights", trained


def _corrected(
    network: Convertible, quantised: Program, constants: dict[str, Tensor], *, found: Calibration,
    options: CalibrationOptions,
) -> tuple[Program, dict[str, Tensor]]:  # fmt: skip
    """The quantised network with corrected biases and fitted starts, as far as they are wanted."""
    if not (options.bias_correction or options.starts):
        return quantised, constants
    rows = max(1, min(PASS_INPUTS, PASS_BYTES // found.bytes_per_input))
    fits = start_fits(quantised, network.sites, options.per_channel) if options.starts else {}
    return adjust(
        network.program, quantised, constants, network.sites, found.kept.calls(rows),
        network.constants, bias=options.bias_correction, starts=fits,
    )  # fmt: skip


def _named_ceilings(
    captured: Captured, quantised: Program, ceilings: dict[str, Tensor]
) -> tuple[dict[str, str], frozenset[str]]:
    """User names of all constants with the new ceilings, and which of them are trainable."""
    layers = {node.name: node.layer for node in quantised.nodes}
    paths = dict(captured.paths)
    for name in ceilings:
        prefix = f"{layers[name]}." if layers[name] else ""
        paths[ceiling_name(name)] = f"{prefix}{ceiling_name(name)}"
    return paths, captured.trainable | set(map(ceiling_name, ceilings))


def refuse_nothing_to_fit(network: Convertible, options: CalibrationOptions) -> None:
    """InputError where weights or thresholds over t are wanted and every activation has its own."""
    wanted = {
        "weights": options.training is not None,
        "thresholds_over_t": options.thresholds_over_t > 1,
        "v_init": options.starts,
    }
    for option in (name for name, given in wanted.items() if given and not network.open_sites):
        raise InputError(
            f"{option}: every activation of {network.name} was trained quantised, there is nothing "
            f"to calibrate: leave {option} out"
        )
    over_path = options.path is not None and bool(network.open_sites)
    for option, given in (("thresholds_over_t", wanted["thresholds_over_t"]), ("path", over_path)):
        if given:  # before the slow passes
            time_argument(network.program, options.t_argument, option)


def needs_calibration(name: str, sites: list[Site]) -> str:
    layers = ", ".join(site.layer for site in sites[:3])
    more = f" and {len(sites) - 3} more" if len(sites) > 3 else ""
    return (
        f"{name}: {len(sites)} activations have no threshold ({layers}{more}); pass "
        "calibration=batches, an iterable of a few batches of real inputs (--calibrate on the "
        "command line), or train it with quantised activations (snnconvert.quantize)"
    )
