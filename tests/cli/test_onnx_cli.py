"""ONNX files on the command line."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import snnconvert
from tests.support.command_line import assert_refused, call_cli
from tests.support.onnx_files import model_of, small_cnn, written


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx")
    written(small_cnn(), path)
    inputs = torch.rand(16, 3, 8, 8)
    np.savez(path / "inputs.npz", x=inputs.numpy())
    torch.save(inputs, path / "inputs.pt")
    return path


def test_info(folder):
    result = call_cli("info", "net.onnx", cwd=folder)
    assert result.returncode == 0, result.stderr
    for words in ("opset 13", "input x [N, 3, 8, 8]", "1 Conv", "762 weights"):
        assert words in result.stdout


def test_check(folder):
    result = call_cli("check", "net.onnx", cwd=folder)
    assert result.returncode == 0 and "no problems" in result.stdout


@pytest.mark.parametrize("data", ["inputs.npz", "inputs.pt"])
def test_convert(data, folder):
    result = call_cli(
        "convert", "net.onnx", "--calibrate", data, "--timesteps", "8", "--firing", "deferred",
        cwd=folder,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    network = snnconvert.load(folder / "net.snn.pt")
    assert network(torch.rand(3, 3, 8, 8)).shape == (3, 10)


def test_a_conversion_is_verified_and_reported_against_the_file(folder):
    """Immediate firing until silence: every count is the quantised ANN's."""
    made = call_cli("convert", "net.onnx", "--calibrate", "inputs.pt", "--timesteps", "4",
                    "--no-page", "-o", "own.snn.pt", cwd=folder)  # fmt: skip
    assert made.returncode == 0, made.stderr
    for command in ("verify", "report"):
        result = call_cli(command, "net.onnx", "own.snn.pt", "--calibrate", "inputs.pt", cwd=folder)
        assert result.returncode == 0, result.stderr


def test_calibration_from_what_is_no_archive(folder):
    (folder / "broken.npz").write_bytes(b"PK no archive")
    result = call_cli("convert", "net.onnx", "--calibrate", "broken.npz", cwd=folder)
    assert_refused(result, "broken.npz", "no readable .npz")


def test_sizes_of_the_command_line(folder):
    model = model_of(
        "g (float[N,3,H,W] x) => (float[N,4,H,W] y) { c = Conv(x, w)  y = Relu(c) }",
        w=(4, 3, 1, 1),
    )
    written(model, folder, "any.onnx")
    assert_refused(call_cli("check", "any.onnx", cwd=folder), "--example-shape")
    result = call_cli("check", "any.onnx", "--example-shape", "1,3,4,6", cwd=folder)
    assert result.returncode == 0, result.stderr


def test_outputs(folder):
    text = (
        """g (float[N,3] x) => (int64[2,M] y) { a = MatMul(x, w)  r = Relu(a)  y = NonZero(r) }"""
    )
    written(model_of(text, w=(3, 4)), folder, "cut.onnx")
    left_out = call_cli("check", "cut.onnx", cwd=folder)
    assert left_out.returncode == 0 and "left out" in left_out.stderr
    result = call_cli("check", "cut.onnx", "--outputs", "r", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert_refused(call_cli("check", "--outputs", "r", "net.pt2", cwd=folder))


def test_a_number_that_chooses_a_branch(folder):
    text = """g (float[N,3] x, int64 rate) => (float[N,4] y) {
        fast = Equal(rate, fast_rate)
        p = If(fast) <
            then_branch = a () => (float[N,4] u) { m = MatMul(x, w)  u = Relu(m) },
            else_branch = b () => (float[N,4] v) { n = MatMul(x, w)  v = Neg(n) }>
        y = MatMul(p, z) }"""
    model = model_of(text, w=(3, 4), z=(4, 4), fast_rate=np.array(16))
    written(model, folder, "branch.onnx")
    shapes = ("--example-shape", "2,3", "--example-shape")
    result = call_cli("check", "branch.onnx", *shapes, "16:number", cwd=folder)
    assert result.returncode == 0 and "rate = 16" in result.stderr
    result = call_cli("check", "branch.onnx", *shapes, "8:number", cwd=folder)
    assert result.returncode == 1 and "no activation" in result.stdout
    refused = call_cli("check", "branch.onnx", *shapes, "x:number", cwd=folder)
    assert_refused(refused, "16000:number")
