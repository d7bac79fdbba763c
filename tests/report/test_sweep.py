"""Timesteps for a wanted error: measured where it matters, predicted between, kept elsewhere."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import snnconvert
from snnconvert.cli.arguments.texts import step_range
from snnconvert.errors import InputError
from snnconvert.evaluation.metrics.accuracy import accuracy
from snnconvert.report.show.terminal import format_sweep
from snnconvert.report.trials.sweep import grid, predicted, smallest, timesteps_for
from tests.support.command_line import assert_refused, call_cli


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Linear(12, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 4)]
    return nn.Sequential(*layers).eval()


def batches(seed: int, count: int = 8) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(64, 12, generator=generator) for _ in range(count)]


@pytest.mark.parametrize(("code", "wanted"), [("rate", 0.15), ("radix", 0.1)])
def test_the_recommended_timesteps_keep_their_promise_on_other_data(code, wanted):
    ann, data = network(), batches(1)
    found = snnconvert.sweep(ann, calibration=data, max_error=wanted, code=code)
    row = next(r for r in found.rows if r["timesteps"] == found.recommended)
    assert row["measured"] and row["relative_error_ann"] <= wanted
    assert f"T = {found.recommended}" in format_sweep(found)
    snn = snnconvert.convert(ann, found.recommended, example_inputs=data[0], code=code,
                             calibration=[b for i, b in enumerate(data) if i % 4 != 3])  # fmt: skip
    fresh = snnconvert.compare(ann, snn, batches(2)).to_dict()["output_ann"]["relative_error"]
    assert abs(fresh / row["relative_error_ann"] - 1) < 0.2
    assert not any(r["measured"] and r["relative_error_ann"] <= wanted
                   for r in found.rows if r["timesteps"] < found.recommended)  # fmt: skip


def test_other_figures_are_those_of_each_network():
    ann, data = network(), batches(1)
    x = torch.cat(batches(2))
    labels = ann(x).argmax(1)

    def share(classifier: nn.Module) -> float:
        return accuracy(classifier, [(x, labels)])

    found = snnconvert.sweep(
        ann.train(), [1, 4, 5, 16], calibration=data, measures={"right": share}
    )
    assert ann.training and found.float_ann == {"right": 1.0}
    for row in found.rows:
        assert (row["right"] is None) == (not row["measured"])
        if row["measured"]:
            fitted = [b for i, b in enumerate(data) if i % 4 != 3]
            snn = snnconvert.convert(ann, row["timesteps"], example_inputs=x, calibration=fitted)
            assert row["right"] == share(snn)
    assert found.rows[0]["right"] < found.rows[-1]["right"]
    assert f"{found.rows[0]['right']:.4f}" in format_sweep(found)


def test_predictions_are_near_what_is_measured():
    ann, data = network(), batches(1)
    coarse = snnconvert.sweep(ann, range(2, 33), calibration=data)
    fine = snnconvert.sweep(ann, [6, 12, 24], calibration=data)
    for row in fine.rows:
        if row["measured"]:
            guess = next(r for r in coarse.rows if r["timesteps"] == row["timesteps"])
            assert guess["relative_error_ann"] == pytest.approx(row["relative_error_ann"], rel=0.25)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 80), st.floats(0.01, 1))
def test_curves_meet_their_points_and_fall(first, length, wanted):
    span = list(range(first, first + length))
    found = {t: 1 / t for t in grid(span, "rate")}
    assert set(found) >= {span[0], span[-1]} and set(found) <= set(span)
    values = [predicted(t, found) for t in span]
    assert values == sorted(values, reverse=True)
    assert all(abs(v * t - 1) < 1e-9 for v, t in zip(values, span, strict=True))
    chosen = smallest(span, found, wanted)
    assert chosen is None or predicted(chosen, found) <= wanted


def test_bad_input_is_refused():
    ann, data = network(), batches(1, 2)
    for arguments, word in (
        ({"timesteps": []}, "empty"),
        ({"timesteps": [0, 1]}, "timesteps"),
        ({"max_error": 0}, "max_error"),
        ({"calibration": []}, "batches"),
    ):
        with pytest.raises(InputError, match=word):
            snnconvert.sweep(ann, **{"calibration": data, **arguments})
    with pytest.raises(InputError, match=r"the best is 0\.\d+ at T = 4"):
        timesteps_for(1e-6, ann=ann, calibration=data, timesteps=range(1, 5))


def test_ranges_are_read_or_refused():
    assert step_range("1-4") == [1, 2, 3, 4] and step_range("4,8") == [4, 8]
    for wrong in ("4-1", "", "a", "1-b", "-3", "1-9999999"):
        with pytest.raises(Exception, match="FIRST-LAST"):
            step_range(wrong)


def test_commands(tmp_path):
    example = torch.export.export(network(), (batches(1)[0],), dynamic_shapes=(
        {0: torch.export.Dim("batch")},))  # fmt: skip
    torch.export.save(example, tmp_path / "net.pt2")
    torch.save(torch.cat(batches(1, 4)), tmp_path / "x.pt")
    swept = call_cli("sweep", "net.pt2", "--data", "x.pt", "--timesteps", "1-16", "--max-error",
                     "0.2", cwd=tmp_path)  # fmt: skip
    assert swept.returncode == 0 and "recommended: T = " in swept.stdout, swept.stderr
    content = json.loads((tmp_path / "net.sweep.json").read_text())
    assert (tmp_path / "net.sweep.png").exists() and len(content["rows"]) == 16
    made = call_cli("convert", "net.pt2", "--data", "x.pt", "--max-error", "0.2", "--no-page",
                    "--json", cwd=tmp_path)  # fmt: skip
    assert json.loads(made.stdout)["timesteps"] == content["recommended"], made.stderr
    inputs = torch.cat(batches(1, 4))
    torch.save((inputs, network()(inputs).argmax(1)), tmp_path / "labelled.pt")
    judged = call_cli("sweep", "net.pt2", "--data", "x.pt", "--timesteps", "1,32", "--against",
                      "labelled.pt", "--json", cwd=tmp_path)  # fmt: skip
    told = json.loads(judged.stdout)
    assert told["float_ann"] == {"accuracy": 1.0}, judged.stderr
    assert told["rows"][0]["accuracy"] < told["rows"][1]["accuracy"] < 1
    plain = call_cli("sweep", "net.pt2", "--data", "x.pt", "--against", "x.pt", cwd=tmp_path)
    assert_refused(plain, "labels")
    images = call_cli("sweep", "net.pt2", "--data", "x.pt", "--against", "cifar10", cwd=tmp_path)
    assert_refused(images, "[-1, 12]", "inputs and labels")
    none = call_cli("convert", "net.pt2", "--data", "x.pt", "--max-error", "1e-9", cwd=tmp_path)
    assert_refused(none, "the best is")
    backwards = call_cli("sweep", "net.pt2", "--data", "x.pt", "--timesteps", "9-3", cwd=tmp_path)
    assert_refused(backwards, "9-3")
