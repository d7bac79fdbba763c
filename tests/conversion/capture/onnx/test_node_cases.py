"""Every operation with a handler computes what ONNX's own test cases say."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, numpy_helper
from onnx.backend.test.loader import load_model_tests

from snnconvert.conversion.capture.onnx.build import every_node, operation_name
from snnconvert.conversion.capture.onnx.operations import OPERATIONS
from snnconvert.conversion.capture.onnx.read import network_of
from snnconvert.errors import SnnconvertError, UnsupportedOpError

PLAIN = {1, 2, 3, 5, 6, 7, 9, 11}  # types that PyTorch computes with


@functools.cache
def cases():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_model_tests(kind="node")


def is_plain(case) -> bool:
    """Of types that PyTorch computes with; nobody can draw the random numbers of the others."""
    if case.name.startswith("test_training_dropout") and "zero" not in case.name:
        return False
    values = [*case.model.graph.input, *case.model.graph.output]
    return all(
        v.type.WhichOneof("value") == "tensor_type" and v.type.tensor_type.elem_type in PLAIN
        for v in values
    )


def read(case):
    model = ir.serde.deserialize_model(case.model)
    ir.passes.common.InlinePass()(model)
    return model


def array(value) -> np.ndarray:
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.array(value)


def known(model) -> bool:
    return all(operation_name(node) in OPERATIONS for node in every_node(model.graph))


def fault(case, model) -> str | None:
    """What is wrong with the result of a case, None if nothing."""
    network = network_of(model, Path(case.name))
    for given, wanted in case.data_sets:
        given, wanted = map(array, given), list(map(array, wanted))
        with torch.no_grad():
            found = network(*map(torch.from_numpy, given))
        found = [found] if isinstance(found, torch.Tensor) else list(found)
        if [tuple(f.shape) for f in found] != [np.shape(w) for w in wanted]:
            return f"{case.name}: shapes {[tuple(f.shape) for f in found]}"
        for f, w in zip(found, wanted, strict=True):
            a, b = f.double().numpy(), np.asarray(w).astype(np.float64)
            if not np.allclose(a, b, rtol=max(case.rtol, 1e-4), atol=1e-5, equal_nan=True):
                return f"{case.name}: values"
    return None


def test_node_cases_are_computed():
    faults, passed = [], 0
    for case in filter(is_plain, cases()):
        model = read(case)
        if known(model):
            try:
                wrong = fault(case, model)
            except UnsupportedOpError as error:
                wrong = str(error)
            except (RuntimeError, ValueError, TypeError, IndexError) as error:
                wrong = f"{case.name}: {error}"
            faults += [wrong] if wrong else []
            passed += wrong is None
    assert faults == []
    assert passed > 740


def test_other_cases_are_refused_by_the_name_of_the_operation():
    others = 0
    for case in cases():
        model = read(case)
        if not known(model):
            others += 1
            with pytest.raises(UnsupportedOpError, match="operations are not known"):
                network_of(model, Path(case.name))
    assert others


def test_cases_of_other_types_are_computed_or_refused():
    for case in cases():
        model = read(case)
        if known(model) and not is_plain(case):
            try:
                network_of(model, Path(case.name))
            except SnnconvertError as error:
                assert str(error)
