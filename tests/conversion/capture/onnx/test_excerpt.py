"""Where only the data say how a file goes on: branches by an input, and post-processing."""

from __future__ import annotations

import warnings

import numpy as np
import onnxruntime
import pytest
import torch

import snnconvert
from snnconvert.errors import InputError, UnsupportedOpError
from tests.support.onnx_files import detector, model_of, relative, written


def test_post_processing_without_weights_is_left_out_with_a_warning(tmp_path):
    path = written(detector(), tmp_path)
    with pytest.warns(UserWarning, match=r"NonMaxSuppression .* ends at boxes, scores"):
        network = snnconvert.load(path)
    x = torch.rand(1, 3, 8, 8)
    boxes, scores = network(x)
    assert boxes.shape == (1, 16, 4) and scores.shape == (1, 2, 16)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert relative(boxes, torch.from_numpy(session.run(["boxes"], {"x": x.numpy()})[0])) < 1e-5
    snn = snnconvert.convert(network, 255, calibration=[x], firing="deferred", simulate="counts")
    assert relative(snn(x)[1], scores) < 0.05


def test_weights_behind_what_the_data_decide_are_never_left_out(tmp_path):
    text = """g (float[N,3] x) => (float[M,2] y) {
        a = MatMul(x, w)  r = Relu(a)  n = NonZero(r)  f = Cast<to=1>(n)  t = Transpose(f)
        y = MatMul(t, v) }"""
    path = written(model_of(text, w=(3, 4), v=(2, 2)), tmp_path)
    with pytest.raises(UnsupportedOpError, match=r"NonZero.*from the data.*before it are r$"):
        snnconvert.load(path)


BRANCH = """g (float[N,3] x, int64 rate) => (float[N,4] y) {
    fast = Equal(rate, fast_rate)
    y = If(fast) <
        then_branch = a () => (float[N,4] p) { u = MatMul(x, w)  p = Relu(u) },
        else_branch = b () => (float[N,4] q) { v = MatMul(x, w)  q = Neg(v) }>
}"""


def test_an_input_that_chooses_a_branch_is_fixed_at_its_example(tmp_path):
    path = written(model_of(BRANCH, w=(3, 4), fast_rate=np.array(16)), tmp_path)
    x = torch.randn(2, 3)
    with pytest.warns(UserWarning, match=r"'rate' chooses between branches.*rate = 16"):
        fast = snnconvert.load(path, example_inputs=(x, torch.tensor(16)))
    with pytest.warns(UserWarning, match="rate = 8"):
        slow = snnconvert.load(path, example_inputs=(x, torch.tensor(8)))
    product = x @ next(iter(fast.parameters())).T
    assert torch.allclose(fast(x, torch.tensor(16)), product.relu(), atol=1e-6)
    assert torch.allclose(slow(x, 8), -product, atol=1e-6)
    assert torch.equal(fast(x), fast(x=x, rate=16))
    with pytest.raises(InputError, match="captured with 16"):
        fast(x, torch.tensor(8))


def test_weights_inside_of_a_branch_are_never_left_out(tmp_path):
    """Without an example of `rate`: what is before the branch is not all that there is."""
    before = BRANCH.replace("fast = Equal", "h = MatMul(x, v)  r = Relu(h)  fast = Equal")
    text = before.replace("MatMul(x, w)", "MatMul(r, w)")
    path = written(model_of(text, w=(3, 4), v=(3, 3), fast_rate=np.array(16)), tmp_path)
    with pytest.raises(UnsupportedOpError, match="give example_inputs"):
        snnconvert.load(path)


def test_without_an_example_a_branch_is_refused_by_name(tmp_path):
    path = written(model_of(BRANCH, w=(3, 4), fast_rate=np.array(16)), tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UnsupportedOpError, match="give example_inputs"):
            snnconvert.load(path)


def test_what_the_output_alone_reads_may_be_any_function(tmp_path):
    """Peaks of a map and their places: integer arithmetic behind the last weights."""
    text = """g (float[N,3,4,4] x) => (float[N,2] best, int64[N,2] row) {
        c = Conv(x, w)  r = Relu(c)  d = Conv(r, v)  f = Flatten(d)
        best, at = TopK<axis=1>(f, two)  row = Div(at, four) }"""
    model = model_of(text, w=(5, 3, 1, 1), v=(1, 5, 1, 1), two=np.array([2]), four=np.array(4))
    network = snnconvert.load(written(model, tmp_path))
    x = torch.rand(3, 3, 4, 4)
    for firing in ("deferred", "immediate"):
        snn = snnconvert.convert(network, 8, calibration=[x], firing=firing)
        wanted = snn.quantized_ann()(x)
        assert all(map(torch.equal, snn(x), wanted))
