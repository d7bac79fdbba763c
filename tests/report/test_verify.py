"""The certificate: yes where counts are the quantiser's, else which are not; CLI codes 0, 1, 2."""

from __future__ import annotations

import json
import warnings

import pytest
import torch
from torch import nn

import snnconvert
from snnconvert.errors import InputError
from snnconvert.report.show.certificate import format_verification
from tests.support.command_line import assert_refused, call_cli
from tests.support.unets import tiny_unet, unet_inputs


def pair(**options):
    qann = tiny_unet()
    return qann, snnconvert.convert(qann, 4, example_inputs=unet_inputs(), **options)


@pytest.mark.parametrize("options", [{}, {"firing": "deferred"}, {"code": "radix"}])
def test_what_is_exact_is_certified(options):
    qann, snn = pair(**options)
    found = snnconvert.verify(qann, snn, [unet_inputs(seed=s) for s in (1, 2)])
    assert found and found.equal and found.mismatched == 0 and found.inputs == 6
    assert found.output["bit_equal"] and found.neurons > 1000
    assert "equal: " in format_verification(found)


def test_what_is_not_is_told_with_its_place():
    qann, snn = pair(settle=0, signed=False)
    inputs = unet_inputs()
    found = snnconvert.verify(qann, snn, [inputs])
    assert not found and 0 < found.mismatched < found.neurons
    layer = next(layer for layer in found.layers if layer.mismatched)
    row, neuron = layer.first
    wrong = snn.run(*inputs).counts
    right = snn.with_config(settle=None, signed=True).run(*inputs).counts
    gap = (wrong[layer.name] - right[layer.name]).flatten(1)
    assert gap[row, neuron] != 0 and not gap[:row].any() and not gap[row, :neuron].any()
    assert layer.name in format_verification(found)
    most = int(max(layer.farthest for layer in found.layers))
    assert snnconvert.verify(qann, snn, [inputs], tolerance=most)
    assert not snnconvert.verify(qann, snn, [inputs], tolerance=most - 1)


def test_one_changed_weight_is_found():
    qann, snn = pair()
    other = tiny_unet()
    other.load_state_dict(qann.state_dict())
    with torch.no_grad():
        next(other.parameters()).mul_(1.3)
    assert not snnconvert.verify(other, snn, [unet_inputs()])


def test_bad_input_is_refused():
    qann, snn = pair()
    for batches, word in (([], "no batches"), (torch.zeros(2, 2), "iterable"), ([(1, 2)], "")):
        with pytest.raises(InputError, match=word):
            snnconvert.verify(qann, snn, batches)
    with pytest.raises(InputError, match="not converted from"):
        snnconvert.verify(tiny_unet(channel_mult=(1, 1)), snn, [unet_inputs()])
    with pytest.raises(InputError, match="tolerance"):
        snnconvert.verify(qann, snn, [unet_inputs()], tolerance=-1)


def test_a_calibrated_network_knows_what_it_was_converted_from(tmp_path):
    def made(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 3)
        ).eval()  # fmt: skip

    x = torch.randn(64, 6)
    snn = snnconvert.convert(made(0), 4, example_inputs=x, calibration=[x])
    snnconvert.save(snn, tmp_path / "a.snn.pt")
    kept = snnconvert.load(tmp_path / "a.snn.pt")
    other = torch.export.export(made(0), (x,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    torch.export.save(other, tmp_path / "a.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for same in (made(0), snnconvert.load(tmp_path / "a.pt2")):
            assert snnconvert.verify(same, kept, [x])
    for question in (snnconvert.verify, snnconvert.compare):
        with pytest.raises(InputError, match="one of the same shape"):
            question(made(1), kept, [x])
    partly = made(0)
    partly[3] = made(1)[3]
    with pytest.warns(UserWarning, match=r"only 2 of 4 weights"):
        snnconvert.verify(partly, kept, [x])
    assert "origin" not in snnconvert.compare(made(0), snn, [x]).to_dict()["calibration"]


def test_exit_codes_and_json(tmp_path, shipped):
    like = {**shipped, "probe": shipped["probe"][:4]}
    qann = tiny_unet(in_channels=1)
    snnconvert.save(qann, tmp_path / "net.pt", like=like)
    example = (torch.zeros(2, 1, 32, 32), torch.zeros(2))
    for name, options in (("good", {}), ("bad", {"settle": 0})):
        snn = snnconvert.convert(qann, 4, example_inputs=example, **options)
        snnconvert.save(snn, tmp_path / f"{name}.snn.pt", like=like)
    good = call_cli("verify", "net.pt", "good.snn.pt", cwd=tmp_path)
    assert good.returncode == 0 and good.stdout.startswith("equal"), good.stderr
    bad = call_cli("verify", "net.pt", "bad.snn.pt", "--json", cwd=tmp_path)
    found = json.loads(bad.stdout)
    assert bad.returncode == 1 and not found["equal"] and found["mismatched"] > 0
    quiet = call_cli("verify", "net.pt", "bad.snn.pt", "--quiet", cwd=tmp_path)
    assert quiet.returncode == 1 and quiet.stdout == "" and quiet.stderr == ""
    lenient = call_cli("verify", "net.pt", "bad.snn.pt", "--tolerance", "9", cwd=tmp_path)
    assert lenient.returncode == 0
    assert_refused(call_cli("verify", "net.pt", "net.pt", cwd=tmp_path), "converted network")
    assert_refused(call_cli("verify", "net.pt", "none.pt", cwd=tmp_path), "no such file")
    assert_refused(call_cli("verify", cwd=tmp_path), "two networks")
