"""Whatever a checkpoint claims is bounded by its tensors, checked, and shown in one line."""

from __future__ import annotations

import copy
import time

import pytest
import torch

import snnconvert
from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.checkpoint.networks import content_of
from snnconvert.errors import MOST_LINES, CheckpointError, InputError, presentable
from snnconvert.models.spiking.unet import SpikingUNet
from tests.support.command_line import assert_refused, call_cli
from tests.support.unets import tiny_unet, unet_inputs

HUGE = 10**30


@pytest.fixture(scope="module")
def contents():
    """A checkpoint of every stage, small."""
    qann = tiny_unet()
    snn = snnconvert.convert(qann, 2, example_inputs=unet_inputs())
    spiking = SpikingUNet(2, channels=8, channel_mult=(1, 2), blocks=1, in_channels=1)
    made = {
        name: content_of(net) for name, net in (("qann", qann), ("snn", snn), ("spiking", spiking))
    }
    common = {"format": "snnconvert", "version": 1, "recipe": {}, "probe": None}
    return {name: {**common, **content} for name, content in made.items()}


def config_of(content) -> dict:
    return content["networks"][content["stage"]]["config"]


def refused(content, tmp_path) -> str:
    torch.save(content, tmp_path / "net.pt")
    started = time.monotonic()
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.read(tmp_path / "net.pt").network()
    assert time.monotonic() - started < 5
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("stage", ["qann", "spiking"])
@pytest.mark.parametrize("value", [HUGE, 10**6, 301, -1, 0, 2.5, "8", None, [8], float("inf")])
def test_no_size_in_a_configuration_is_believed(contents, tmp_path, stage, value):
    for key in ("channels", "blocks", "in_channels", "patch", "diffusion_steps"):
        content = copy.deepcopy(contents[stage])
        if key in config_of(content):
            config_of(content)[key] = value
            assert "damaged" in refused(content, tmp_path)


@pytest.mark.parametrize("stage", ["qann", "spiking"])
def test_no_value_of_another_type_is_believed(contents, tmp_path, stage):
    for key, value in config_of(contents[stage]).items():
        content = copy.deepcopy(contents[stage])
        other = 1 if isinstance(value, bool) else True
        config_of(content)[key] = [other] if isinstance(value, list) else other
        assert f"{key}: found" in refused(content, tmp_path)


@pytest.mark.parametrize("value", [[HUGE], [1] * 10**5, [1, HUGE], [], ["a"], 5, [[1]], {}])
def test_no_list_of_sizes_is_believed(contents, tmp_path, value):
    for stage in ("qann", "spiking"):
        content = copy.deepcopy(contents[stage])
        config_of(content)["channel_mult"] = value
        assert "damaged" in refused(content, tmp_path)


@pytest.mark.parametrize("key", ["timesteps", "settle", "levels"])
def test_steps_have_an_end(contents, tmp_path, key):
    for content in map(copy.deepcopy, contents.values()):
        if key in config_of(content):
            config_of(content)[key] = HUGE
            refused(content, tmp_path)


@pytest.mark.parametrize("stage", [[], {}, ["qann"], None, 3, HUGE])
def test_a_stage_is_a_name(contents, tmp_path, stage):
    content = {**contents["qann"], "stage": stage}
    assert "stage" in refused(content, tmp_path)


ENTRIES = {
    "parameters": ["x", None, {"tuple": [3]}],
    "shapes": [{"dict": [["x", {"tuple": ["B", 1, 8, 8]}]]}, {"list": []}, 7],
    "largest_batch": ["many", 2.5, {"list": []}, 0],
    "smallest_batch": ["few", None, -1],
    "dtypes": [{"dict": [["x", 6]]}, "float32"],
    "values": [{"list": []}, 3, None],
}


@pytest.mark.parametrize(("entry", "value"), [(e, v) for e, vs in ENTRIES.items() for v in vs])
def test_an_entry_of_another_type_is_refused_when_read(contents, tmp_path, entry, value):
    content = copy.deepcopy(contents["snn"])
    pairs = config_of(content)["program"]["signature"]["dict"]
    next(pair for pair in pairs if pair[0] == entry)[1] = value
    assert "damaged" in refused(content, tmp_path)


def test_tensors_without_numbers_are_refused(contents, tmp_path):
    for stage, kind in (("snn", "meta"), ("qann", "meta"), ("qann", "sparse")):
        content = copy.deepcopy(contents[stage])
        state = content["networks"][stage]["state"]
        name = max(state, key=lambda key: state[key].numel())
        state[name] = state[name].to("meta") if kind == "meta" else state[name].to_sparse()
        assert "damaged" in refused(content, tmp_path)


def test_one_value_in_a_list_is_no_number(contents, tmp_path):
    content = copy.deepcopy(contents["qann"])
    state = content["networks"]["qann"]["state"]
    name = next(name for name, value in state.items() if value.ndim == 0)
    state[name] = state[name].reshape(1)
    assert "size mismatch" in refused(content, tmp_path)


def test_a_result_beyond_all_memory_is_refused_when_read(contents, tmp_path):
    content = copy.deepcopy(contents["snn"])
    program = config_of(content)["program"]
    output = program["output"]["ref"]
    program["nodes"].append(["more", "aten.repeat.default",
                             {"tuple": [{"ref": output}, {"list": [1, 1, 1 << 15, 1 << 15]}]},
                             {"dict": []}, ""])  # fmt: skip
    program["output"] = {"ref": "more"}
    assert "4 GiB" in refused(content, tmp_path)


@torch.no_grad()
def test_what_is_no_number_ends_soon(contents, tmp_path):
    """As long as nothing fires any more; the layers need not run to the bound of their counts."""
    content = copy.deepcopy(contents["snn"])
    content["networks"]["snn"]["config"]["timesteps"] = 60_000
    torch.save(content, tmp_path / "net.pt")
    snn = Checkpoint.read(tmp_path / "net.pt").network().with_config(timesteps=2)
    x, t = unet_inputs()
    steps = snn.run(x, t).steps
    broken = snn.run(torch.full_like(x, float("nan")), t)
    assert broken.output.isnan().all() and broken.steps <= steps


def test_moments_of_what_is_no_number_stop_at_the_first_call(qann, shipped):
    calls = []

    def network(x, t):
        calls.append(t)
        return x * float("nan")

    with pytest.raises(InputError, match="not finite"):
        snnconvert.eps_second_moment(network, [torch.zeros(2, 1, 4, 4)], times=50)
    assert len(calls) == 1


def test_nothing_in_a_file_moves_the_cursor(contents, tmp_path):
    content = copy.deepcopy(contents["snn"])
    evil = "\x1b[2J\x07\u202e\nsnnconvert: all is well"
    content["provenance"] = {evil: evil, "long": "x" * 10**6}
    config_of(content)["program"]["nodes"][0][4] = evil
    torch.save(content, tmp_path / "net.pt")
    told = call_cli("info", "net.pt", cwd=tmp_path)
    assert told.returncode == 0 and len(told.stdout) < 50_000
    assert "\x1b" not in told.stdout and "\nsnnconvert: all" not in told.stdout
    content["networks"]["snn"]["config"][evil] = 1
    torch.save(content, tmp_path / "net.pt")
    result = call_cli("info", "net.pt", cwd=tmp_path)
    assert_refused(result, "damaged")
    assert all(c.isprintable() or c == "\n" for c in result.stderr)


def test_long_errors_are_cut():
    error = InputError("\n".join(["x" * 10**5] * 1000))
    shown = str(error)
    assert shown.count("\n") == MOST_LINES and len(shown) < 10**6
    assert shown.endswith("and 960 more lines") and len(error.args[0]) > 10**8 - 1
    assert presentable("two\nlines of usual length") == "two\nlines of usual length"
