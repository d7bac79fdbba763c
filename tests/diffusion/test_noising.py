"""Clean data noised for calibration: every part of t, its ends included."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import snnconvert
from snnconvert.errors import InputError

LINEAR = snnconvert.Schedule.linear(50, 1e-3, 0.1)


@settings(deadline=None, max_examples=20)
@given(count=st.integers(1, 40), inputs=st.integers(2, 200), size=st.integers(1, 64))
def test_times_are_even_and_reach_both_ends(count, inputs, size):
    data = torch.arange(float(count))[:, None].expand(count, 2)
    batches = snnconvert.noised(data, LINEAR, inputs=inputs, batch_size=size)
    assert max(len(x) for x, _ in batches) <= size
    t = torch.cat([t for _, t in batches]).sort().values
    assert torch.equal(t, torch.linspace(0, 49, inputs).round())


def test_x_is_data_and_noise_in_the_shares_of_its_time():
    data = torch.full((4, 2), 3.0)
    x, t = (torch.cat(parts) for parts in zip(*snnconvert.noised(data, LINEAR), strict=True))
    assert len(x) == 8192  # vectors: many values, not many points
    noise = (x - LINEAR.alpha(t)[:, None].float() * 3) / LINEAR.sigma(t)[:, None].float()
    assert abs(float(noise.mean())) < 0.02 and abs(float(noise.std()) - 1) < 0.02
    again = snnconvert.noised(data, LINEAR)
    assert torch.equal(torch.cat([x for x, _ in again]), x)
    images = torch.zeros(100, 1, 32, 32)
    assert sum(len(x) for x, _ in snnconvert.noised(images, LINEAR)) == 100


@pytest.mark.parametrize("data", [torch.zeros(3, 2).long(), torch.zeros(3), torch.zeros(0, 2),
                                  torch.full((2, 2), torch.nan), [[1.0]]])  # fmt: skip
def test_what_is_no_clean_data_is_refused(data):
    with pytest.raises(InputError, match="data"):
        snnconvert.noised(data, LINEAR)
