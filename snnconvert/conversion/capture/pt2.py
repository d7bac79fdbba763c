"""Reads a `.pt2` file (torch.export.save) as data, so that a stranger's file cannot run code.

`torch.export.load` is not safe: it unpickles weights, constants, custom objects and example inputs
with `weights_only=False`, evaluates symbolic sizes as Python (sympy), and may load compiled
libraries. None of that happens here. The archive is a zip; from it are read the graph (JSON: the
names of operations, arguments as plain values), and the tensors (raw bytes, or the pickle of one
tensor by the weights-only unpickler). Operations are looked up in the rule table alone; symbolic
expressions are compared as strings and never evaluated; all other members are ignored.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snnconvert.conversion.capture.captured import Captured
from snnconvert.conversion.capture.export import smallest_batch
from snnconvert.conversion.capture.exported_graph import CHECKS
from snnconvert.conversion.capture.functionalize import functionalized, holds_state
from snnconvert.conversion.capture.pt2_graph import GraphReader
from snnconvert.conversion.capture.pt2_parts import without_unknown
from snnconvert.conversion.execution.trial import known_part, try_program
from snnconvert.conversion.graph.program import Program, Ref
from snnconvert.conversion.graph.signature import BATCH, Signature
from snnconvert.conversion.graph.values import Outputs
from snnconvert.errors import CheckpointError, UnsupportedOpError

DTYPES = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64,
    6: torch.float16, 7: torch.float32, 8: torch.float64, 12: torch.bool, 13: torch.bfloat16,
}  # fmt: skip
STRIDED = 7
GROWTH, ROOM = 16, 1 << 28  # bytes that a member may unpack to, and a tensor of it claim
CONSTANT_KINDS = {"parameter": "parameter_name", "buffer": "buffer_name",
                  "tensor_constant": "tensor_constant_name"}  # fmt: skip


def read_pt2(path: str | Path) -> Captured:
    """The network in a `.pt2` file, captured.

    Raises:
        CheckpointError: missing, damaged, or of another kind than `torch.export.save` writes.
        UnsupportedOpError: it holds what no converted network can hold (state, custom objects).
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            return _Archive(archive).captured()
    except (CheckpointError, UnsupportedOpError) as error:
        raise type(error)(f"{path}: {error}") from error
    except Exception as error:  # damaged bytes can raise nearly anything
        kind = type(error).__name__
        raise CheckpointError(
            f"{path}: is damaged, or no file that torch.export.save of PyTorch 2.9 or later wrote "
            f"({kind}: {error}); export it again"
        ) from error


class _Archive:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        self.names = set(archive.namelist())
        graphs = [n for n in self.names if "/models/" in n and n.endswith(".json")]
        if len(graphs) != 1:
            raise CheckpointError(f"holds {len(graphs)} exported networks, needed is one")
        self.root, _, file = graphs[0].partition("/models/")
        self.model = file.removesuffix(".json")
        self.content = json.loads(self.read(graphs[0]))

    def read(self, name: str) -> bytes:
        member = self.archive.getinfo(name)
        if member.file_size > GROWTH * member.compress_size + ROOM:
            raise CheckpointError(f"{name}: claims to unpack to {member.file_size} bytes")
        return self.archive.read(name)

    def captured(self) -> Captured:
        module = self.content["graph_module"]
        constants, paths, trainable, user_inputs = self._inputs(module["signature"])
        self._check_outputs(module["signature"]["output_specs"])
        graph = module["graph"]
        axes, shapes = _shapes(graph, [u for u in user_inputs if isinstance(u, Ref)])
        nodes = GraphReader(graph, axes).nodes()
        leaves = iter([_output(o) for o in graph["outputs"]])
        call = next(entry for entry in module["module_call_graph"] if entry["fqn"] == "")
        output = _unflatten(json.loads(call["signature"]["out_spec"])[1], leaves)
        inputs = tuple(u.name for u in user_inputs if isinstance(u, Ref))
        signature = self._signature(call["signature"], user_inputs, shapes, axes)
        nodes = [node for node in nodes if node.op not in CHECKS]
        program = functionalized(Program(inputs, tuple(nodes), output, signature), paths)
        _check_references(program, constants)
        parts = without_unknown(program, constants)
        if parts is not program:
            program = functionalized(parts, paths)
        try_program(known_part(program), constants)
        return Captured(program, constants, paths, trainable)

    def _inputs(self, signature: dict[str, Any]) -> tuple[Any, ...]:
        weights, fixed = self._config("weights"), self._config("constants")
        constants: dict[str, Tensor] = {}
        paths: dict[str, str] = {}
        trainable, user_inputs = set(), []
        for spec in signature["input_specs"]:
            ((kind, content),) = spec.items()
            if kind in CONSTANT_KINDS:
                name, target = str(content["arg"]["name"]), str(content[CONSTANT_KINDS[kind]])
                folder = "weights" if target in weights else "constants"
                entry = weights[target] if target in weights else fixed[target]
                constants[name] = self._tensor(folder, entry)
                paths[name] = target
                if kind == "parameter":
                    trainable.add(name)
            elif kind == "user_input":
                user_inputs.append(_output(content["arg"]))
            elif kind == "constant_input":
                user_inputs.append(_constant(content["value"]))
            else:
                raise UnsupportedOpError(f"input of kind {kind!r} cannot be converted")
        return constants, paths, frozenset(trainable), user_inputs

    def _config(self, kind: str) -> dict[str, Any]:
        name = f"{self.root}/data/{kind}/{self.model}_{kind}_config.json"
        return json.loads(self.read(name))["config"] if name in self.names else {}

    def _tensor(self, folder: str, entry: dict[str, Any]) -> Tensor:
        file = str(entry["path_name"])
        data = self.read(f"{self.root}/data/{folder}/{file}")
        if entry["use_pickle"]:
            if not file.startswith(("weight", "tensor")):
                raise UnsupportedOpError(f"{file}: custom objects are refused, they can run code")
            try:
                value = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            except Exception as error:  # whatever damaged or hostile bytes raise
                raise CheckpointError(f"{file}: holds more than a tensor and is refused") from error
            if not isinstance(value, Tensor):
                raise CheckpointError(f"{file}: holds {type(value).__name__}, needed is a tensor")
            return value.detach()
        return raw_tensor(data, entry["tensor_meta"], file)

    def _check_outputs(self, specs: list[dict[str, Any]]) -> None:
        for spec in specs:
            ((kind, content),) = spec.items()
            if kind != "user_output":
                raise holds_state(str(content), kind)

    def _signature(
        self, call: dict[str, Any], user_inputs: list[Any], shapes: dict[str, Any],
        axes: dict[str, Any],
    ) -> Signature:  # fmt: skip
        tree = json.loads(call["in_spec"])[1]
        args, kwargs = _unflatten(tree, iter(user_inputs))
        names = call.get("forward_arg_names") or [f"input_{i}" for i in range(len(args))]
        values = {**dict(zip(names, args, strict=False)), **kwargs}
        constraints = self.content["range_constraints"]
        ranges = [limits for size, limits in constraints.items() if size in axes]
        limits = [c.get("max_val") for c in ranges]
        finite = [int(limit) for limit in limits if isinstance(limit, int) and limit < 1 << 40]
        lowest = [c.get("min_val") for c in ranges]
        smallest = smallest_batch([limit for limit in lowest if isinstance(limit, int)])
        largest = min(finite) if finite else None
        tensors = self.content["graph_module"]["graph"]["tensor_values"]
        dtypes = {name: DTYPES[tensors[name]["dtype"]] for name in shapes}
        return Signature(tuple(map(str, names)), values, shapes, largest, dtypes, smallest)


def raw_tensor(data: bytes, meta: dict[str, Any], name: str) -> Tensor:
    """A tensor from its bytes. CheckpointError if they are too few or of an unknown type."""
    dtype = DTYPES.get(meta["dtype"])
    if dtype is None or meta["layout"] != STRIDED:
        raise CheckpointError(f"{name}: has a type or layout that cannot be read")
    sizes = [int(size["as_int"]) for size in meta["sizes"]]
    strides = [int(stride["as_int"]) for stride in meta["strides"]]
    offset = int(meta["storage_offset"]["as_int"])
    if min([offset, *sizes, *strides]) < 0:
        raise CheckpointError(f"{name}: has a negative size")
    if math.prod(sizes) == 0:
        return torch.empty(sizes, dtype=dtype)
    flat = torch.frombuffer(bytearray(data), dtype=dtype)
    last = offset + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
    if last >= len(flat):
        raise CheckpointError(f"{name}: is truncated")
    if math.prod(sizes) > GROWTH * len(flat) + ROOM:
        raise CheckpointError(f"{name}: claims the shape {sizes}, and holds {len(flat)} numbers")
    return flat.as_strided(sizes, strides, offset).clone()


def _check_references(program: Program, constants: dict[str, Tensor]) -> None:
    """CheckpointError where an operation reads what does not exist yet."""
    known = {*program.inputs, *constants}
    for node in program.nodes:
        missing = [name for name in node.refs if name not in known]
        if missing:
            raise CheckpointError(f"{node.name} reads {missing[0]!r}, which does not exist")
        known.add(node.name)
    if not program.output_names <= known:
        raise CheckpointError("an output does not exist")


def _shapes(graph: dict[str, Any], inputs: list[Ref]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Per symbolic size an input and axis where it can be read, and the shapes of the inputs."""
    axes: dict[str, tuple[str, int]] = {}
    shapes = {}
    for ref in inputs:
        meta = graph["tensor_values"][ref.name]
        sizes = [size.get("as_int") for size in meta["sizes"]]
        shapes[ref.name] = tuple(BATCH if size is None else int(size) for size in sizes)
        for axis, size in enumerate(meta["sizes"]):
            if "as_expr" in size:
                axes.setdefault(str(size["as_expr"]["expr_str"]), (ref.name, axis))
    return axes, shapes


def _output(argument: dict[str, Any]) -> Any:
    """A tensor by name, or the plain value that a leaf of the call is."""
    ((kind, value),) = argument.items()
    if kind == "as_tensor":
        return Ref(str(value["name"]))
    if kind in ("as_none", "as_int", "as_float", "as_bool", "as_string"):
        return None if kind == "as_none" else value
    raise UnsupportedOpError(f"an input or output of kind {kind!r} cannot be converted")


def _constant(value: dict[str, Any]) -> Any:
    ((kind, content),) = value.items()
    return None if kind == "as_none" else content


def _unflatten(spec: dict[str, Any], leaves: Any) -> Any:
    """Lists, tuples and dicts from a tree specification; other containers become `Outputs`."""
    kind, children = spec["type"], spec["children_spec"]
    if kind is None:
        return next(leaves)
    items = [_unflatten(child, leaves) for child in children]
    if kind == "builtins.tuple":
        return tuple(items)
    if kind == "builtins.list":
        return items
    context = json.loads(spec["context"])
    keys = context if isinstance(context, list) and len(context) == len(items) else None
    if keys is None:
        keys = [f"output_{i}" for i in range(len(items))]
    pairs = zip(map(str, keys), items, strict=True)
    return dict(pairs) if kind == "builtins.dict" else Outputs(pairs)
