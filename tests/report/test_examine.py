"""The closer look: verdicts that say all, advice that helps, memory that stays, data that leave."""

from __future__ import annotations

import csv
import gc
import json
import tracemalloc

import numpy as np
import pytest
import torch
from torch import nn

import snnconvert
from snnconvert.errors import InputError
from snnconvert.report.examine import examine
from snnconvert.report.network_graph import network_graph
from snnconvert.report.show.terminal import COLUMNS, format_report
from snnconvert.report.spikes import chosen_layers, record_spikes
from snnconvert.report.trials.calls import calls_in
from tests.support.command_line import assert_refused, call_cli
from tests.support.unets import tiny_unet, unet_inputs


def classifier(activation=nn.ReLU) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), activation(), nn.Conv2d(8, 8, 3, padding=1), activation(),
        nn.AvgPool2d(4), nn.Flatten(), nn.Linear(32, 4),
    ).eval()  # fmt: skip


def images(seed: int, count: int = 6) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(32, 2, 8, 8, generator=generator) for _ in range(count)]


CASES = {
    "few levels": (nn.ReLU, {"timesteps": 2}),
    "largest thresholds": (nn.ReLU, {"timesteps": 4, "threshold": "max"}),
    "low percentile": (nn.ReLU, {"timesteps": 16, "threshold": "80%"}),
    "no settling": (nn.ReLU, {"timesteps": 8, "settle": 0, "signed": False}),
    "a leak": (nn.ReLU, {"timesteps": 8, "neuron": "lif", "tau": 2.0}),
}


@pytest.mark.parametrize("patience", [0.0, float("inf")])
def test_trainings_are_tried_where_there_is_time_and_else_named(monkeypatch, patience):
    monkeypatch.setattr("snnconvert.report.trials.advice.PATIENCE", patience)
    ann, data = classifier(), images(1)
    snn = snnconvert.convert(
        ann, 8, example_inputs=data[0], calibration=data, settle=0, signed=False
    )
    before = {name: value.clone() for name, value in snn.constants.items()}
    advice = examine(ann, snn, data).content["advice"]
    trained = {"--weights distilled", "then: finetune SNN --teacher ANN"}
    tried = {row["flags"]: row["gain"] for row in advice["tried"]}
    untried = {row["flags"] for row in advice["untried"]}
    assert (untried, trained & set(tried)) == ((set(), trained) if patience else (trained, set()))
    assert not patience or tried["then: finetune SNN --teacher ANN"] > 0
    assert all(torch.equal(before[name], value) for name, value in snn.constants.items())


@pytest.mark.parametrize("name", CASES)
def test_the_first_advice_helps_when_it_is_followed(name):
    activation, options = CASES[name]
    ann, data = classifier(activation), images(1)
    snn = snnconvert.convert(ann, example_inputs=data[0], calibration=data, **options)
    advice = examine(ann, snn, data).content["advice"]
    best = advice["tried"][0]
    assert best["gain"] > 0 and best["after"] < advice["before"]
    words = best["flags"].split()
    changes = {}
    for flag, value in zip(words, [*words[1:], ""], strict=True):
        key = flag.removeprefix("--").replace("-", "_")
        if key in ("timesteps", "settle", "code", "threshold", "neuron", "firing"):
            changes[key] = int(value) if value.isdigit() else value
        elif key == "signed":
            changes["signed"] = True
    followed = {**options, **changes}
    if followed.get("neuron") == "if":
        followed.pop("tau", None)
    if followed.get("code") == "radix" or followed.get("firing") == "deferred":
        followed.pop("settle", None)
    if followed.get("code") == "radix":
        followed.pop("signed", None)
    better = snnconvert.convert(ann, example_inputs=data[0], calibration=data, **followed)
    errors = [snnconvert.compare(ann, network, images(2)).to_dict()["output_ann"]["relative_error"]
              for network in (snn, better)]  # fmt: skip
    assert errors[1] < errors[0]


def test_the_verdict_says_all_that_was_lost():
    ann, data = classifier(nn.SiLU), images(1, 3)
    snn = snnconvert.convert(ann, 4, example_inputs=data[0], calibration=data)
    content = examine(ann, snn, data, advice=False).content
    assert content["verdict"].startswith("Exact to its quantised ANN; ")
    assert "from the float network" in content["verdict"]
    assert any("apply a function" in remark for remark in content["remarks"])
    assert any("not driven by spikes" in remark for remark in content["remarks"])
    assert sum(content["causes"]["shares"].values()) == pytest.approx(1)
    assert content["causes"]["shares"]["timing"] == 0
    lossy = snn.with_config(settle=0)
    content = examine(ann, lossy, data, advice=False).content
    assert "Exact" not in content["verdict"] and "spike timing" in content["verdict"]
    json.dumps(content, allow_nan=False)


def test_terminal_lines_fit_80_columns():
    data = images(1, 3)
    snn = snnconvert.convert(classifier(), 4, example_inputs=data[0], calibration=data)
    content = examine(classifier(), snn, data).content
    for layer in content["layers"]:
        layer["name"] = "up.very.long.path." * 5 + layer["name"]
    text = format_report(content)
    assert max(map(len, text.splitlines())) <= COLUMNS
    assert ".." in text and "nothing was lost" in text


def test_the_graph_has_every_layer_and_shows_skips():
    qann, inputs = tiny_unet(), unet_inputs()
    snn = snnconvert.convert(qann, 4, example_inputs=inputs)
    graph = network_graph(snn, next(calls_in(snn.program, [inputs])))
    kinds = [v["kind"] for v in graph["vertices"]]
    alone = snn.program.of_time_alone
    layers = [snn.names[n.name] for n in snn.executor.neurons if n.name not in alone]
    assert kinds.count("neurons") == len(layers) > 4 and kinds[-1] == "output"
    assert all(a < b for a, b in graph["edges"])
    assert any(b - a > 3 for a, b in graph["edges"])  # a skip over a whole level
    reached = {b for _, b in graph["edges"]}
    assert reached == {i for i, kind in enumerate(kinds) if kind != "input"}
    columns = [v["column"] for v in graph["vertices"]]
    assert max(columns) == 1 and columns[-1] == columns[0] == 0  # down one level and up again
    inside = [layer for v in graph["folded"]["vertices"] for layer in v.get("layers", [])]
    single = [v["layer"] for v in graph["folded"]["vertices"] if v["kind"] == "neurons"]
    assert sorted([*inside, *single]) == sorted(layers)


def test_memory_does_not_grow_with_the_inputs():
    ann, data = classifier(), images(1, 2)
    snn = snnconvert.convert(ann, 4, example_inputs=data[0], calibration=data, settle=2)
    batch = torch.randn(32, 2, 8, 8)

    def held(batches: int) -> int:
        """Python's and the tensors' bytes that are still held while the last batch runs."""
        seen = []

        def stream():
            for number in range(batches):
                yield batch.clone()
                if number >= batches - 2:
                    seen.append(tracemalloc.get_traced_memory()[0] + tensor_bytes())

        tracemalloc.start()
        snnconvert.compare(ann, snn, stream())
        tracemalloc.stop()
        return max(seen)

    def tensor_bytes() -> int:
        gc.collect()
        return sum(tensor_size(o) for o in gc.get_objects() if type(o) is torch.Tensor)

    def tensor_size(tensor: torch.Tensor) -> int:
        return tensor.numel() * tensor.element_size()

    held(2)  # whatever is kept for good
    assert held(30) - held(4) < 26 * tensor_size(batch) / 8


def test_spikes_leave_as_named_arrays(tmp_path, shipped):
    qann, inputs = tiny_unet(in_channels=1), unet_inputs(channels=1, size=32)
    snn = snnconvert.convert(qann, 4, example_inputs=inputs)
    run = snn.run(*inputs, record="spikes")
    found = record_spikes(snn, [inputs])
    assert list(found) == list(snn.neurons)
    for name, one in found.items():
        assert np.array_equal(one.trains, run.trains[name].numpy())
        assert np.array_equal(one.counts, run.counts[name].numpy())
        assert np.array_equal(one.trains.sum(0), one.counts)
        assert one.rates == pytest.approx(np.abs(one.trains).sum(0).mean(0) / 4)
        assert one.thresholds.shape == one.start_potentials.shape == one.rates.shape
        assert one.start_potentials == pytest.approx(one.thresholds / 2)
    two = record_spikes(snn, [tuple(v[:2] for v in inputs), tuple(v[2:] for v in inputs)])
    for label, one in two.items():
        assert np.array_equal(one.counts, found[label].counts)
    with pytest.raises(InputError, match="'nowhere'"):
        chosen_layers(snn, ["nowhere"])
    assert chosen_layers(snn, ["*"]) == list(snn.neurons)

    like = {**shipped, "probe": shipped["probe"][:4]}
    snnconvert.save(qann, tmp_path / "net.pt", like=like)
    snnconvert.save(snn, tmp_path / "net.snn.pt", like=like)
    layer = next(iter(found))
    result = call_cli("report", "net.pt", "net.snn.pt", "-o", "r.html", "--spikes", layer,
                      "--no-advice", cwd=tmp_path)  # fmt: skip
    assert result.returncode == 0 and "r.spikes.npz" in result.stdout, result.stderr
    with np.load(tmp_path / "r.spikes.npz") as arrays:
        assert set(arrays) == {f"{layer}/{key}" for key in found[layer].arrays()}
        trains = arrays[f"{layer}/trains"]
    rows = list(csv.DictReader((tmp_path / "r.spikes.csv").open()))
    assert len(rows) == np.abs(trains).sum()
    first = rows[0]
    flat = trains.reshape(*trains.shape[:2], -1)
    place = (int(first["step"]) - 1, int(first["input"]), int(first["neuron"]))
    assert flat[place] == int(first["sign"])
    neurons = list(csv.DictReader((tmp_path / "r.neurons.csv").open()))
    assert len(neurons) == flat.shape[-1]
    assert json.loads((tmp_path / "r.json").read_text())["verdict"]
    assert_refused(call_cli("report", "net.pt", "net.snn.pt", "--spikes", "no", cwd=tmp_path), "no")
    assert_refused(call_cli("report", "net.pt", "net.snn.pt", "-o", "r.pdf", cwd=tmp_path), ".html")
