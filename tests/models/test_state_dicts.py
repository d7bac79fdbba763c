"""Weights of foreign trainings are found under whatever name they lie, and never silently mixed."""

import copy
import warnings

import pytest
import torch
from torch import nn

from snnconvert.errors import CheckpointError, InputError
from snnconvert.models.state_dicts import checked_state
from tests.support.command_line import assert_refused, call_cli


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3))


def states(count: int) -> list[dict]:
    return [network().state_dict() for _ in range(count)]


def under(prefix: str, state: dict) -> dict:
    return {f"{prefix}{name}": value for name, value in state.items()}


def taken(content, key=None) -> tuple[dict, list[str]]:
    """The state that is taken, and what is said."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = checked_state(content, network(), "net.pt", key)
    return found, [str(w.message) for w in said]


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


PREFIXES = ["", "module.", "_orig_mod.", "module._orig_mod.", "model.", "net.", "model.net."]
TABLES = [None, "state_dict", "model", "model_state_dict", "net", "ema", "weights"]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("table", TABLES)
def test_usual_names_are_found_without_a_word(prefix, table):
    (state,) = states(1)
    content = under(prefix, state) if table is None else {table: under(prefix, state), "step": 3}
    found, said = taken(content)
    assert same(found, state) and not said


def test_wrappers_inside_are_taken_out():
    (state,) = states(1)
    wrapped = {name.replace("0.", "0._orig_mod.", 1): value for name, value in state.items()}
    assert same(taken(wrapped)[0], state)


def together(plain: dict, average: dict) -> dict[str, tuple[dict, str]]:
    """Files that hold both, and what the average is called in them."""
    return {
        "tables": ({"model": plain, "ema": average, "step": 1}, "ema"),
        "average first": ({"ema_model": average, "net_model": plain}, "ema_model"),
        "prefixes": ({"state_dict": {**under("model.", plain), **under("ema_model.", average),
                                     "betas": torch.ones(3)}}, "state_dict.ema_model"),
        "beside": ({**plain, **under("ema.module.", average)}, "ema.module"),
        "online": ({"model": plain, "ema": {**under("ema_model.", average),
                                            **under("online_model.", plain),
                                            "step": torch.tensor(5)}}, "ema.ema_model"),
        "shadow": ({"model": plain, "ema": {"decay": 0.9, "shadow": average}}, "ema.shadow"),
        "parameters": ({"model": plain, "ema": {k: v for k, v in average.items()
                                                if "running" not in k}}, "ema"),
    }  # fmt: skip


@pytest.mark.parametrize("case", together({}, {}))
def test_the_average_is_taken_and_said_and_the_other_can_be_chosen(case):
    plain, average = states(2)
    plain["1.running_mean"] += 1
    content, label = together(plain, average)[case]
    found, said = taken(content)
    wanted = dict(average)
    if case == "parameters":  # statistics come from the network beside it
        wanted |= {name: plain[name] for name in plain if "running" in name}
    assert same(found, wanted)
    assert len(said) == 1 and repr(label) in said[0] and "--weights-key" in said[0]
    assert taken(content, label) == (found, [])


def test_the_other_is_taken_by_name():
    plain, average = states(2)
    prefixed = {**under("model.", plain), **under("ema.", average)}
    for content in ({"model": plain, "ema": average}, {"state_dict": prefixed}):
        found, said = taken(content, "model")
        assert same(found, plain) and not said
        with pytest.raises(InputError, match=r"under: .*model.*ema"):
            taken(content, "nothing")


def test_an_average_that_does_not_fit_is_named():
    (plain,) = states(1)
    found, said = taken({"model": plain, "ema": {"shadow_params": [torch.zeros(3)]}})
    assert same(found, plain)
    assert len(said) == 1 and "ema" in said[0] and "does not fit" in said[0]


def test_several_averages_are_not_guessed_between():
    plain, short, long = states(3)
    content = {"model": plain, "ema_0.9": short, "ema_0.999": long}
    with pytest.raises(CheckpointError, match=r"--weights-key: ema_0.9, ema_0.999"):
        taken(content)
    assert same(taken(content, "ema_0.999")[0], long)
    assert same(taken({**content, "ema_0.999": copy.deepcopy(short)})[0], short), "both are equal"


def test_a_strange_prefix_is_named():
    (plain,) = states(1)
    found, said = taken({**under("policy.torso.", plain), "value.weight": torch.ones(2)})
    assert same(found, plain) and "policy.torso" in said[0]


def test_what_is_missing_and_what_is_too_much_are_told_apart():
    (state,) = states(1)
    broken = under("model.", {k: v for k, v in state.items() if k != "3.bias"})
    broken |= {"model.4.weight": torch.ones(2), "model.0.weight": torch.ones(4, 3, 5, 5)}
    with pytest.raises(CheckpointError) as caught:
        taken({"state_dict": broken})
    told = str(caught.value)
    assert "under 'state_dict.model'" in told
    assert "1 missing: 3.bias" in told and "1 not in the model: 4.weight" in told
    assert "1 of another shape: 0.weight [4, 3, 5, 5], the model's [4, 3, 3, 3]" in told


@pytest.mark.parametrize("content", [{}, [1], 3, {"a": {"b": 1}}, {"x": torch.ones(1)}])
def test_no_state_dict_at_all(content):
    with pytest.raises(CheckpointError, match=r"needed is a state dict.*0.weight"):
        taken(content)


def test_old_files_without_counters_still_load():
    (state,) = states(1)
    del state["1.num_batches_tracked"]
    assert taken(state)[0]["1.num_batches_tracked"] == 0


NET = "from torch import nn\ndef net():\n    return nn.Sequential(nn.Linear(3, 4), nn.ReLU())\n"


@pytest.mark.filterwarnings("always")
def test_the_command_line_says_what_it_took(tmp_path):
    (tmp_path / "nets_of_two.py").write_text(NET)
    one, two = (nn.Sequential(nn.Linear(3, 4), nn.ReLU()).state_dict() for _ in range(2))
    torch.save({"model": one, "ema": two}, tmp_path / "w.pt")
    asked = ("check", "w.pt", "--model", "nets_of_two:net", "--example-shape", "2,3")
    result = call_cli(*asked, cwd=tmp_path)
    assert result.returncode == 0 and "took the weights under 'ema'" in result.stderr
    result = call_cli(*asked, "--weights-key", "model", cwd=tmp_path)
    assert result.returncode == 0 and not result.stderr
    assert_refused(call_cli(*asked, "--weights-key", "x", cwd=tmp_path), "'model', 'ema'")
    assert_refused(call_cli("check", "w.pt", "--weights-key", "x", cwd=tmp_path), "weights alone")


def test_an_average_may_be_a_list_in_the_order_of_the_parameters():
    plain, average = states(2)
    names = [name for name, _ in network().named_parameters()]
    content = {"model": under("module.", plain), "step": 7,
               "ema": {"decay": 0.999, "shadow_params": [average[n] for n in names]}}  # fmt: skip
    found, said = taken(content)
    assert same(found, {**plain, **{name: average[name] for name in names}})
    assert len(said) == 1 and "'ema.shadow_params' (an average)" in said[0]
    assert same(taken(content, "model.module")[0], plain)


def test_how_many_steps_an_average_is_of_is_no_average():
    (state,) = states(1)
    found, said = taken({"n_averaged": torch.tensor(5), **under("module.", state)})
    assert same(found, state) and not said
