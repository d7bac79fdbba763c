"""A captured network as a module: run it, train it, convert it."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from snnconvert.common.words import counted
from snnconvert.conversion.capture.captured import Captured, HoldsProgram
from snnconvert.conversion.execution.interpreter import Interpreter
from snnconvert.conversion.execution.trial import known_part, try_program
from snnconvert.conversion.graph.encoding import check_references, decode_program, encode_program
from snnconvert.conversion.graph.nodes import BatchNorm, Clip, Neuron
from snnconvert.conversion.graph.owned import on_cpu, owned, seen_as
from snnconvert.conversion.graph.program import Node, Program
from snnconvert.errors import CheckpointError


class CapturedNetwork(nn.Module, HoldsProgram):
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
        self._interpreters: dict[bool, Interpreter] = {}  # by mode, made when it first runs
        taken: set[str] = set()
        made: dict[object, nn.Parameter] = {}  # what two names share they go on sharing
        for name, value in captured.constants.items():
            path = captured.paths.get(name, name)
            path = name if path in taken else path
            owner, path = _place(self, path)
            taken.add(path)
            self._paths[name] = path
            last = path.rpartition(".")[2]
            if name in captured.trainable and value.is_floating_point():
                key = seen_as(value) if value.numel() else name
                if key not in made:
                    made[key] = nn.Parameter(value.clone())
                owner.register_parameter(last, made[key])
            else:
                owner.register_buffer(last, value)

    def __getstate__(self) -> dict[str, Any]:
        """Without the interpreters, which hold functions: they are made again when it runs."""
        return {**self.__dict__, "_interpreters": {}}

    @property
    def constants(self) -> dict[str, Tensor]:
        """Every weight, buffer and ceiling by the name that the program uses."""
        return {name: operator.attrgetter(path)(self) for name, path in self._paths.items()}

    def captured(self) -> Captured:
        """Program and current constants, detached."""
        constants = {name: value.detach() for name, value in self.constants.items()}
        trainable = {n for n, v in self.constants.items() if isinstance(v, nn.Parameter)}
        return Captured(self.program, constants, self._paths, frozenset(trainable))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.training:
            return self._run(*args, **kwargs)
        return self.of_any_batch(self._run, args, kwargs, lambda: self._run)

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        inputs = self.program.bind(args, kwargs)
        if self.training not in self._interpreters:
            program = _in_mode(self.program, self.training)
            self._interpreters[self.training] = Interpreter(program)
        return self._interpreters[self.training].run(self.constants, inputs)

    @property
    def clips(self) -> list[Clip]:
        """The quantised activations, in execution order."""
        return [Clip.of(node) for node in self.program.nodes if Clip.found(node)]

    @property
    def levels(self) -> int:
        """Steps above zero of its finest quantised activation; 0 where it has none."""
        return max((clip.levels for clip in self.clips), default=0)

    def extra_repr(self) -> str:
        clips = self.clips
        levels = ", ".join(map(str, sorted({clip.levels for clip in clips})))
        quantised = (
            f", {counted(len(clips), 'quantised activation')}, levels {levels}" if clips else ""
        )
        return f"{counted(len(self.program.nodes), 'operation')}{quantised}"

    def to_content(self) -> dict[str, Any]:
        """Plain values and tensors from which `from_content` rebuilds the network."""
        captured = self.captured()
        config = {
            "program": encode_program(captured.program), "paths": dict(captured.paths),
            "trainable": sorted(captured.trainable), "functions": self.functions,
            "levels": self.levels,
        }  # fmt: skip
        return {"config": config, "state": on_cpu(captured.constants)}

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> CapturedNetwork:
        """Inverse of `to_content`. CheckpointError if the content is damaged."""
        try:
            config, state = dict(content["config"]), content["state"]
            program = decode_program(config.pop("program"))
            check_references(program, state)
            paths, functions = _texts(config.pop("paths")), _texts(config.pop("functions"))
            trainable, levels = frozenset(map(str, config.pop("trainable"))), config.pop("levels")
            if any(map(Neuron.found, program.nodes)):
                raise ValueError("it holds neurons")
            try_program(known_part(program), state)
            network = cls(Captured(program, owned(state, state.values()), paths, trainable),
                          functions)  # fmt: skip
            if config or not trainable <= set(state) or network.levels != levels:
                raise ValueError(f"it holds {sorted(config) or 'trainable, levels'} of another")
            return network
        except CheckpointError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise CheckpointError(f"captured network: is damaged ({error})") from error


def _texts(value: Mapping[Any, Any]) -> dict[str, str]:
    """`value`, which a file says to be names by name; TypeError where it is something else."""
    if not all(isinstance(text, str) for item in value.items() for text in item):
        raise TypeError(f"names: found {value!r}")
    return dict(value)


def _place(root: nn.Module, path: str) -> tuple[nn.Module, str]:
    """The module for what is to lie at `path`, made where it is missing, and the path there.

    A name that is taken, such as "to", which every module has, gets another form: "to_".
    """
    *parents, last = path.split(".")
    free = []
    for part in parents:
        while part not in root._modules and hasattr(root, part):
            part += "_"
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = root._modules[part]  # type: ignore[assignment]
        free.append(part)
    while hasattr(root, last):
        last += "_"
    return root, ".".join([*free, last])


def _in_mode(program: Program, training: bool) -> Program:
    def changed(node: Node) -> Node:
        trains = training and BatchNorm.found(node)
        return BatchNorm.of(node).in_training(node) if trains else node

    return replace(program, nodes=tuple(map(changed, program.nodes)))
