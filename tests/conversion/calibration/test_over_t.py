"""Thresholds that depend on t: every law that holds for fixed ones, and each sample has its own."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn

import snnconvert
from examples.networks import PlanarDenoiser, WholeImageNorm, attention_unet
from snnconvert.conversion.calibration.options import WeightCalibration
from snnconvert.conversion.calibration.weights.blocks import find_blocks
from snnconvert.conversion.spiking.plain_simulation import PlainSimulation
from snnconvert.errors import InputError
from snnconvert.operators.clip import QuantizedClip
from snnconvert.operators.threshold_table import rows_at, threshold_at
from snnconvert.report.show.terminal import format_report
from tests.support.command_line import assert_refused, call_cli
from tests.support.errors import relative_error
from tests.support.unets import tiny_unet

pytestmark = pytest.mark.filterwarnings("ignore:.*calib")


def images(count: int, channels: int, size: int, longest: float = 999) -> tuple[Tensor, Tensor]:
    """(x, t): the later, the larger; t over the whole range, shuffled."""
    t = torch.linspace(0, longest, count)[torch.randperm(count)]
    return torch.randn(count, channels, size, size) * (0.3 + 3 * t / longest)[
        :, None, None, None
    ], t


def float_unet() -> tuple[nn.Module, tuple]:
    return tiny_unet(levels=0), images(24, 2, 8)


def silu_unet() -> tuple[nn.Module, tuple]:
    torch.manual_seed(0)
    return attention_unet(nn.SiLU), images(16, 3, 16)


def planar() -> tuple[nn.Module, tuple]:
    torch.manual_seed(0)
    return PlanarDenoiser(nn.SiLU), (torch.randn(64, 2), torch.rand(64))


def conditional() -> tuple[nn.Module, tuple]:
    torch.manual_seed(0)
    return WholeImageNorm(), (*images(24, 1, 16), torch.randint(10, (24,)))


NETWORKS = {"float U-Net": float_unet, "attention U-Net, SiLU": silu_unet,
            "MLP in the plane": planar, "class-conditional": conditional}  # fmt: skip


def converted(model, inputs, rows: int = 4, **options):
    return snnconvert.convert(
        model, options.pop("timesteps", 3), example_inputs=inputs, calibration=[inputs],
        thresholds_over_t=rows, **options,
    )  # fmt: skip


def some(inputs, count: int = 5) -> tuple:
    """A few of the inputs; they mix all t."""
    return tuple(value[:count] for value in inputs)


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_spiking_network_is_its_quantised_ann_whatever_the_times(name, tmp_path):
    model, inputs = NETWORKS[name]()
    snn = converted(model, inputs)
    qann, x = snn.quantized_ann(), some(inputs)
    assert len(rows_at(x[1], snn.constants["thresholds_over_t_edges"]).unique()) > 1
    wanted = qann(*x)
    snnconvert.save(snn, tmp_path / "net.snn.pt")
    again = snnconvert.load(tmp_path / "net.snn.pt")
    assert again.calibration == snn.calibration
    changes = [{"simulate": "counts"}, {"firing": "deferred"}, {"reset": "trajectory"}, {}]
    for network in (again, *(snn.with_config(**change) for change in changes)):
        assert torch.equal(network(*x), wanted), network
    assert torch.equal(snnconvert.convert(qann, 3)(*x), wanted)  # its tables come along


@torch.no_grad()
def test_radix_code():
    model, inputs = float_unet()
    snn = converted(model, inputs, firing="deferred", code="radix")
    x = some(inputs)
    wanted = snn.quantized_ann()(*x)
    assert torch.equal(snn(*x), wanted)
    assert torch.equal(snn.with_config(simulate="counts")(*x), wanted)


@pytest.mark.parametrize(
    "options", [{}, {"firing": "deferred"}, {"firing": "deferred", "code": "radix"}]
)
@torch.no_grad()
def test_spike_for_spike_the_plain_simulation(options):
    model, inputs = float_unet()
    snn = converted(model, inputs, **options).double()
    x = tuple(value.double() for value in some(inputs, 3))
    run = snn.run(*x, record="spikes")
    plain = PlainSimulation(snn).run(*x, steps=run.steps)
    skipped = 3 if options else 0  # deferred: the plain one also clocks the input's steps
    for name, train in run.trains.items():
        assert torch.equal(plain.trains[name][skipped:], train), name
    assert torch.allclose(plain.output, run.output, atol=1e-10)


@torch.no_grad()
def test_a_continuous_run_is_exact_while_thresholds_change():
    model, inputs = float_unet()
    snn = converted(model, inputs, reset="trajectory")
    qann, (x, _) = snn.quantized_ann(), some(inputs)
    edges = snn.constants["thresholds_over_t_edges"]
    rows = []
    for t in (999.0, 800.0, 790.0, 400.0, 100.0, 0.0):
        times = torch.full((5,), t) - torch.arange(5.0)
        times.clamp_(min=0)
        rows.append(int(rows_at(times[:1], edges)))
        run = snn.run(x, times)
        assert run.silent and torch.equal(run.output, qann(x, times))
        x = x * 0.9
    assert len(set(rows)) > 2


@torch.no_grad()
def test_every_sample_has_the_thresholds_of_its_own_time():
    model, inputs = float_unet()
    snn = converted(model, inputs)
    edges = snn.constants["thresholds_over_t_edges"]
    x, t = some(inputs)
    values = snn.executor.start(snn.constants, [x, t])
    for (name, cell), table in zip(snn.cells(values).items(), snn.neurons.values(), strict=True):
        assert len(cell.v_threshold) == 5 and len(table.v_threshold) == 4, name
        assert torch.equal(cell.v_threshold, table.v_threshold[rows_at(t, edges)])


class Louder(nn.Module):
    """Activations that grow a hundredfold over t, and an output that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        scale = (1 + t / 10)[:, None, None, None]
        return self.b(self.a(x * scale).relu()) / scale


def distance(snn, model, inputs) -> float:
    with torch.no_grad():
        return relative_error(snn(*inputs), model(*inputs))


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("threshold", ["mse", "max", "99.9%", "learned"])
def test_a_table_comes_closer_where_activations_change_with_t(threshold, per_channel):
    torch.manual_seed(0)
    model = Louder().eval()
    inputs = (torch.randn(256, 1, 8, 8), torch.rand(256) * 999)
    held_out = (torch.randn(64, 1, 8, 8), torch.rand(64) * 999)
    options = {"timesteps": 8, "threshold": threshold, "per_channel": per_channel}
    one, many = (
        distance(converted(model, inputs, rows, **options), model, held_out) for rows in (1, 8)
    )
    assert many < 0.7 * one


def test_weights_are_trained_along_with_tables():
    model, inputs = float_unet()
    brief = WeightCalibration(block_steps=8, output_steps=4)
    tables, plain = (converted(model, inputs, rows, weights=brief) for rows in (4, 1))
    found, wanted = (
        [block.layer for block in find_blocks(snn.quantized_ann().program)]
        for snn in (tables, plain)
    )
    assert found == wanted and len(found) > 3
    blocks = tables.calibration["weights"]["blocks"]
    assert any(block["after"] < block["before"] for block in blocks)
    x = some(inputs)
    with torch.no_grad():
        assert torch.equal(tables(*x), tables.quantized_ann()(*x))


def test_gradient_of_a_lookup():
    table = torch.randn(3, 2, 1, 1, dtype=torch.float64, requires_grad=True)
    t, edges = torch.tensor([0.5, 9.0, 3.0, 4.0]), torch.tensor([3.0, 6.0])
    assert rows_at(t, edges).tolist() == [0, 2, 1, 1]
    assert torch.autograd.gradcheck(lambda rows: threshold_at(rows, t, edges, 0.0, 10.0), (table,))
    torch.library.opcheck(
        threshold_at, (table.detach(), t, edges, 0.0, 10.0), test_utils="test_faketensor"
    )


class Shared(nn.Module):
    """One time for the whole batch."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.b((self.a(x) * (1 + time)).relu()) / (1 + time)


@torch.no_grad()
def test_one_time_for_all_samples():
    torch.manual_seed(0)
    model = Shared().eval()
    batches = [(torch.randn(32, 4), torch.tensor(float(t))) for t in range(0, 100, 10)]
    options = {"example_inputs": batches[0], "calibration": batches}
    tables = snnconvert.convert(model, 8, thresholds_over_t=5, **options)
    assert tables.calibration["over_t"]["inputs"] == [64] * 5
    fixed = snnconvert.convert(model, 8, **options)
    for x in batches:
        assert torch.equal(tables(*x), tables.quantized_ann()(*x))
    assert distance(tables, model, batches[1]) < distance(fixed, model, batches[1])


class Named(nn.Module):
    """Arguments under other names."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, sample: Tensor, mask: Tensor, when: Tensor) -> Tensor:
        return self.b((self.a(sample * mask) * (1 + when[:, None])).relu())


def test_t_is_found_or_named_or_asked_for():
    torch.manual_seed(0)
    model, inputs = Named(), (torch.randn(16, 3), torch.ones(16, 3), torch.rand(16))
    with pytest.raises(InputError, match=r"which of the inputs \(sample, mask, when\) is t"):
        converted(model, inputs)
    with pytest.raises(InputError, match=r"t_argument: found 'later'.*sample, mask, when"):
        converted(model, inputs, t_argument="later")
    with pytest.raises(InputError, match=r"mask has shape \[B, 3\]"):
        converted(model, inputs, t_argument="mask")
    found = converted(model, inputs, t_argument="when").calibration["over_t"]
    assert found["argument"] == "when" and found["inputs"] == [4] * 4
    again = Shared()
    inputs = (torch.randn(16, 4), torch.rand(16, 1))
    assert converted(again, inputs).calibration["over_t"]["argument"] == "time"


def test_what_cannot_be_is_refused_before_slow_work():
    model, inputs = planar()

    def unread():
        raise AssertionError("read")
        yield

    def refused(match, **options):
        given = {"example_inputs": inputs, "calibration": unread(), "thresholds_over_t": 4}
        with pytest.raises(InputError, match=match):
            snnconvert.convert(model, 4, **{**given, **options})

    for rows in (0, 1.5, True, "many"):
        refused("thresholds_over_t: found", thresholds_over_t=rows)
    refused("x has shape .*t_argument", t_argument="x")
    refused("t_argument", t_argument="t", thresholds_over_t=1)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    refused("is t", example_inputs=torch.randn(8, 4))
    model, inputs = Shared(), (torch.randn(8, 4), torch.rand(8, 1))
    refused(r"thresholds_over_t: neuron='lif'", neuron="lif")
    model = nn.Sequential(nn.Linear(4, 8), QuantizedClip(4), nn.Linear(8, 2))
    refused("thresholds_over_t: every activation", example_inputs=torch.randn(8, 4))


def test_times_out_of_range_are_refused():
    model, (x, t) = planar()
    with pytest.raises(InputError, match="only 2 different t"):
        converted(model, (x, (t > 0.5).float()))
    snn = converted(model, (x, t))
    low, high = (snn.calibration["over_t"][key] for key in ("low", "high"))
    assert -0.06 < low < 0 and 1 < high < 1.06
    for wrong in (-0.5, 1.5, float("nan")):
        times = t.clone()
        times[3] = wrong
        for network in (snn, snn.quantized_ann()):
            with pytest.raises(InputError, match=r"t: found .*whole range of t"):
                network(x, times)


class Folded(nn.Module):
    """The batch is not the first axis of its activation."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        h = self.b(self.a((x * t[:, None, None]).flatten(0, 1)).relu())
        return h.unflatten(0, x.shape[:2])


def test_activations_without_a_batch_axis_are_refused():
    with pytest.raises(InputError, match=r"first axis is not the batch of 16"):
        converted(Folded(), (torch.randn(16, 5, 4), torch.rand(16)))


def test_report_and_command_line_say_so(tmp_path, shipped):
    like = {**shipped, "probe": shipped["probe"][:12]}
    snnconvert.save(tiny_unet(in_channels=1, levels=0), tmp_path / "small.pt", like=like)
    options = ["--stage", "ann", "--timesteps", "2", "--thresholds-over-t"]
    result = call_cli("convert", "small.pt", *options, "3", "-o", "o.pt", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "nothing was lost" in result.stdout and "thresholds over t: 3 rows" in result.stdout
    report = json.loads((tmp_path / "o.report.json").read_text())
    assert report["calibration"]["over_t"]["inputs"] == [4, 4, 4]
    assert report["layers_add_up"] and "3 rows" in format_report(report)
    assert all(len(layer["v_threshold"]) == 3 for layer in report["layers"])
    for wrong in (["0"], ["13"], ["2", "--t-argument", "label"]):
        assert_refused(call_cli("convert", "small.pt", *options, *wrong, cwd=tmp_path), "t")
    arguments = ["trajectory", "small.pt", *options, "2", "--steps", "3", "-n", "2"]
    result = call_cli(*arguments, cwd=tmp_path)
    assert result.returncode == 0 and "bit for bit" in result.stdout, result.stderr
