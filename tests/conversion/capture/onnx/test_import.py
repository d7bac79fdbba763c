"""ONNX files come in as the networks that they are, from every exporter's dialect."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import nn

import snnconvert
from snnconvert.errors import InputError, UnsupportedOpError
from tests.support.onnx_files import exported, model_of, relative, small_cnn, written

pytestmark = pytest.mark.filterwarnings("ignore")


def test_layers_are_called_like_the_nodes(tmp_path):
    model = small_cnn()
    model.graph.node[0].name = "/stem/conv.0/Conv"
    network = snnconvert.load(written(model, tmp_path))
    names = [name for name, _ in network.named_parameters()]
    assert names == ["stem_conv_0_Conv.weight", "stem_conv_0_Conv.bias", "Gemm_y.weight",
                     "Gemm_y.bias"]  # fmt: skip
    assert network.program.takes.shapes == ((-1, 3, 8, 8),)
    assert network(x=torch.rand(3, 3, 8, 8)).shape == (3, 10)


@pytest.mark.parametrize(("name", "word"), [
    ("input.1", "input_1"), ("in", "in_"), ("1", "input_0"), ("self", "self_"), ("x:0", "x_0"),
])  # fmt: skip
def test_inputs_are_called_as_python_can(name, word, tmp_path):
    node = helper.make_node("Relu", [name], ["forward"], name="training")
    x = helper.make_tensor_value_info(name, 1, ["N", 3])
    y = helper.make_tensor_value_info("forward", 1, ["N", 3])
    model = helper.make_model(helper.make_graph([node], "g", [x], [y]), ir_version=8,
                              opset_imports=[helper.make_opsetid("", 13)])  # fmt: skip
    network = snnconvert.load(written(model, tmp_path))
    assert network(**{word: -torch.ones(2, 3)}).eq(0).all()


def test_nodes_out_of_order_and_weights_as_nodes(tmp_path):
    plain, model = small_cnn(), small_cnn()
    for tensor in model.graph.initializer:
        model.graph.node.append(helper.make_node("Constant", [], [tensor.name], value=tensor))
    del model.graph.initializer[:]
    nodes = list(reversed(model.graph.node))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    x = torch.rand(2, 3, 8, 8)
    wanted = snnconvert.load(written(plain, tmp_path, "plain.onnx"))(x)
    assert torch.equal(snnconvert.load(written(model, tmp_path))(x), wanted)


@pytest.mark.parametrize("opset", range(8, 26))
def test_every_opset(opset, tmp_path):
    """Attributes became inputs from opset to opset; the network stays the same."""
    squeeze = "Squeeze<axes=[2,3]>(m)" if opset < 13 else "Squeeze(m, axes)"
    mean = "ReduceMean<axes=[2,3], keepdims=1>(u)" if opset < 18 else "ReduceMean(u, axes)"
    clip = "Clip<min=0.0, max=1.0>(c)" if opset < 11 else "Clip(c, low, high)"
    up = {True: "Upsample<mode=\"nearest\", scales=[1.0,1.0,2.0,2.0]>(r)"}.get(
        opset < 9,
        "Upsample<mode=\"nearest\">(r, scales)" if opset == 9
        else "Resize<mode=\"nearest\">(r, scales)" if opset == 10
        else "Resize<mode=\"nearest\">(r, roi, scales)",
    )  # fmt: skip
    text = f"""g (float[N,3,8,8] x) => (float[N,4] y) {{
        c = Conv(x, w)  r = {clip}  u = {up}  m = {mean}  y = {squeeze} }}"""
    constants = {
        "w": (4, 3, 3, 3), "axes": np.array([2, 3]), "low": np.float32(0), "high": np.float32(1),
        "roi": np.zeros(0, np.float32), "scales": np.array([1, 1, 2, 2], np.float32),
    }  # fmt: skip
    used = {name: value for name, value in constants.items() if f"{name})" in text or
            f" {name}," in text}  # fmt: skip
    network = snnconvert.load(written(model_of(text, opset, **used), tmp_path))
    x = torch.rand(3, 3, 8, 8)
    weight = dict(network.named_parameters())["Conv_c.weight"]
    wanted = torch.conv2d(x, weight).clamp(0, 1).mean((2, 3))
    assert relative(network(x), wanted) < 1e-5


def test_a_batch_of_the_file_is_freed_where_rows_are_independent(tmp_path):
    text = """g (float[1,3,8,8] x) => (float[1,4] y) {
        c = Conv<kernel_shape=[8,8]>(x, w)  r = Relu(c)  f = Reshape(r, to)  y = Identity(f) }"""
    model = model_of(text, w=(4, 3, 8, 8), to=np.array([1, 4]))
    network = snnconvert.load(written(model, tmp_path))
    x = torch.rand(5, 3, 8, 8)
    rows = torch.cat([network(row[None]) for row in x])
    assert relative(network(x), rows) < 1e-6 and network(x).shape == (5, 4)


@pytest.mark.parametrize("batch", ["1", "N"])
def test_an_input_that_is_no_batch_stays_as_it_is(batch, tmp_path):
    text = f"""g (float[{batch},3] x, float[2,3] table) => (float[{batch},3] y, float[2,3] z) {{
        m = ReduceSum<axes=[0], keepdims=1>(table)  a = Add(x, m)  y = Relu(a)  z = Neg(table) }}"""
    network = snnconvert.load(written(model_of(text, 11), tmp_path))
    x, table = torch.randn(7, 3), torch.randn(2, 3)
    y, z = network(x, table)
    assert torch.allclose(y, (x + table.sum(0)).relu(), atol=1e-6) and torch.equal(z, -table)


def test_a_transformer_exported_for_one_row_takes_many(tmp_path):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, activation="gelu")
    model, x = nn.TransformerEncoder(layer, 2).eval(), torch.rand(5, 7, 16)
    path = tmp_path / "net.onnx"
    torch.onnx.export(model, (x[:1],), path, dynamo=False, opset_version=17)
    network = snnconvert.load(path)
    assert relative(network(x), model(x)) < 1e-5


def test_a_batch_of_the_file_stays_where_rows_meet(tmp_path):
    text = """g (float[2,6] x) => (float[2,6] y) {
        m = ReduceMean<axes=[0], keepdims=1>(x)  d = Sub(x, m)  y = Relu(d) }"""
    with pytest.warns(UserWarning, match="exactly 2"):
        network = snnconvert.load(written(model_of(text), tmp_path))
    assert network.program.takes.fixed_batch == 2
    with pytest.raises(InputError):
        network(torch.rand(3, 6))


def test_a_batch_that_shapes_follow_from_stays_the_one_of_the_file(tmp_path):
    """A loop over the rows gives the same for any number of them, and is unrolled for one."""
    text = """g (float[1,3] x) => (float[1,4] y) {
        s = Shape(x)  zero = Constant<value_ints=[0]>()  n = Gather(s, zero)  count = Squeeze(n)
        go = Constant<value_int=1>()  on = Cast<to=9>(go)
        r = Loop(count, on) <body = l (int64 i, bool k) => (bool k2, float[4] row) {
            k2 = Identity(k)  part = Gather<axis=0>(x, i)  m = MatMul(part, w)  row = Relu(m) }>
        y = Neg(r) }"""
    with pytest.warns(UserWarning, match=r"as large as the example \(1\)"):
        network = snnconvert.load(written(model_of(text, 13, w=(3, 4)), tmp_path))
    assert network.program.takes.fixed_batch == 1 and network(torch.rand(1, 3)).shape == (1, 4)


@pytest.mark.parametrize(
    ("activation", "zero", "largest"),
    [("Relu", np.uint8(0), 2.55), ("Relu", np.int8(0), 1.27), ("Identity", np.int8(0), 1.28)],
)
def test_pairs_behind_activations_become_thresholds(activation, zero, largest, tmp_path):
    text = f"""g (float[N,3] x) => (float[N,2] y) {{
        wq = DequantizeLinear(w8, ws)
        a = MatMul(x, wq)  r = {activation}(a)
        q = QuantizeLinear(r, scale, zero)  d = DequantizeLinear(q, scale, zero)
        y = MatMul(d, w) }}"""
    model = model_of(
        text, w8=np.arange(-6, 6, dtype=np.int8).reshape(3, 4), ws=np.float32(0.1),
        scale=np.float32(0.01), zero=zero, w=(4, 2),
    )  # fmt: skip
    network = snnconvert.load(written(model, tmp_path))
    steps, x = round(largest * 100), torch.randn(16, 3)
    snn = snnconvert.convert(network, steps, example_inputs=None)
    torch.testing.assert_close(snn(x), network(x), rtol=1e-5, atol=1e-6)
    (ceiling,) = [value for name, value in snn.named_buffers() if "ceiling" in name] or [
        value for name, value in snn.constants.items() if "ceiling" in name
    ]
    assert torch.allclose(ceiling, torch.tensor(largest))


def test_integer_convolutions_become_float_ones_between_thresholds(tmp_path):
    text = """g (float[N,3,6,6] x) => (float[N,2,2,2] y) {
        q = QuantizeLinear(x, xs, zero)
        a = QLinearConv(q, xs, zero, w1, ws, wz, as, zero, bias)
        b = QLinearConv(a, as, zero, w2, ws, wz, bs, middle)
        y = DequantizeLinear(b, bs, middle) }"""
    drawn = np.random.default_rng(0)
    numbers = {"xs": 0.01, "ws": 0.02, "as": 0.05, "bs": 0.1}
    model = model_of(
        text, **{name: np.float32(value) for name, value in numbers.items()},
        zero=np.uint8(0), middle=np.uint8(128), wz=np.int8(0), bias=np.arange(4, dtype=np.int32),
        w1=drawn.integers(-50, 50, (4, 3, 3, 3)).astype(np.int8),
        w2=drawn.integers(-50, 50, (2, 4, 3, 3)).astype(np.int8),
    )  # fmt: skip
    network = snnconvert.load(written(model, tmp_path))
    assert snnconvert.check(network) == []
    x = torch.rand(4, 3, 6, 6)
    snn = snnconvert.convert(network, 255, calibration=[x], firing="deferred", simulate="counts")
    assert relative(snn(x), network(x)) < 0.02


def test_what_exporters_take_apart_is_joined_again(tmp_path):
    text = """g (float[N,3,6,6] x) => (float[N,4] y) {
        c = Conv(x, w)  cb = Add(c, cbias)  r = Relu(cb)  s = GlobalAveragePool(r)
        f = Flatten(s)  m = MatMul(f, fw)  h = Add(fb, m)
        mean = ReduceMean<axes=[-1]>(h)  d = Sub(h, mean)  p = Pow(d, two)
        v = ReduceMean<axes=[-1]>(p)  ve = Add(v, eps)  sd = Sqrt(ve)  n = Div(d, sd)
        ns = Mul(n, scale)  y = Add(ns, shift) }"""
    model = model_of(
        text, 13, w=(5, 3, 3, 3), cbias=(5, 1, 1), fw=(5, 4), fb=(1, 4), scale=(4,), shift=(4,),
        two=np.float32(2), eps=np.float32(1e-5),
    )  # fmt: skip
    ops = [n.op for n in snnconvert.load(written(model, tmp_path)).program.nodes]
    assert ops == [
        f"aten.{name}" for name in ("conv2d.default", "relu.default", "mean.dim",
        "flatten.using_ints", "linear.default", "layer_norm.default")
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_are_unrolled(kind, tmp_path):
    torch.manual_seed(0)
    inner = getattr(nn, kind)(4, 5, batch_first=True, bidirectional=True)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.end = inner, nn.Linear(10, 2)

        def forward(self, x):
            return self.end(self.inner(x)[0][:, -1])

    model, x = Network().eval(), torch.randn(3, 6, 4)
    network = snnconvert.load(exported(model, (x,), tmp_path / "n.onnx", False, 14))
    assert relative(network(x), model(x)) < 1e-5
    assert snnconvert.check(network) == []


def test_a_length_that_is_not_fixed_is_refused_by_name(tmp_path):
    text = """g (float[L,B,4] x) => (float[L,1,B,5] y) {
        y = LSTM<hidden_size=5>(x, w, r) }"""
    model = model_of(text, w=(1, 20, 4), r=(1, 20, 5))
    with pytest.raises((InputError, UnsupportedOpError), match=r"LSTM|size"):
        snnconvert.load(written(model, tmp_path))


def test_branches_and_loops_that_are_known_are_laid_open(tmp_path):
    text = """g (float[N,3] x) => (float[N,3] y) {
        s = Shape(x)  one = Constant<value_ints=[1]>()  w = Gather(s, one)
        three = Constant<value_ints=[3]>()  e = Equal(w, three)  c = Squeeze(e)
        b = If(c) <then_branch = t () => (float[N,3] o) { o = Relu(x) },
                   else_branch = f () => (float[N,3] o) { o = Neg(x) }>
        turns = Constant<value_int=3>()  go = Constant<value_int=1>()  on = Cast<to=9>(go)
        y = Loop(turns, on, b) <body = l (int64 i, bool k, float[N,3] v) => (bool k2, float[N,3] v2)
            { k2 = Identity(k)  v2 = Add(v, b) }> }"""
    network = snnconvert.load(written(model_of(text, 16), tmp_path))
    x = torch.randn(4, 3)
    assert torch.allclose(network(x), 4 * x.relu())


def test_a_network_can_be_cut_off(tmp_path):
    text = (
        """g (float[N,3] x) => (int64[2,M] y) { a = MatMul(x, w)  r = Relu(a)  y = NonZero(r) }"""
    )
    path = written(model_of(text, w=(3, 4)), tmp_path)
    with pytest.warns(UserWarning, match=r"NonZero \(y\).*1 operations.*ends at r"):
        assert snnconvert.load(path)(torch.rand(5, 3)).shape == (5, 4)
    assert snnconvert.load(path, outputs=["r"])(torch.rand(5, 3)).shape == (5, 4)
    with pytest.raises(InputError, match="computes no value 'rr'; did you mean 'r'"):
        snnconvert.load(path, outputs=["rr"])


def test_half_precision_is_read_as_float32(tmp_path):
    model = small_cnn()
    for tensor in list(model.graph.initializer):
        half = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(onnx.numpy_helper.from_array(half, tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = 10
    network = snnconvert.load(written(model, tmp_path))
    assert network(torch.rand(2, 3, 8, 8)).dtype == torch.float32
