"""An exported network computes what it was made from, in every form, and says what it is."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import snnconvert
from snnconvert.checkpoint.exported import is_exported, open_checkpoint
from snnconvert.checkpoint.exported_facts import FORMS
from snnconvert.errors import CheckpointError, InputError, UnsupportedOpError
from snnconvert.exchange.onnx_model import onnx_model
from snnconvert.exchange.parity import report_path
from snnconvert.exchange.spelled import OneStep
from snnconvert.exchange.ties import Seen, disagreement
from snnconvert.neurons.integrate_and_fire import IF
from tests.support.spiking_networks import pair

STANDARD = {"", "ai.onnx"}


def exported(network, tmp_path, form, **options):
    path = tmp_path / "out.onnx"
    parity = snnconvert.export_onnx(network, path, form=form, **options)
    return parity, snnconvert.load(path), path


@pytest.mark.parametrize(
    ("name", "form"),
    [*((name, form) for name in ("mlp", "cnn") for form in FORMS), ("unet", "deferred")],
)
def test_every_form_gives_what_the_network_gives(name, form, tmp_path):
    _, inputs, snn = pair(name, 4, signed=name == "cnn")
    parity, network, path = exported(snn, tmp_path, form, examples=[inputs])
    assert parity.holds and parity.tied_samples == parity.different_counts == 0
    assert parity.samples == len(inputs[0]) and parity.counts > 0
    torch.testing.assert_close(network(*inputs), snn(*inputs), rtol=1e-5, atol=1e-6)
    more = tuple(torch.cat([value, value[:1]]) for value in inputs)  # another batch
    torch.testing.assert_close(network(*more), snn(*more), rtol=1e-5, atol=1e-6)
    model = onnx.load(str(path))
    onnx.checker.check_model(model)
    assert {entry.domain for entry in model.opset_import} <= STANDARD and not model.functions
    assert json.loads(report_path(path).read_text())["relative_error"] == parity.relative_error
    if form != "deferred":  # silence in the same step, and every step by itself
        assert parity.steps == [(snn.run(*inputs).steps,) * 2]
        assert parity.step_counts >= parity.counts * snn.config.timesteps


@pytest.mark.parametrize(
    "options", [{"settle": 0}, {"settle": 2, "signed": False}, {"v_init": 0.25}]
)
@pytest.mark.parametrize("form", ["step", "clock"])
def test_fixed_steps_and_other_starts(form, options, tmp_path):
    _, inputs, snn = pair("cnn", 3)
    snn = snn.with_config(**options)
    parity, network, _ = exported(snn, tmp_path, form, examples=[inputs])
    assert parity.holds and parity.step_ties == 0
    torch.testing.assert_close(network(*inputs), snn(*inputs), rtol=1e-5, atol=1e-6)


def test_the_radix_code_in_one_pass(tmp_path):
    _, inputs, snn = pair("cnn", 3, code="radix", firing="deferred")
    _, network, _ = exported(snn, tmp_path, "deferred", examples=[inputs])
    torch.testing.assert_close(network(*inputs), snn(*inputs), rtol=1e-5, atol=1e-6)
    assert network.config.levels == 7


class Denoiser(nn.Module):
    """(x, t) -> noise, of two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(7, 9), nn.Linear(9, 6)

    def forward(self, x, t):
        return self.second(torch.relu(self.first(torch.cat([x, t[:, None] / 1000], dim=1))))


def test_thresholds_over_t_and_started_potentials(tmp_path):
    torch.manual_seed(0)
    x, t = torch.randn(24, 6), torch.linspace(0, 999, 24)
    snn = snnconvert.convert(
        Denoiser().eval(), 4, example_inputs=(x, t), calibration=[(x, t)], thresholds_over_t=3,
        v_init="optimised",
    )  # fmt: skip
    for form in ("deferred", "clock"):
        _, loaded, _ = exported(snn, tmp_path, form, examples=[(x, t)])
        torch.testing.assert_close(loaded(x, t), snn(x, t), rtol=1e-4, atol=1e-5)


def test_one_spelled_step_after_the_other_is_the_clock():
    _, inputs, snn = pair("cnn", 4, signed=True)
    run = snn.run(*inputs, record="spikes")
    module = OneStep(snn)
    nodes = {name: node for node, name in snn.names.items()}
    counts = {nodes[name]: torch.zeros_like(count) for name, count in run.counts.items()}
    for step in range(1, run.steps + 1):
        before = counts
        outputs, done = module.step((*inputs, torch.tensor(step), *before.values()))
        counts = done.counts
        for name, train in run.trains.items():
            node = nodes[name]
            assert torch.equal(counts[node] - before[node], train[step - 1].float())
    assert torch.equal(outputs[0], run.output) and sum(map(float, done.left)) == 0


def test_the_step_form_runs_in_bare_onnxruntime(tmp_path):
    import onnxruntime

    _, (x,), snn = pair("mlp", 4)
    _, network, path = exported(snn, tmp_path, "step", examples=[(x,)])
    session = onnxruntime.InferenceSession(str(path))
    names = [value.name for value in session.get_inputs()]
    assert names[1] == "step" and all(name.startswith("count.") for name in names[2:])
    state = {name: np.zeros((len(x), 16), np.float32) for name in names[2:]}
    results = [value.name for value in session.get_outputs()]
    for step in range(1, network.facts.bound + 1):
        fed = {names[0]: x.numpy(), "step": np.array(step), **state}
        found = dict(zip(results, session.run(None, fed), strict=True))
        state = {name: found[f"{name}.next"] for name in state}
        if step >= 4 and found["left"] == 0:
            break
    np.testing.assert_allclose(found["output"], snn(x), rtol=1e-5, atol=1e-6)


def test_metadata_says_how_to_decode(tmp_path):
    _, inputs, snn = pair("mlp", 4)
    _, network, path = exported(snn, tmp_path, "deferred", examples=[inputs])
    known = {e.key: json.loads(e.value) for e in onnx.load(str(path)).metadata_props}
    assert known["snnconvert.timesteps"] == 4 and known["snnconvert.code"] == "rate"
    assert (
        known["snnconvert.firing"] == "deferred"
        and "number of spikes" in known["snnconvert.decode"]
    )
    for name, cell in zip(snn.executor.currents, snn.neurons.values(), strict=True):
        torch.testing.assert_close(
            torch.tensor(known["snnconvert.thresholds"][name]), cell.v_threshold
        )
    assert list(network.layers.values()) == list(snn.neurons) and network.config.timesteps == 4


class Structured(nn.Module):
    """Results by name, an input of whole numbers by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.linear = nn.Embedding(5, 6), nn.Linear(6, 6)

    def forward(self, x, *, label):
        hidden = torch.relu(self.linear(x + self.embedding(label)))
        return {"logits": self.linear(hidden), "pair": (hidden, x)}


def test_results_keep_their_structure(tmp_path):
    torch.manual_seed(0)
    inputs = {"x": torch.randn(4, 6), "label": torch.tensor([0, 1, 4, 2])}
    snn = snnconvert.convert(Structured().eval(), 4, example_inputs=inputs, calibration=[inputs])
    _, network, _ = exported(snn, tmp_path, "deferred", examples=[inputs])
    found, wanted = network(**inputs), snn(**inputs)
    torch.testing.assert_close(found["logits"], wanted["logits"])
    torch.testing.assert_close(found["pair"], wanted["pair"])
    with pytest.raises(InputError, match="shape"):
        network(x=torch.randn(4, 7), label=inputs["label"])


def test_a_float_tie_is_told_from_an_error():
    cell = IF(torch.tensor(1.0), 4)
    mean = torch.tensor([[0.375, 0.2], [0.3, 0.2], [0.2, 0.6]])  # 4 * 0.375 + 0.5 is a whole number
    counts = cell.final(mean)
    other = counts.clone()
    other[0, 0] -= 1
    other[2, 1] += 1
    seen = Seen({"a": counts}, {"a": mean}, {"a": cell}, 4)
    found = disagreement(seen, {"a": other}, 3)
    assert found.ties.tolist() == [True, False, False]
    assert found.errors.tolist() == [False, False, True]
    assert found.counts == 2 and found.layers == ["a"]


def test_a_file_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    from snnconvert.exchange import onnx_export

    _, inputs, snn = pair("mlp", 4)

    def wrong(*arguments):
        made = onnx_model(*arguments)
        for entry in made.model.graph.initializer:
            if len(entry.dims) == 2:
                values = onnx.numpy_helper.to_array(entry) * 1.5
                entry.CopyFrom(onnx.numpy_helper.from_array(values, entry.name))
        return made

    monkeypatch.setattr(onnx_export, "onnx_model", wrong)
    with pytest.raises(InputError, match="does not compute what the network does"):
        snnconvert.export_onnx(snn, tmp_path / "out.onnx", examples=[inputs])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "form", "words"),
    [
        ({"settle": 1}, "deferred", "wait for silence"),
        ({"code": "radix", "firing": "deferred"}, "clock", "radix"),
        ({}, "clok", "did you mean 'clock'"),
        ({"v_reset": 0.0, "signed": False, "settle": 0}, "step", "hard reset"),
        ({"norm": "per_step", "settle": 0}, "step", "per_step"),
    ],
)
def test_what_a_form_cannot_express_is_refused(options, form, words, tmp_path):
    _, _, snn = pair("mlp", 4)
    snn = snn.with_config(**options)
    with pytest.raises(InputError, match=words):
        snnconvert.export_onnx(snn, tmp_path / "out.onnx", form=form)
    assert not list(tmp_path.iterdir())


def test_other_networks_names_and_files_are_refused(tmp_path):
    network, inputs, snn = pair("mlp", 4)
    with pytest.raises(InputError, match="convert it first"):
        snnconvert.export_onnx(network, tmp_path / "out.onnx")
    with pytest.raises(InputError, match=r"\.onnx"):
        snnconvert.export_onnx(snn, tmp_path / "out.pt")
    with pytest.raises(InputError, match="tolerance"):
        snnconvert.export_onnx(snn, tmp_path / "out.onnx", tolerance=0)
    exported(snn, tmp_path, "deferred", examples=[inputs])
    loaded = snnconvert.load(tmp_path / "out.onnx")
    with pytest.raises(InputError, match="is an exported network"):
        snnconvert.save(loaded, tmp_path / "again.pt")
    with pytest.raises(InputError, match="is an exported network"):
        loaded.scale_thresholds(0.9)
    with pytest.raises((InputError, UnsupportedOpError)):
        snnconvert.convert(loaded, 4, example_inputs=inputs)


def test_damaged_metadata_is_named(tmp_path):
    _, inputs, snn = pair("mlp", 4)
    _, _, path = exported(snn, tmp_path, "deferred", examples=[inputs])
    whole = onnx.load(str(path))
    changes = {"form": '"other"', "config": '{"timesteps": -1}', "names": '["y"]', "output": "{"}
    for key, value in changes.items():
        model = onnx.ModelProto()
        model.CopyFrom(whole)
        for entry in model.metadata_props:
            if entry.key == f"snnconvert.{key}":
                entry.value = value
        onnx.save(model, str(path))
        assert is_exported(path)
        with pytest.raises(CheckpointError):
            snnconvert.load(path)
    path.write_bytes(whole.SerializeToString()[:500])
    assert not is_exported(path)
    with pytest.raises(CheckpointError):
        open_checkpoint(path)


class Rounded(nn.Module):
    """PyTorch's own quantiser of a range that ONNX may not have."""

    def __init__(self, low, high, zero, channels=False):
        super().__init__()
        self.first, self.last, self.range = nn.Linear(6, 12), nn.Linear(12, 3), (low, high)
        self.register_buffer("scale", torch.linspace(0.1, 0.3, 12))
        self.register_buffer("zero", torch.full((12,), zero, dtype=torch.int32))
        self.channels, self.at = channels, zero

    def forward(self, x):
        x = self.first(x)
        if self.channels:
            x = torch.fake_quantize_per_channel_affine(x, self.scale, self.zero, 1, *self.range)
        else:
            x = torch.fake_quantize_per_tensor_affine(x, 0.2, self.at, *self.range)
        return self.last(x)


@pytest.mark.parametrize("form", ["deferred", "clock"])
@pytest.mark.parametrize(("kept", "timesteps"), [
    ((-8, 7, 0), 8), ((0, 15, 3), 12), ((-8, 7, 0, True), 8),
])  # fmt: skip
def test_quantisers_of_any_range_leave_as_what_they_compute(kept, timesteps, form, tmp_path):
    torch.manual_seed(0)
    model, x = Rounded(*kept).eval(), torch.randn(16, 6)
    snn = snnconvert.convert(model, timesteps, example_inputs=x)
    assert torch.equal(snn(x), snn.quantized_ann()(x))
    assert torch.allclose(snn(x), model(x), atol=1e-6)
    found = snnconvert.export_onnx(snn, tmp_path / "net.onnx", form=form, examples=[x])
    assert found.different_counts == 0 and found.relative_error < 1e-5
