"""Seeds: what the user asks for reaches the generator, and streams do not overlap."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnconvert.common.randomness import LARGEST_SEED, STREAMS, stream_seed
from snnconvert.errors import InputError

seeds = st.integers(0, LARGEST_SEED)


@given(seed=seeds, stream=st.sampled_from(STREAMS), index=st.integers(0, 2**32 - 1))
def test_seeds_fit_what_the_generator_keeps(seed, stream, index):
    assert 0 <= stream_seed(seed, index, stream) < 2**32


def test_seeds_streams_and_indices_all_change_the_numbers():
    def numbers(*arguments):
        generator = torch.Generator().manual_seed(stream_seed(*arguments))
        return torch.randn(4, generator=generator)

    rows = [numbers(s, i, stream) for s in (0, 1, 2) for i in (0, 1) for stream in STREAMS]
    for first in range(len(rows)):
        for second in range(first):
            assert not torch.equal(rows[first], rows[second])


def test_neighbouring_seeds_share_no_image():
    found = [stream_seed(seed, i) for seed in range(20) for i in range(1000)]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("seed", [-1, 2**31, 1.0, True, "0"])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(InputError, match="seed"):
        stream_seed(seed, 0)
