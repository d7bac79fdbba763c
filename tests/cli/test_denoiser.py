"""A float denoiser calibrated and trained without labels: on x_t, over all t, as it is deployed."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

import snnconvert
from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.checkpoint.schedules import schedule_of
from snnconvert.cli import build_parser
from snnconvert.cli.arguments.calibration_argument import noised
from snnconvert.cli.arguments.named_network import NamedNetwork
from snnconvert.cli.arguments.network_argument import named_network
from snnconvert.conversion.calibration.options import WeightCalibration
from snnconvert.diffusion.objectives import beyond_range, noised_batch, target_of
from snnconvert.images.pixels import to_unit_range
from tests.support.command_line import assert_refused, call_cli
from tests.support.errors import relative_error
from tests.support.paths import SHIPPED
from tests.support.unets import tiny_unet

pytestmark = pytest.mark.filterwarnings("ignore:.*calib")


def named(*arguments: object) -> NamedNetwork:
    """What `snnconvert convert` reads from these arguments."""
    return named_network(build_parser().parse_args(["convert", *map(str, arguments)]))


def test_clean_images_are_noised_over_the_whole_range_of_t(tmp_path, shipped):
    images = to_unit_range(shipped["probe"])
    for kind, held in (("float", images), ("uint8", shipped["probe"])):
        torch.save(held, tmp_path / f"{kind}.pt")
        found = named(SHIPPED, "--stage", "ann", "--calibrate", tmp_path / f"{kind}.pt")
        x, t = (torch.cat(parts) for parts in zip(*found.batches, strict=True))
        assert torch.equal(t.sort().values, torch.linspace(0, 999, len(images)).round())
        assert all(float(times.std()) > 200 for _, times in found.batches[:-1])  # every batch mixes
        schedule = Checkpoint(shipped).schedule()
        alpha, sigma = (f(t).float()[:, None, None, None] for f in (schedule.alpha, schedule.sigma))
        flat = images.flatten(1)
        nearest = (x / alpha).flatten(1)[t < 300]
        origin = torch.cdist(nearest, flat).argmin(1)
        eps = ((x - alpha * images[0]) / sigma)[t > 990]  # nothing but noise is left
        assert float(eps.std()) == pytest.approx(1, abs=0.05)
        eps = (x[t < 300] - alpha[t < 300] * images[origin]) / sigma[t < 300]
        assert float(eps.mean()) == pytest.approx(0, abs=0.02)
        assert float(eps.std()) == pytest.approx(1, abs=0.02)
        assert len(origin.unique()) > 0.9 * len(origin)


def test_the_network_is_the_one_that_samples_and_the_report_is_about_other_images(
    tmp_path, shipped
):
    torch.save(shipped["probe"][:40], tmp_path / "clean.pt")
    found = named(SHIPPED, "--stage", "ann", "--calibrate", tmp_path / "clean.pt")
    assert found.stage == "ann" and not found.model.training
    assert len(found.reported()) == 8  # all 256 in the file
    assert sum(len(x) for x, _ in found.batches) == 40
    pairs = (torch.randn(4, 1, 32, 32), torch.arange(4.0))
    torch.save(pairs, tmp_path / "pairs.pt")
    (batch,) = named(SHIPPED, "--calibrate", tmp_path / "pairs.pt").batches
    assert all(map(torch.equal, batch, pairs))  # inputs that are noised already stay as they are


@torch.no_grad()
def error_and_loss(network, ann, inputs: tuple[Tensor, ...]) -> tuple[float, float]:
    """Relative error against the float network, and its own loss as one of the noise."""
    x, t, target, alpha, beyond = inputs
    wanted, found = ann(x, t), network(x, t)
    error = (found - target).masked_fill(beyond * (found - target) > 0, 0)
    return relative_error(found, wanted), float((alpha * error).square().mean())


@pytest.mark.parametrize("trained", [{"block_steps": 60}, {"block_steps": 0, "output_steps": 30}])
def test_trained_weights_come_closer_on_held_out_inputs_over_all_t(shipped, trained):
    """By blocks and by the output; a few steps each, the shipped float network."""
    ann, recipe = Checkpoint(shipped).network("ann"), Checkpoint(shipped).recipe
    images = shipped["probe"]
    calibration = [noised(images[:128], recipe.image_size, schedule_of(recipe))]
    generator = torch.Generator().manual_seed(5)
    clean, schedule = to_unit_range(images[128:]), schedule_of(recipe)
    x, t, eps = noised_batch(clean, schedule, generator, spread=True)
    alpha = schedule.alpha(t).float().view(-1, 1, 1, 1)  # v is alpha * eps - sigma * x0
    assert recipe.clipped  # so no prediction beyond the range is an error
    beyond = beyond_range(recipe.prediction, clean)
    held_out = x, t, target_of(recipe.prediction, clean, eps, schedule, t), alpha, beyond
    options = {"example_inputs": calibration[0], "calibration": calibration, "simulate": "counts"}
    before, after = (
        error_and_loss(snnconvert.convert(ann, 4, weights=weights, **options), ann, held_out)
        for weights in ("kept", WeightCalibration(batch=16, **trained))
    )
    assert after[0] < before[0] and after[1] < before[1], (before, after)


def test_command_line_calibrates_on_clean_images(tmp_path, shipped):
    like = {**shipped, "probe": shipped["probe"][:8]}
    snnconvert.save(tiny_unet(in_channels=1, levels=0), tmp_path / "small.pt", like=like)
    torch.save(shipped["probe"][8:40], tmp_path / "clean.pt")
    options = ["--stage", "ann", "--calibrate", "clean.pt", "--timesteps", "2"]
    result = call_cli("convert", "small.pt", *options, "-o", "o.pt", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "o.report.json").read_text())
    assert report["calibration"]["inputs"] == 32 and report["images"] == 8
    assert report["output"]["bit_equal"] and report["output_ann"] is not None


def test_unusable_images_and_stages_are_refused(tmp_path, shipped):
    torch.save(torch.zeros(4, 1, 16, 16), tmp_path / "small.pt")
    torch.save((torch.zeros(4, 1, 32, 32), torch.zeros(3)), tmp_path / "uneven.pt")
    torch.save(torch.zeros(4, 3), tmp_path / "inputs.pt")
    for file, word in (("small.pt", "[N, C, 32, 32]"), ("uneven.pt", "[4, 3]")):
        result = call_cli("convert", SHIPPED, "--calibrate", file, "-o", "o.pt", cwd=tmp_path)
        assert_refused(result, word)
    like = {**shipped, "probe": shipped["probe"][:8]}
    snnconvert.save(tiny_unet(in_channels=1), tmp_path / "qann.pt", like=like)
    result = call_cli("convert", "qann.pt", "--stage", "ann", "-o", "o.pt", cwd=tmp_path)
    assert_refused(result, "holds no ann network", "qann")
