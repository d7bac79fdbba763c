"""Integers and numbers of a caller: one phrasing, numpy's too, booleans and NaN never."""

from __future__ import annotations

import math
import operator
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import snnconvert
from snnconvert.common.checks import checked_integer, checked_number, set_integers
from snnconvert.conversion.calibration.options import CalibrationOptions, WeightCalibration
from snnconvert.conversion.spiking.config import SpikingConfig
from snnconvert.errors import InputError
from snnconvert.models.spiking.config import SpikingUNetConfig
from snnconvert.models.unet import UNetConfig
from snnconvert.operators.clip import QuantizedClip
from tests.support.paths import ROOT

OUTSIDE = [None, "8", 8.0, True, False, np.bool_(True), np.float64(8), [8], torch.tensor(8)]


@given(st.integers(-9, 9), st.integers(-9, 9), st.integers(0, 9) | st.none())
def test_integers_are_those_between_the_bounds(value, least, more):
    most = None if more is None else least + more
    inside = value >= least and (most is None or value <= most)
    for given_value in (value, np.int64(value), np.int16(value)):
        if inside:
            found = checked_integer("x", given_value, least, most)
            assert type(found) is int and found == value
        else:
            with pytest.raises(InputError) as caught:
                checked_integer("x", given_value, least, most, note=" or so")
            allowed = f"from {least} up" if most is None else f"{least} ... {most}"
            said = f"x: found {given_value!r}, allowed are integers {allowed} or so"
            assert str(caught.value) == said


@pytest.mark.parametrize("value", OUTSIDE, ids=repr)
def test_what_is_no_integer_is_refused(value):
    with pytest.raises(InputError, match=re.escape(f"x: found {value!r}, allowed are integers")):
        checked_integer("x", value, 0)


BRACKETS = {"(": operator.gt, "[": operator.ge, ")": operator.lt, "]": operator.le}


@given(
    st.floats(allow_nan=False) | st.integers(),
    st.sampled_from("(["),
    st.sampled_from(")]"),
    st.integers(-3, 3),
    st.integers(0, 3),
)
def test_numbers_are_those_in_the_interval(value, opens, closes, least, more):
    interval = f"{opens}{least}, {least + more}{closes}"
    if BRACKETS[opens](value, least) and BRACKETS[closes](value, least + more):
        assert checked_number("x", value, interval) == value
        assert type(checked_number("x", np.float64(value), interval)) is float
    else:
        said = f"x: found {value!r}, allowed are numbers in {interval}"
        with pytest.raises(InputError, match=re.escape(said)):
            checked_number("x", value, interval)


@pytest.mark.parametrize("value", [None, "1", True, math.nan, np.float32("nan"), 1j, 10**400])
def test_what_is_no_number_is_refused(value):
    for interval, said in (("(0, inf)", "numbers above 0"), ("[0, inf)", "numbers from 0 up")):
        with pytest.raises(InputError, match=f"x: found .*allowed are {said}"):
            checked_number("x", value, interval)


def test_fields_are_held_as_plain_integers():
    for settings, names in [
        (SpikingConfig(timesteps=np.int64(8), settle=np.int32(3)), ["timesteps", "settle"]),
        (WeightCalibration(block_steps=np.int64(5)), ["block_steps"]),
        (CalibrationOptions(thresholds_over_t=np.int64(5)), ["thresholds_over_t"]),
        (UNetConfig(channels=np.int64(64), levels=np.uint8(4)), ["channels", "levels"]),
        (SpikingUNetConfig(timesteps=np.int64(2)), ["timesteps"]),
        (QuantizedClip(np.int64(4)), ["levels"]),
    ]:
        assert all(type(getattr(settings, name)) is int for name in names), settings
    assert type(SpikingConfig(neuron="lif", signed=False, settle=0, tau=np.float32(4)).tau) is float


def test_a_set_of_fields_is_refused_by_the_name_of_the_first_wrong_one():
    with pytest.raises(InputError, match=r"^Net width: found 0, allowed are integers from 1 up$"):
        set_integers(
            type("Settings", (), {"depth": 2, "width": 0})(), {"depth": 1, "width": 1}, "Net "
        )


def test_numpy_integers_reach_the_end(tmp_path):
    model, x = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU()), torch.rand(4, 3)
    eight = {"timesteps": np.int64(8), "settle": np.int64(9), "thresholds_over_t": np.int64(1)}
    snn = snnconvert.convert(model, example_inputs=x, calibration=[x], **eight)
    snnconvert.save(snn, tmp_path / "net.snn.pt")
    again = snnconvert.load(tmp_path / "net.snn.pt")
    assert torch.equal(again(x), snn(x)) and again.config == snn.config
    drawn = [
        snnconvert.sample(lambda x, t: x, shape=(kind(2), kind(3)), solver="ddpm",
                          steps=kind(5), seed=kind(3), batch_size=kind(1))
        for kind in (int, np.int64)
    ]  # fmt: skip
    assert torch.equal(*drawn)


def test_nobody_checks_integers_by_hand():
    """The phrase has one home; the command line's type of `--settle` reads a text, not a number."""
    saying = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "snnconvert").rglob("*.py")
        if "allowed are integers" in path.read_text()
    ]
    assert sorted(saying) == [
        "snnconvert/cli/arguments/texts.py",
        "snnconvert/common/checks.py",
    ]
