"""Calibrated networks under every code, neuron and reset: what holds for learned ceilings holds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import snnconvert
from snnconvert.conversion.graph.values import leaves
from snnconvert.errors import InputError
from snnconvert.operators.clip import QuantizedClip
from snnconvert.report.show.terminal import format_report

pytestmark = pytest.mark.filterwarnings("ignore")


class TwoInputs(nn.Module):
    """Plain ReLUs; an image and its condition by keyword; two results in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.norm, self.tail = nn.GroupNorm(2, 8), nn.Linear(8, 3)

    def forward(self, image: Tensor, scale: Tensor) -> dict[str, Tensor]:
        h = self.a(image * scale[:, None, None, None]).relu()
        h = h + self.norm(self.b(h)).relu()
        return {"logits": self.tail(h.mean((2, 3))), "features": h}


def case(rows: int = 16) -> tuple[nn.Module, dict[str, Tensor]]:
    torch.manual_seed(0)
    return TwoInputs().eval(), {"image": torch.randn(rows, 2, 6, 6), "scale": torch.rand(rows)}


def unread():
    """Calibration data that nobody may touch."""
    raise AssertionError("read")
    yield


def equal(found, wanted) -> bool:
    return all(map(torch.equal, leaves(found), leaves(wanted)))


def distance(found, wanted) -> float:
    gap = sum((a - b).square().sum() for a, b in zip(leaves(found), leaves(wanted), strict=True))
    return float(gap / sum(b.square().sum() for b in leaves(wanted))) ** 0.5


@pytest.mark.parametrize("timesteps", [1, 3, 4])
@torch.no_grad()
def test_radix_is_the_calibrated_network_of_all_its_levels(timesteps, tmp_path):
    model, x = case()
    snn = snnconvert.convert(
        model, timesteps, example_inputs=x, calibration=iter([x]), firing="deferred", code="radix"
    )
    assert snn.calibration["levels"] == 2**timesteps - 1
    qann = snn.quantized_ann()
    assert f"levels {2**timesteps - 1}" in repr(qann)
    wanted = qann(**x)
    snnconvert.save(snn, tmp_path / "net.snn.pt")
    again = snnconvert.load(tmp_path / "net.snn.pt")
    assert again.config == snn.config and again.calibration == snn.calibration
    for network in (snn, snn.with_config(simulate="counts"), again):
        assert equal(network(**x), wanted)
    rate = snnconvert.convert(model, 2**timesteps - 1, example_inputs=x, calibration=[x])
    assert equal(rate(**x), wanted)  # the thresholds are those of as many levels


@torch.no_grad()
def test_more_levels_of_the_same_spikes_come_closer():
    model, x = case()
    options = {"example_inputs": x, "calibration": [x], "firing": "deferred"}
    rate, radix = (
        distance(snnconvert.convert(model, 4, code=code, **options)(**x), model(**x))
        for code in ("rate", "radix")
    )
    assert radix < rate / 2


@pytest.mark.parametrize("firing", ["deferred", "immediate"])
@pytest.mark.parametrize("per_channel", [True, False])
@torch.no_grad()
def test_leaky_neurons_on_calibrated_thresholds(firing, per_channel, tmp_path):
    model, x = case()
    once = (batch for batch in [x])  # one pass serves thresholds and leak
    snn = snnconvert.convert(
        model, 16, example_inputs=x, calibration=once, neuron="lif", tau=10.0, firing=firing,
        per_channel=per_channel,
    )  # fmt: skip
    assert distance(snn(**x), model(**x)) < 0.3
    report = snnconvert.compare(model, snn, [x]).to_dict()
    assert report["tau"] == 10.0 and report["layers_add_up"] and report["immediate"] is None
    assert report["calibration"]["inputs"] == 16 and report["output_ann"] is not None
    assert "leaky neurons" in format_report(report)
    snnconvert.save(snn, tmp_path / "net.snn.pt")
    assert equal(snnconvert.load(tmp_path / "net.snn.pt")(**x), snn(**x))


@torch.no_grad()
def test_leaky_thresholds_follow_the_axis_of_the_channels():
    torch.manual_seed(0)
    tokens = nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 4)).eval()
    x = torch.randn(16, 7, 5)
    snn = snnconvert.convert(tokens, 16, example_inputs=x, calibration=[x], neuron="lif", tau=5.0)
    (cell,) = snn.neurons.values()
    assert cell.ceiling.shape == cell.v_threshold.shape == (1, 1, 12)
    assert len((cell.v_threshold / cell.ceiling).unique()) > 1
    assert distance(snn(x), tokens(x)) < 0.3


@torch.no_grad()
def test_functions_before_neurons_with_a_leak_are_refused_where_signed():
    x = torch.randn(8, 5)
    model = nn.Sequential(nn.Linear(5, 12), nn.SiLU(), nn.Linear(12, 4))
    for options in ({"neuron": "lif"}, {"v_reset": 0.0}):
        with pytest.raises(InputError, match=r"silu.*signed"):  # before the slow passes
            snnconvert.convert(model, 4, example_inputs=x, calibration=unread(), **options)


@torch.no_grad()
def test_a_continuous_run_takes_any_signature():
    model, x = case()
    snn = snnconvert.convert(model, 4, example_inputs=x, calibration=[x], reset="trajectory")
    qann = snn.quantized_ann()
    snn.keep_history()
    for _ in range(5):
        assert equal(snn(**x), qann(**x))
        x = {"image": x["image"] + 0.03 * torch.randn_like(x["image"]), "scale": x["scale"] * 0.98}
    assert equal(snn(x["image"][:3], scale=x["scale"][:3]), qann(x["image"][:3], x["scale"][:3]))
    assert [call.carried for call in snn.history] == [False, True, True, True, True, False]
    assert snn.history[4].spikes < snn.history[0].spikes / 2


@torch.no_grad()
def test_networks_trained_with_quantisers_do_not_read_calibration_for_nothing():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 12), QuantizedClip(4), nn.Linear(12, 4)).eval()
    x = torch.randn(8, 5)
    snn = snnconvert.convert(model, 4, example_inputs=x, calibration=unread())
    assert equal(snn(x), model(x)) and snn.calibration == {}


@torch.no_grad()
def test_shapes_are_checked_for_any_signature():
    model, x = case()
    snn = snnconvert.convert(model, 4, example_inputs=x, calibration=[x])
    with pytest.raises(InputError, match=r"image.*\[4, 2, 7, 7\].*\[B, 2, 6, 6\]"):
        snn(torch.randn(4, 2, 7, 7), torch.rand(4))
    with pytest.raises(InputError, match="different sizes"):
        snn(x["image"][:4], x["scale"][:3])
