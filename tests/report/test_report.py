"""The report: stable keys, parts that add up, costs that a hand count confirms."""

import json
import math

import pytest
import torch
from torch import nn

import snnconvert
from snnconvert.errors import InputError
from snnconvert.operators.clip import QuantizedClip
from snnconvert.report.show.terminal import format_report
from snnconvert.report.trajectory import follow
from tests.support.unets import tiny_unet, unet_inputs

KEYS = {  # the command adds "trajectory"
    "timesteps", "firing", "signed", "settle", "norm", "neuron", "images", "latency_steps",
    "output", "output_ann", "counts", "layers", "layers_add_up", "cost",
    "timing", "immediate", "by_step",
}  # fmt: skip
LAYER_KEYS = {  # the command adds "trajectory"
    "name", "neuron", "v_threshold", "levels", "clipping", "quantisation", "temporal",
    "propagated", "total", "mismatched_fraction", "spike_rate", "silent_fraction",
    "saturated_fraction",
}  # fmt: skip


def report_of(**options):
    qann = tiny_unet()
    batches = [unet_inputs(seed=1), unet_inputs(batch=5, seed=2)]
    timesteps = options.pop("timesteps", 4)
    snn = snnconvert.convert(qann, timesteps, example_inputs=batches[0], **options)
    return snnconvert.compare(qann, snn, batches, float_ann=tiny_unet(levels=0)).to_dict()


def test_keys_are_the_documented_ones(tmp_path):
    report = report_of()
    assert set(report) >= KEYS
    assert all(set(layer) >= LAYER_KEYS for layer in report["layers"])
    assert set(report["output"]) == {"relative_error", "max_abs_error", "bit_equal"}
    assert set(report["counts"]) == {"mismatched_fraction"}
    assert set(report["cost"]) >= {
        "macs", "acs", "spike_driven_fraction", "energy_ann_mj", "energy_qann_mj", "energy_snn_mj",
    }  # fmt: skip
    assert set(report["timing"]) >= {"ann_s", "qann_s", "step_s", "counts_s"}
    assert set(report["immediate"]) == {
        "steps_to_silence",
        "mean_steps",
        "spikes_per_count",
        "bit_equal",
    }
    assert all(set(row) == {"step", "relative_error", "spikes"} for row in report["by_step"])
    json.dumps(report, allow_nan=False)


def test_a_lossless_conversion_says_so():
    for options in ({}, {"firing": "deferred"}, {"simulate": "counts"}):
        report = report_of(**options)
        assert report["output"] == {"relative_error": 0, "max_abs_error": 0, "bit_equal": True}
        assert report["counts"]["mismatched_fraction"] == 0
        assert all(layer["temporal"] == layer["propagated"] == 0 for layer in report["layers"])
        assert report["immediate"]["bit_equal"]
        assert 4 <= report["immediate"]["mean_steps"] <= report["immediate"]["steps_to_silence"]
        assert report["by_step"][-1]["relative_error"] == 0
        assert report["output_ann"]["relative_error"] > 0
        assert "nothing was lost" in format_report(report)


def test_a_lossy_one_says_where():
    report = report_of(settle=0, signed=False)
    assert not report["output"]["bit_equal"]
    assert report["output"]["relative_error"] > 0
    assert report["counts"]["mismatched_fraction"] > 0
    assert report["layers"][0]["propagated"] == 0  # its input is exact
    assert any(layer["temporal"] > 0 for layer in report["layers"])
    assert any(layer["propagated"] > 0 for layer in report["layers"])
    assert report["layers_add_up"]
    assert "relative error" in format_report(report)


@pytest.mark.parametrize("options", [{"settle": 0}, {"norm": "per_step"}, {"timesteps": 9}])
def test_parts_bound_the_whole(options):
    for layer in report_of(**options)["layers"]:
        parts = sum(layer[p] for p in ("clipping", "quantisation", "temporal", "propagated"))
        assert layer["total"] <= parts * (1 + 1e-6)


def test_timesteps_other_than_the_trained_levels_compare_with_that_many_levels():
    report = report_of(timesteps=9)
    assert report["output"]["bit_equal"]
    assert {layer["levels"] for layer in report["layers"]} == {9}


class TwoLayers(nn.Module):
    """3 -> 5 -> 2 with one activation: 15 MACs on currents, 10 on spikes, then 4."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.tail = nn.Linear(3, 5), nn.Linear(5, 2), nn.Linear(2, 2)
        self.clip = QuantizedClip(4)

    def forward(self, x):
        return self.tail(self.second(self.clip(self.first(x))))


def test_cost_is_what_a_hand_count_gives():
    model = TwoLayers()
    x = torch.randn(6, 3) * 8
    for options in ({}, {"firing": "deferred"}):
        snn = snnconvert.convert(model, 4, example_inputs=(x,), **options)
        run = snn.run(x, record="counts")
        cost = snnconvert.compare(model, snn, [(x,)]).to_dict()["cost"]
        spikes = float(run.emitted[next(iter(run.emitted))].sum()) / len(x)
        repeats = 1 if options else run.steps
        assert cost["acs"] == pytest.approx(2 * spikes)  # each spike reaches two synapses
        assert cost["macs"] == pytest.approx(15 + 4 * repeats)
        assert cost["ann_macs"] == 15 + 10 + 4
        assert cost["spike_driven_fraction"] == pytest.approx(10 / 29)
        assert cost["energy_ann_mj"] == pytest.approx(29 * 4.6e-9)
        assert cost["energy_snn_mj"] == pytest.approx(cost["macs"] * 4.6e-9 + cost["acs"] * 0.9e-9)
        assert cost["energy_qann_mj"] == pytest.approx((19 * 4.6 + 10 * 3 * 0.9) * 1e-9)


def test_rates_are_fractions_of_the_possible():
    model = TwoLayers()
    model.first.weight.data.fill_(0)
    model.first.bias.data.copy_(torch.tensor([100.0, 100, 3, -100, -100]))
    x = torch.randn(6, 3)
    snn = snnconvert.convert(model, 4, example_inputs=(x,))
    layer = snnconvert.compare(model, snn, [(x,)]).to_dict()["layers"][0]
    assert layer["saturated_fraction"] == pytest.approx(2 / 5)
    assert layer["silent_fraction"] == pytest.approx(2 / 5)
    assert layer["spike_rate"] == pytest.approx((4 + 4 + 2) / 5 / 4)
    assert layer["clipping"] == pytest.approx(math.sqrt(2 * 94**2 / (2 * 100**2 + 9)))


def test_empty_and_foreign_comparisons_are_refused():
    qann = tiny_unet()
    snn = snnconvert.convert(qann, 4, example_inputs=unet_inputs())
    with pytest.raises(InputError, match="no batches"):
        snnconvert.compare(qann, snn, [])
    with pytest.raises(InputError, match="not converted from"):
        snnconvert.compare(tiny_unet(channel_mult=(1, 1)), snn, [unet_inputs()])


@pytest.mark.parametrize(
    "call",
    [
        snnconvert.compare,
        snnconvert.verify,
        snnconvert.examine,
        lambda ann, snn, batches: snnconvert.record_spikes(snn, batches),
        lambda ann, snn, batches: snnconvert.finetune(snn, batches, steps=1),
        lambda ann, snn, batches: follow(ann, snn, (1, 3, 8, 8)),
    ],
)
def test_an_ann_in_the_place_of_the_snn_is_refused(call):
    ann = tiny_unet()
    with pytest.raises(InputError, match=r"found UNet, needed is what `convert` returns"):
        call(ann, ann, [unet_inputs()])


def test_a_sole_dict_is_one_batch_and_what_is_no_batch_is_explained():
    class OfDict(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))

        def forward(self, batch):
            return self.net(batch["x"]) + batch["y"]

    model, batch = OfDict().eval(), {"x": torch.randn(9, 3), "y": torch.randn(9, 2)}
    snn = snnconvert.convert(model, 4, example_inputs=batch, calibration=[batch])
    report = snnconvert.compare(model, snn, [batch, (batch,)], float_ann=model).to_dict()
    assert report["images"] == 18 and report["output"]["bit_equal"]
    for batches in (batch, batch["x"]):
        with pytest.raises(InputError, match="give an iterable of batches"):
            snnconvert.compare(model, snn, batches)
    with pytest.raises(InputError, match=r"number 1: .*captured as a dict"):
        snnconvert.compare(model, snn, [batch, batch["x"]])


def test_layers_of_one_number_an_input_are_reported():
    class Row(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(4, 1)

        def forward(self, x):
            return torch.relu(self.linear(x).squeeze(-1)) * 2

    x = torch.randn(8, 4)
    model = Row().eval()
    snn = snnconvert.convert(model, 4, example_inputs=x, calibration=[x])
    assert snnconvert.compare(model, snn, [x]).to_dict()["output"]["bit_equal"]
    assert snn.run(x[:0], record="counts").last_spikes.shape == (0,)
