"""Damaged and hostile ONNX files: a clear error, no crash, no memory."""

from __future__ import annotations

import random
import resource

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

import snnconvert
from snnconvert.errors import CheckpointError, InputError, SnnconvertError, UnsupportedOpError
from tests.support.onnx_files import SMALL_CNN, SMALL_WEIGHTS, model_of, mutated, small_cnn, written

CONTENT = small_cnn().SerializeToString()


def refused(model, folder, kind, match):
    with pytest.raises(kind, match=match):
        snnconvert.load(written(model, folder))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.99])
def test_truncated(share, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(CONTENT[: int(share * len(CONTENT))])
    with pytest.raises(CheckpointError, match=r"net\.onnx"):
        snnconvert.load(path)


def test_no_file(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        snnconvert.load(tmp_path / "net.onnx")


def test_a_circle(tmp_path):
    model = model_of(
        "g (float[N,3] x) => (float[N,3] y) { a = Add(x, b)  b = Relu(a)  y = Neg(b) }"
    )
    refused(model, tmp_path, CheckpointError, "circle")


@pytest.mark.parametrize("place", ["missing.bin", "../outside.bin", "/etc/passwd", ""])
def test_outer_data(place, tmp_path):
    model = small_cnn()
    tensor = model.graph.initializer[0]
    size = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", place), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)
    (tmp_path / "inner").mkdir()
    (tmp_path / "outside.bin").write_bytes(bytes(size))
    path = tmp_path / "inner" / "net.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match="missing" if "missing" in place else "outside"):
        snnconvert.load(path)


def test_a_link_out_of_the_folder(tmp_path):
    model = small_cnn()
    tensor = model.graph.initializer[0]
    (tmp_path / "secret.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="link.bin")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "link.bin").symlink_to(tmp_path / "secret.bin")
    path = tmp_path / "inner" / "net.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match="outside"):
        snnconvert.load(path)


def test_outer_data_beside_the_file_is_read(tmp_path):
    onnx.save(small_cnn(), tmp_path / "net.onnx", save_as_external_data=True, size_threshold=0,
              location="weights.bin")  # fmt: skip
    x = torch.rand(2, 3, 8, 8)
    inner = snnconvert.load(written(small_cnn(), tmp_path, "inner.onnx"))
    assert torch.equal(snnconvert.load(tmp_path / "net.onnx")(x), inner(x))
    (tmp_path / "weights.bin").write_bytes(b"short")
    with pytest.raises(CheckpointError, match="beyond the end"):
        snnconvert.load(tmp_path / "net.onnx")


HUGE = [
    ("g (float[N,3] x) => (float[N,3] y) { y = Add(x, w) }", "claim"),
    ("g (float[N,3] x) => (float y) { s = Constant<value_ints=[50000,50000]>() "
     "a = ConstantOfShape(s) b = ReduceSum(a) y = Add(x, b) }", None),
    ("g (float[N,3] x) => (float y) { s = Constant<value_ints=[60000,60000,3]>() "
     "a = Expand(one, s) y = Add(x, a) }", None),
    ("g (float[N,3] x) => (float y) { r = Constant<value_ints=[1,1000000000]>() y = Tile(x, r) }",
     None),
    ("g (float[N,3] x) => (float y) { a = Reshape(x, column) b = MatMul(big, wide) y = Add(x, b) }",
     None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "claim"), HUGE)
def test_a_claim_of_gigabytes_costs_no_memory(text, claim, tmp_path):
    numbers = {"column": np.array([-1, 1]), "one": np.ones(1, np.float32)}
    numbers |= {n: np.ones(s, np.float32) for n, s in (("big", (10**5, 1)), ("wide", (1, 10**5)))}
    model = model_of(text, **numbers)
    if claim:
        model.graph.initializer.append(
            TensorProto(name="w", data_type=1, dims=[536870912], raw_data=b"\0" * 16)
        )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(model, tmp_path, CheckpointError, "damaged|would make a value")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KiB


def test_sizes_that_may_be_any(tmp_path):
    model = model_of(
        "g (float[N,3,H,W] x) => (float[N,4,H,W] y) { y = Conv(x, w) }", w=(4, 3, 1, 1)
    )
    refused(model, tmp_path, InputError, "size 'H' may be any.*--example-shape")
    network = snnconvert.load(tmp_path / "net.onnx", example_inputs=torch.rand(2, 3, 5, 7))
    assert network(torch.rand(3, 3, 5, 7)).shape == (3, 4, 5, 7)
    with pytest.raises(InputError, match="the file takes x"):
        snnconvert.load(tmp_path / "net.onnx", example_inputs=torch.rand(2, 5, 5, 7))


@pytest.mark.parametrize("opset", [1, 6, 99])
def test_opsets(opset, tmp_path):
    refused(model_of(SMALL_CNN, opset, **SMALL_WEIGHTS), tmp_path, UnsupportedOpError, "opset")


def test_all_unknown_operations_are_named_at_once(tmp_path):
    model = model_of("""g (float[N,3] x) => (float[N,3] y) {
        a = Bernoulli(x)  b = Relu(a)  y = Unique(b) }""")
    node = helper.make_node("Fused", ["b"], ["c"], "place", domain="com.somebody")
    model.graph.node.append(node)
    model.graph.node[2].input[0] = "c"
    model.opset_import.add(domain="com.somebody", version=1)
    named = r"3 operations are not known.*Bernoulli \(a.*Unique.*com.somebody::Fused \(place"
    refused(model, tmp_path, UnsupportedOpError, named)


def test_what_depends_on_the_data_is_named(tmp_path):
    model = model_of("g (float[N,3] x) => (int64[2,M] y) { a = Relu(x)  y = NonZero(a) }")
    refused(model, tmp_path, UnsupportedOpError, "y .NonZero.*computed from the data")


def test_mutated_files(tmp_path):
    """300 of the 10,000 that `python -m tests.support.fuzz_onnx` tries."""
    draw = random.Random(0)
    path, read = tmp_path / "net.onnx", 0
    for _ in range(300):
        path.write_bytes(mutated(CONTENT, draw))
        try:
            snnconvert.load(path)
            read += 1
        except SnnconvertError as error:
            assert str(error)
    assert 0 < read < 300
