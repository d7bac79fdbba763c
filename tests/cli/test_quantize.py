"""`quantize`: the Python function over every kind of file, and files that all commands read."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import snnconvert
from snnconvert.checkpoint.format import read_checkpoint, save_checkpoint
from snnconvert.conversion.capture.captured_network import CapturedNetwork
from tests.support.command_line import assert_refused, call_cli
from tests.support.onnx_files import small_cnn, written
from tests.support.tiny_checkpoint import tiny_content

NETS = """
from torch import nn
def one():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
two = one
"""
FACTORY = ("net.pth", "--model", "nets_to_quantize:one")
SOURCES = {"onnx": ("net.onnx",), "pt2": ("net.pt2",), "factory": FACTORY}
LEVELS = 5


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("quantize")
    (place / "nets_to_quantize.py").write_text(NETS)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()
    torch.save(model.state_dict(), place / "net.pth")
    inputs = torch.randn(24, 3, 8, 8)
    torch.save(inputs, place / "inputs.pt")
    batch = {0: torch.export.Dim("batch", min=2, max=64)}
    torch.export.save(torch.export.export(model, (inputs,), dynamic_shapes=(batch,)),
                      place / "net.pt2")  # fmt: skip
    written(small_cnn(), place)
    save_checkpoint(place / "tiny.pt", tiny_content())
    return place


def done(place, *words):
    result = call_cli(*words, cwd=place)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", SOURCES)
def test_its_file_holds_what_quantize_gives_and_converts_without_loss(kind, place):
    """quantize(load(FILE)) = load(OUT) = convert(OUT, T = levels), bit for bit."""
    out, x = f"{kind}.qann.pt", torch.load(place / "inputs.pt")
    said = done(place, "quantize", *SOURCES[kind], "--calibrate", "inputs.pt", "--levels",
                LEVELS, "-o", out)  # fmt: skip
    assert f"{LEVELS} levels" in said and f"wrote {out}" in said
    source = (
        snnconvert.load(place / SOURCES[kind][0]) if kind != "factory"
        else nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()
    )  # fmt: skip
    if kind == "factory":
        source.load_state_dict(torch.load(place / "net.pth"))
    wanted = snnconvert.quantize(source, LEVELS, example_inputs=x, calibration=[x]).eval()
    held = snnconvert.load(place / out)
    assert torch.equal(held(x), wanted(x)) and not torch.equal(held(x), source(x))
    assert {n: p.requires_grad for n, p in held.named_parameters()} == {
        n: p.requires_grad for n, p in wanted.named_parameters()
    }
    assert f"levels {LEVELS}" in done(place, "info", out)
    assert "no problems" in done(place, "check", out)
    said = done(place, "convert", out, "--calibrate", "inputs.pt", "--timesteps", LEVELS,
                "--no-page", "-o", "it.snn.pt")  # fmt: skip
    assert "bit-equal to the quantised ANN" in said
    assert torch.equal(snnconvert.load(place / "it.snn.pt")(x), wanted(x))


def test_what_was_trained_in_python_is_saved_and_converted(place):
    x = torch.load(place / "inputs.pt")
    done(place, "quantize", *FACTORY, "--calibrate", "inputs.pt", "-o", "start.pt")
    qann = snnconvert.load(place / "start.pt").train()
    optimizer = torch.optim.SGD(qann.parameters(), lr=1e-2)
    qann(x).square().mean().backward()
    optimizer.step()
    snnconvert.save(qann, place / "trained.pt", like=read_checkpoint(place / "start.pt"))
    trained = snnconvert.load(place / "trained.pt")
    assert torch.equal(trained(x), qann.eval()(x))
    assert not torch.equal(trained(x), snnconvert.load(place / "start.pt")(x))
    assert torch.equal(snnconvert.convert(trained, 4)(x), trained(x))


@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_keeps_its_recipe_and_images(place):
    """Of a file that holds a quantised network too, the float one is taken."""
    done(place, "quantize", "tiny.pt", "--timesteps", "2", "--code", "radix", "-o", "q.pt")
    made, origin = read_checkpoint(place / "q.pt"), read_checkpoint(place / "tiny.pt")
    assert made["stage"] == "qann" and made["recipe"] == origin["recipe"]
    assert torch.equal(made["probe"], origin["probe"])
    assert made["networks"]["qann"]["config"]["levels"] == 3
    assert isinstance(snnconvert.load(place / "q.pt"), CapturedNetwork)
    done(place, "sample", "q.pt", "-n", "2", "--steps", "2", "-o", "drawn.png")
    assert "trained at 3 levels, converted at 7" in done(
        place, "convert", "q.pt", "--timesteps", "3", "--code", "radix", "--no-page"
    )
    done(place, "export", "q.pt", "q.onnx", "-n", "2")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((*FACTORY, "--calibrate", "inputs.pt", "--levels", "0"), "levels"),
        ((*FACTORY, "--calibrate", "inputs.pt", "--levels", "65536"), "1 ... 65535"),
        ((*FACTORY, "--calibrate", "inputs.pt", "--timesteps", "0"), "timesteps"),
        ((*FACTORY, "--calibrate", "inputs.pt", "--levels", "3", "--timesteps", "3"), "--levels"),
        ((*FACTORY, "--calibrate", "inputs.pt", "--levels", "3", "--code", "radix"), "--code"),
        (("net.onnx",), "--calibrate"),
        (("tiny.pt", "--stage", "qann-radix"), "qann-radix"),
        (("net.onnx", "--calibrate", "inputs.pt", "-o", "net.onnx"), "input itself"),
    ],
)
def test_what_it_refuses(words, says, place):
    assert_refused(call_cli("quantize", *words, cwd=place), says)


def test_what_is_quantised_already_keeps_its_levels(place):
    done(place, "quantize", *FACTORY, "--calibrate", "inputs.pt", "--levels", "3", "-o", "a.pt")
    said = done(
        place, "quantize", "a.pt", "--calibrate", "inputs.pt", "--levels", "9", "-o", "b.pt"
    )
    assert "1 quantised activation, 3 levels: relative error 0 " in said


def test_its_default_file_is_replaced_by_its_own_kind_alone(place):
    calibrate = ("--calibrate", "inputs.pt", "--levels", "3")
    done(place, "quantize", *FACTORY, *calibrate)
    assert "which was there before" in done(place, "quantize", *FACTORY, *calibrate)
    other = call_cli("quantize", "net.pt2", *calibrate, cwd=place)
    assert_refused(other, "net.qann.pt", "--force")


def test_finetune_and_the_report_say_what_they_need(place):
    done(place, "quantize", *FACTORY, "--calibrate", "inputs.pt", "-o", "plain.pt")
    assert_refused(call_cli("finetune", "plain.pt", cwd=place), "convert it first")
    assert_refused(call_cli("convert", "plain.pt", cwd=place), "--calibrate")
