"""The quantised ANN as a module: run it, train it, convert it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from snnconvert.conversion.bias import correct_bias
from snnconvert.conversion.calibrate import calibrate, place_quantizers
from snnconvert.conversion.capture import Captured, capture
from snnconvert.conversion.check import refuse_problems
from snnconvert.conversion.interpret import Interpreter
from snnconvert.conversion.program import Node, Program, Ref
from snnconvert.conversion.rules import QUANTIZED_CLIP
from snnconvert.conversion.simplify import absorb_relu, fold_constants, recognise_swish
from snnconvert.conversion.sites import find_sites
from snnconvert.conversion.thresholds import check_criterion
from snnconvert.errors import InputError

BATCH_NORM = "aten.batch_norm.default"
TRAINING = 5  # position of the argument


class QuantizedNetwork(nn.Module):
    """A captured network that runs as it was captured; its parameters keep their names.

    In training mode batch norms use and update batch statistics; dropout is not part of it.

    Args:
        captured: program, constants, the user's names for them, and which are trainable.
    """

    def __init__(self, captured: Captured, functions: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.program = captured.program
        self.functions = dict(functions or {})
        self._paths: dict[str, str] = {}
        taken: set[str] = set()
        for name, value in captured.constants.items():
            path = captured.paths.get(name, name)
            path = name if path in taken else path
            taken.add(path)
            self._paths[name] = path
            owner, last = _owner(self, path)
            if name in captured.trainable and value.is_floating_point():
                owner.register_parameter(last, nn.Parameter(value.clone()))
            else:
                owner.register_buffer(last, value)
        self._interpreters = {
            mode: Interpreter(_in_mode(self.program, mode)) for mode in (False, True)
        }

    @property
    def constants(self) -> dict[str, Tensor]:
        """Every weight, buffer and ceiling by the name that the program uses."""
        found = {}
        for name, path in self._paths.items():
            owner, last = _owner(self, path)
            found[name] = getattr(owner, last)
        return found

    def captured(self) -> Captured:
        """Program and current constants, detached."""
        constants = {name: value.detach() for name, value in self.constants.items()}
        trainable = {n for n, v in self.constants.items() if isinstance(v, nn.Parameter)}
        return Captured(self.program, constants, self._paths, frozenset(trainable))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        inputs = self.program.bind(args, kwargs)
        return self._interpreters[self.training].run(self.constants, inputs)

    def extra_repr(self) -> str:
        clips = [node for node in self.program.nodes if node.op == QUANTIZED_CLIP]
        levels = sorted({node.args[2] for node in clips})
        return f"{len(clips)} quantised activations, levels {', '.join(map(str, levels))}"


def _owner(root: nn.Module, path: str) -> tuple[nn.Module, str]:
    """The module that holds `path`, made where it is missing, and the name in it."""
    *parents, last = path.split(".")
    for part in parents:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = root._modules[part]  # type: ignore[assignment]
    return root, last


def _in_mode(program: Program, training: bool) -> Program:
    def changed(node: Node) -> Node:
        if node.op != BATCH_NORM or not training:
            return node
        args = list(node.args)
        args[TRAINING] = isinstance(args[3], Ref)  # with running statistics to update
        return replace(node, args=tuple(args))

    return replace(program, nodes=tuple(map(changed, program.nodes)))


def quantize(
    model: nn.Module,
    levels: int,
    *,
    example_inputs: Any,
    calibration: Iterable[Any] | None = None,
    threshold: str = "mse",
    per_channel: bool = True,
    bias_correction: bool = False,
) -> QuantizedNetwork:
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
) -> tuple[QuantizedNetwork, dict[str, Any]]:
    """The quantised network that a conversion of `model` equals, and what calibration found.

    Raises:
        InputError: it needs calibration and there is none.
        UnsupportedOpError: as `convert`.
    """
    check_criterion(threshold)
    captured = model.captured() if isinstance(model, QuantizedNetwork) else capture(
        model, example_inputs
    )  # fmt: skip
    program, constants = captured.program, captured.constants
    if not trainable:
        program, constants = fold_constants(program, constants)
    program = absorb_relu(recognise_swish(program), constants)
    refuse_problems(type(model).__name__, program, constants, captured.trainable)
    sites = find_sites(program, constants)
    open_sites = [site for site in sites if site.needs_ceiling]
    functions = {site.node.name: site.function for site in sites if site.function}
    if isinstance(model, QuantizedNetwork):
        functions |= model.functions
    summary: dict[str, Any] = {}
    ceilings: dict[str, Tensor] = {}
    if open_sites:
        if calibration is None:
            raise InputError(needs_calibration(type(model).__name__, open_sites))
        found = calibrate(
            program, constants, sites, calibration, levels=levels, threshold=threshold,
            per_channel=per_channel,
        )  # fmt: skip
        ceilings = found.ceilings
        summary = {**found.to_dict(), "threshold": threshold, "per_channel": per_channel,
                   "bias_correction": bias_correction}  # fmt: skip
    quantised, constants = place_quantizers(program, constants, sites, ceilings, levels)
    if open_sites and bias_correction:
        quantised, constants = correct_bias(
            program, quantised, constants, sites, found.kept.calls(found.kept.limit)
        )
    names = {node.name: (node.layer or node.name) for node in quantised.nodes}
    paths = {**captured.paths}
    for name in ceilings:
        paths[f"{name}_ceiling"] = f"{names[name]}.{name}_ceiling"
    weights = captured.trainable | {f"{name}_ceiling" for name in ceilings}
    kept = frozenset(weights) if trainable else frozenset()
    return QuantizedNetwork(Captured(quantised, constants, paths, kept), functions), summary


def needs_calibration(name: str, sites: list[Any]) -> str:
    layers = ", ".join(site.node.layer or site.node.name for site in sites[:3])
    more = f" and {len(sites) - 3} more" if len(sites) > 3 else ""
    return (
        f"{name}: {len(sites)} activations have no threshold ({layers}{more}); pass "
        "calibration=batches, an iterable of a few batches of real inputs, or train it with "
        "quantised activations (snnconvert.quantize)"
    )
