"""The error along a solver's path: zero where nothing is lost, shown where something is."""

import json

import pytest
import torch
from PIL import Image

import snnconvert
from snnconvert.cli import main
from snnconvert.errors import InputError
from snnconvert.report.show.terminal import format_trajectory
from snnconvert.report.trajectory import follow
from tests.support.command_line import assert_refused, call_cli
from tests.support.planar import NormalDenoiser, points
from tests.support.unets import tiny_unet

SHAPE = (2, 2, 8, 8)


def followed(steps: int = 6, solver: str = "ddim", **options):
    qann = tiny_unet()
    example = (torch.zeros(2, 2, 8, 8), torch.zeros(2))
    snn = snnconvert.convert(qann, 4, example_inputs=example, **options)
    return follow(qann, snn, SHAPE, solver=solver, steps=steps, clip=True)


@pytest.mark.parametrize("solver", ["ddim", "ddpm", "dpm-solver++", "unipc"])
def test_a_lossless_network_follows_its_ann_exactly(solver):
    report = followed(solver=solver)
    assert report["nfe"] == 6 == len(report["calls"])
    assert report["images_equal"] == {"call": True, "trajectory": True}
    for row in report["calls"]:
        assert row["eps_error"] == row["divergence"] == 0
    times = [row["t"] for row in report["calls"]]
    assert times == sorted(times, reverse=True)
    assert "bit for bit" in format_trajectory(report)


def test_a_continuous_run_spends_fewer_spikes_but_in_its_first_call():
    report = followed(steps=20)
    first, *others = report["calls"]
    assert first["trajectory"]["spikes"] == first["call"]["spikes"]
    assert sum(r["trajectory"]["spikes"] for r in others) < sum(r["call"]["spikes"] for r in others)
    for reset, total in report["total"].items():
        for key in ("clock_steps", "spikes", "energy_mj"):
            assert total[key] == pytest.approx(sum(row[reset][key] for row in report["calls"]))


def test_a_lossy_network_diverges_and_says_where():
    report = followed(settle=0)
    assert report["images_equal"] == {"call": False}  # a fixed settle cannot be carried
    assert all(row["eps_error"] > 0 for row in report["calls"])
    divergence = [row["divergence"] for row in report["calls"]]
    assert divergence[0] == 0 and divergence[-1] > 0
    assert report["image_error"]["call"] > 0
    assert "relative distance" in format_trajectory(report)


def test_bad_options_are_refused_before_anything_runs():
    with pytest.raises(InputError, match="ddim"):
        followed(solver="dimm")
    with pytest.raises(InputError, match="steps"):
        followed(steps=1001)


def test_command_writes_json_and_plot(tmp_path, shipped):
    like = {**shipped, "probe": shipped["probe"][:4]}
    snnconvert.save(tiny_unet(in_channels=1), tmp_path / "net.pt", like=like)
    result = call_cli("trajectory", "net.pt", "--solver", "dpm-solver++", "--steps", "4", "-n", "2",
                      "-o", "t.json", "--plot", "t.png", cwd=tmp_path)  # fmt: skip
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "t.json").read_text())
    assert report["solver"] == "dpm-solver++" and len(report["calls"]) == 4
    assert Image.open(tmp_path / "t.png").size[0] > 400
    assert "continuous run" in result.stdout
    bad = call_cli("trajectory", "net.pt", "--plot", "nowhere/t.png", cwd=tmp_path)
    assert_refused(bad, "nowhere")


@pytest.mark.filterwarnings("ignore:.*calib")
def test_a_saved_denoiser_of_vectors_is_followed(tmp_path):
    schedule = snnconvert.Schedule.linear()
    inputs = (points(64), torch.linspace(0, 999, 64))
    model = NormalDenoiser(schedule).eval()
    snn = snnconvert.convert(model, 8, example_inputs=inputs, calibration=[inputs])
    snnconvert.save(snn, tmp_path / "net.snn.pt")
    out = tmp_path / "t.json"
    assert main(["trajectory", str(tmp_path / "net.snn.pt"), "--schedule", "linear", "--solver",
                 "ddim", "--steps", "4", "-n", "3", "-o", str(out)]) == 0  # fmt: skip
    how = {"solver": "ddim", "steps": 4, "schedule": schedule}
    wanted = follow(snn.quantized_ann(), snn, (3, 2), **how)  # nothing clipped: no range is known
    assert json.loads(out.read_text())["calls"] == json.loads(json.dumps(wanted["calls"]))
