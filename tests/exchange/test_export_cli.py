"""`export`, and the commands that take what it wrote."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import snnconvert
from snnconvert.exchange.onnx_model import onnx_model
from snnconvert.exchange.parity import TOLERANCE, check_parity
from snnconvert.images.pixels import to_pixels
from tests.support.command_line import assert_refused, call_cli
from tests.support.paths import SHIPPED


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The shipped U-Net, exported by the command line."""
    where = tmp_path_factory.mktemp("exported")
    result = call_cli("export", SHIPPED, "unet.onnx", "--samples", 4, cwd=where)
    assert result.returncode == 0, result.stderr
    assert "relative error" in result.stdout and "unet.parity.json" in result.stdout
    return where


def test_the_shipped_network_draws_the_same_images(folder):
    """DDIM-20 within 2 grey values, but for images on whose path a rounding falls on a float tie.

    A tie costs one count in one call, and the path carries it on. What no tie explains is refused.
    """
    shipped, count = snnconvert.Checkpoint.read(SHIPPED), 8
    snn = snnconvert.convert(
        shipped.network("qann"), 4, firing="deferred", simulate="counts",
        example_inputs=(torch.randn(2, 1, 32, 32), torch.tensor([1.0, 2.0])),
    )  # fmt: skip
    snnconvert.save(snn, folder / "unet.snn.pt", like=shipped)
    drawn = []
    for file in ("unet.onnx", "unet.snn.pt"):
        out = f"{file}.npz"
        result = call_cli("sample", file, "-n", count, "--solver", "ddim", "--steps", 20,
                          "--no-progress", "-o", out, cwd=folder)  # fmt: skip
        assert result.returncode == 0, result.stderr
        drawn.append(np.load(folder / out)["samples"].astype(int))
    path = []

    def on_the_way(x, t):
        path.append([x.clone(), t.clone()])
        return snn(x, t)

    images = snnconvert.sample(on_the_way, shape=(count, 1, 32, 32), solver="ddim", steps=20,
                               seed=0, prediction="v", clip=True)  # fmt: skip
    assert np.abs(to_pixels(images).permute(0, 2, 3, 1).numpy() - drawn[1]).max() == 0
    exported = onnx_model(snn, "deferred", shipped)
    along = check_parity(exported, exported.content(), path, TOLERANCE, "unet.onnx")
    assert along.samples == 20 * count and along.relative_error < 1e-4
    apart = (np.abs(drawn[0] - drawn[1]) > 2).reshape(count, -1).any(1)
    assert int(apart.sum()) <= along.tied_samples < count


def test_info_and_other_options(folder):
    told = call_cli("info", "unet.onnx", cwd=folder).stdout
    assert "form=deferred" in told and "predicts: v" in told
    refused = call_cli("sample", "unet.onnx", "--threshold-scale", "0.99", cwd=folder)
    assert_refused(refused, "exported")
    refused = call_cli("sample", "unet.onnx", "--schedule", "cosine", cwd=folder)
    assert_refused(refused, "another one")


def test_bad_input_is_refused(folder):
    assert_refused(call_cli("export", SHIPPED, "a.pt", cwd=folder), ".onnx")
    assert_refused(call_cli("export", "missing.pt", "a.txt", cwd=folder), "a.txt", ".onnx")
    assert_refused(call_cli("export", SHIPPED, "a.onnx", "--form", "loop", cwd=folder), "clock")
    assert_refused(
        call_cli("export", SHIPPED, "a.onnx", "--stage", "ann", cwd=folder), "convert it"
    )
    assert_refused(call_cli("export", SHIPPED, "a.onnx", "--count", 0, cwd=folder), "--count")
    assert_refused(call_cli("export", "unet.onnx", "a.onnx", cwd=folder), "unet.onnx")
    assert_refused(call_cli("sample", "missing.onnx", cwd=folder), "missing.onnx")
    for command in ("check", "convert", "trajectory"):
        refused = call_cli(command, "unet.onnx", *(["-o", "o.pt"] if command == "convert" else []),
                           cwd=folder)  # fmt: skip
        assert_refused(refused)
