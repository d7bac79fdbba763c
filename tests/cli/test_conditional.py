"""Denoisers that take more than x and a plain t, through the commands."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import snnconvert
from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.checkpoint.stored_moments import curve_of
from snnconvert.cli import main

SIZE = 8
pytestmark = pytest.mark.filterwarnings("ignore:.*calib", "ignore:.*channels")


class Labelled(nn.Module):
    """(x, t / 1000 as [B, 1], label) -> eps."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.time, self.label = nn.Linear(1, 8), nn.Embedding(3, 8)
        self.first, self.last = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)
        nn.init.normal_(self.label.weight, std=3.0)

    def forward(self, x, t, label):
        shift = self.time(t) + self.label(label)
        return self.last(torch.relu(self.first(x) + shift[:, :, None, None]))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conditional")
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(32, 1, SIZE, SIZE, generator=generator) * 2 - 1
    np.savez(folder / "data.npz", images.numpy(), (torch.arange(32) % 3).numpy())
    shapes = [f"2,1,{SIZE},{SIZE}", "2,1", "2:int"]
    examples = [word for shape in shapes for word in ("--example-shape", shape)]
    assert main(["convert", "--model", "tests.cli.test_conditional:Labelled", *examples,
                 "--calibrate", str(folder / "data.npz"), "--schedule", "linear", "--t-range",
                 "0,0.999", "--timesteps", "4", "--no-page", "-q",
                 "-o", str(folder / "net.snn.pt")]) == 0  # fmt: skip
    return folder / "net.snn.pt"


def drawn(file, out, *words):
    assert main(["sample", str(file), "-o", str(out), "-n", "4", "--steps", "3", "--solver",
                 "ddim", "--no-progress", *words]) == 0  # fmt: skip
    with np.load(out) as content:
        return content["samples"]


def test_labels_and_scaled_times_go_the_whole_way(file, tmp_path):
    network = snnconvert.load(file)
    assert network.t_range == (0, 0.999)
    found = drawn(file, tmp_path / "a.npz", "--argument", "label=0,2")
    wanted = snnconvert.sample(
        lambda x, t: network(x, t[:, None], torch.tensor([0, 2, 0, 2])), shape=(4, 1, SIZE, SIZE),
        solver="ddim", steps=3, t_range=(0, 0.999), clip=network.data_range,
    )  # fmt: skip
    wanted = ((wanted + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1)
    np.testing.assert_array_equal(found, wanted.numpy())
    np.savez(tmp_path / "labels.npz", np.array([0, 2, 0, 2]))
    rows = drawn(file, tmp_path / "b.npz", "--argument", f"label={tmp_path / 'labels.npz'}",
                 "--batch-size", "3")  # fmt: skip
    np.testing.assert_array_equal(found, rows)
    assert not np.array_equal(found, drawn(file, tmp_path / "c.npz", "--argument", "label=1"))


def test_an_onnx_denoiser_goes_the_same_way(file, tmp_path):
    x, t, label = torch.zeros(2, 1, SIZE, SIZE), torch.zeros(2, 1), torch.zeros(2).long()
    torch.onnx.export(
        Labelled().eval(), (x, t, label), str(tmp_path / "net.onnx"), dynamo=False,
        input_names=["x", "t", "label"], dynamic_axes={k: {0: "B"} for k in ("x", "t", "label")},
    )  # fmt: skip
    out = tmp_path / "net.snn.pt"
    assert main(["convert", str(tmp_path / "net.onnx"), "--calibrate",
                 str(file.with_name("data.npz")), "--schedule", "linear", "--t-range", "0,0.999",
                 "--timesteps", "4", "--no-page", "-q", "-o", str(out)]) == 0  # fmt: skip
    images = [drawn(each, tmp_path / "a.npz", "--argument", "label=2") for each in (file, out)]
    np.testing.assert_array_equal(*images)


def test_images_without_their_labels_are_refused(tmp_path, capsys):
    torch.save(torch.zeros(4, 1, SIZE, SIZE), tmp_path / "x.pt")
    shapes = [f"2,1,{SIZE},{SIZE}", "2,1", "2:int"]
    examples = [word for shape in shapes for word in ("--example-shape", shape)]
    convert = ["convert", "--calibrate", str(tmp_path / "x.pt"), "--schedule", "linear",
               "-o", str(tmp_path / "out.pt")]  # fmt: skip
    assert main([*convert, "--model", "tests.cli.test_conditional:Labelled", *examples]) == 2
    assert "found 1 tensors for a network of 3 inputs" in capsys.readouterr().err
    alone = ["--model", "torch.nn:Identity", "--example-shape", f"2,1,{SIZE},{SIZE}"]
    assert main([*convert, *alone]) == 2
    assert "takes one input, so no time" in capsys.readouterr().err


def test_moments_and_trajectories_take_them_too(file, tmp_path):
    np.savez(tmp_path / "images.npz", np.full((6, SIZE, SIZE), 90, np.uint8))
    copy = tmp_path / "net.snn.pt"
    copy.write_bytes(file.read_bytes())
    assert main(["moments", str(copy), "--data", str(tmp_path / "images.npz"), "--times", "3",
                 "--no-progress", "--argument", "label=1,2"]) == 0  # fmt: skip
    clean = torch.full((6, 1, SIZE, SIZE), 90 / 127.5 - 1)
    wanted = snnconvert.eps_second_moment(
        snnconvert.load(copy),
        [clean],
        clip=True,
        times=3,
        arguments={"label": torch.tensor([1, 2])},
    )
    torch.testing.assert_close(curve_of(Checkpoint.read(copy), "snn"), wanted)
    assert main(["trajectory", str(file), "-n", "2", "--steps", "2", "--solver", "ddim", "-q",
                 "--argument", "label=1", "-o", str(tmp_path / "t.json")]) == 0  # fmt: skip


def test_a_correction_is_measured_against_a_float_network_of_any_origin(file, tmp_path, capsys):
    pixels = torch.randint(256, (6, SIZE, SIZE), generator=torch.Generator().manual_seed(0))
    np.savez(tmp_path / "images.npz", pixels.byte().numpy())
    copy = tmp_path / "net.snn.pt"
    copy.write_bytes(file.read_bytes())
    measure = ["moments", str(copy), "--data", str(tmp_path / "images.npz"), "--times", "3",
               "--no-progress", "--argument", "label=1,2", "--against"]  # fmt: skip
    assert main([*measure, "tests.cli.test_conditional:Labelled"]) == 0
    found = drawn(copy, tmp_path / "a.npz", "--argument", "label=0", "--corrected")
    network, label = snnconvert.load(copy), {"label": torch.tensor([1, 2])}
    correction = snnconvert.measure_correction(
        network, Labelled().eval(), [pixels[:, None].float() / 127.5 - 1], clip=True, times=3,
        t_range=(0, 0.999), arguments=label,
    )  # fmt: skip
    wanted = snnconvert.sample(
        network, shape=(4, 1, SIZE, SIZE), solver="ddim", steps=3, clip=True, correction=correction,
        arguments={"label": torch.tensor([0])},
    )  # fmt: skip
    wanted = ((wanted + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1)
    assert np.abs(found.astype(int) - wanted.numpy().astype(int)).max() <= 1
    for wrong, said in (("tests.cli.test_conditional:SIZE", "--against"),
                        ("nowhere:net", "nowhere"), (str(tmp_path), "config.json")):  # fmt: skip
        assert main([*measure, wrong]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], ["(x, t, label)"]),
        (["--argument", "label"], ["NAME=VALUE"]),
        (["--argument", "label=cat"], ["label=cat", "numbers"]),
        (["--argument", "label=none"], ["label", "tensor"]),
        (["--argument", "class=1"], ["class"]),
        (["--argument", "label=1", "--t-range", "0,1"], ["from 0 to 0.999", "leave it out"]),
        (["--argument", "label=1", "--t-range", "1"], ["t_range", "(first, last)"]),
    ],
)
def test_what_is_missing_or_wrong_is_said(file, tmp_path, capsys, words, said):
    assert main(["sample", str(file), "-o", str(tmp_path / "a.npz"), "-n", "1", "--steps", "1",
                 "--no-progress", *words]) == 2  # fmt: skip
    error = capsys.readouterr().err
    assert all(word in error for word in said), error
    assert error.count("\n") == 1
