"""The Python call `snnconvert.sample`, and its promise that a batch never changes a sample."""

from itertools import pairwise

import pytest
import torch

import snnconvert
from snnconvert.diffusion.noise import SampleNoise, image_seeds
from snnconvert.diffusion.schedule import ContinuousSchedule, Schedule
from snnconvert.diffusion.solvers import SOLVERS
from tests.support.known_score import mixture_denoiser, start

LINEAR = Schedule.linear()
NETWORK = mixture_denoiser(LINEAR)
CURVE = 1 - 0.9 * torch.exp(-torch.arange(1000, dtype=torch.float64) / 60)
HOW = [
    *(
        (name, {"eps_second_moment": CURVE} if name.startswith("analytic") else {})
        for name in sorted(SOLVERS)
    ),
    ("dpm-solver", {"method": "adaptive"}),
    ("dpm-solver++", {"method": "adaptive", "order": 3, "thresholding": True}),
]


@pytest.mark.parametrize("name, options", HOW, ids=lambda v: v if isinstance(v, str) else "")
def test_batch_size_never_changes_a_sample(name, options):
    how = {"solver": name, "steps": 9, "seed": 4, **options}
    whole = snnconvert.sample(NETWORK, shape=(7, 2), **how)
    parts = snnconvert.sample(NETWORK, shape=(7, 2), batch_size=3, **how)
    fewer = snnconvert.sample(NETWORK, shape=(2, 2), **how)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-6)
    torch.testing.assert_close(fewer, whole[:2], rtol=0, atol=1e-6)
    assert len(whole.round(decimals=4).unique(dim=0)) == 7


def test_a_drawn_start_and_the_same_start_given_lead_to_the_same_samples():
    drawn = SampleNoise(image_seeds(3, range(5))).normal([2])
    for name in ("ddpm", "dpm-solver++"):
        found = snnconvert.sample(NETWORK, drawn, solver=name, seed=3, steps=10)
        assert torch.equal(
            found, snnconvert.sample(NETWORK, shape=(5, 2), solver=name, seed=3, steps=10)
        )


def test_seeds_matter_where_noise_is_drawn_and_nowhere_else():
    x = start(3)
    for name, differs in (("ddpm", True), ("sde-dpm-solver++", True), ("ddim", False)):
        one, other = (snnconvert.sample(NETWORK, x, solver=name, seed=s, steps=5) for s in (0, 1))
        assert torch.equal(one, other) != differs


def test_seeds_keep_apart_in_the_bits_that_a_generator_sees():
    one, other = (torch.Generator().manual_seed(s) for s in (5, 5 + (1 << 32)))
    assert torch.equal(torch.randn(9, generator=one), torch.randn(9, generator=other))
    starts = sorted(image_seeds(seed, [0])[0] for seed in range(1000))
    gaps = [b - a for a, b in pairwise([*starts, starts[0] + 2**32])]
    assert min(gaps) > 1_000_000
    assert image_seeds(7, range(3, 5)) == [s + 3 for s in image_seeds(7, [0, 1])]


def test_defaults_are_those_of_the_documentation():
    x, calls = start(2), []
    found = snnconvert.sample(mixture_denoiser(LINEAR, calls), x)
    spelled = snnconvert.sample(NETWORK, x, solver="dpm-solver++", steps=20, schedule=LINEAR,
                                seed=0, grid="time_uniform", order=2, method="multistep",
                                clip=False, denoise_to_zero=False)  # fmt: skip
    assert torch.equal(found, spelled)
    times = torch.linspace(999, -1, 21, dtype=torch.float64)
    torch.testing.assert_close(torch.stack(calls)[:, 0], times[:-1])


def test_the_network_sees_float_times_of_the_whole_batch():
    seen = []

    def network(x, t):
        seen.append((x.dtype, t.dtype, tuple(t.shape), t.is_contiguous()))
        return torch.zeros_like(x)

    snnconvert.sample(network, torch.zeros(3, 1, 2, 2), steps=1)
    snnconvert.sample(network, torch.zeros(3, 1, 2, 2, dtype=torch.float64), steps=1)
    assert seen == [
        (torch.float32, torch.float32, (3,), True),
        (torch.float64, torch.float64, (3,), True),
    ]


def test_schedules_may_be_given_as_betas():
    betas, x = torch.linspace(1e-3, 0.1, 100), start(2)
    schedule = Schedule.from_betas(betas)
    network = mixture_denoiser(schedule)
    found, nfe = snnconvert.sample(
        network, x, schedule=betas, steps=99, solver="ddim", return_nfe=True
    )
    assert nfe == 99
    assert torch.equal(
        found, snnconvert.sample(network, x, schedule=schedule, steps=99, solver="ddim")
    )
    with pytest.raises(snnconvert.errors.InputError, match=r"1 \.\.\. 100"):
        snnconvert.sample(network, x, schedule=betas, steps=101)


def test_different_schedules_agree_on_what_the_data_is():
    means = [
        snnconvert.sample(
            mixture_denoiser(s), start(400), schedule=s, steps=30, grid="log_snr", order=3
        ).mean(0)
        for s in (LINEAR, Schedule.cosine(), ContinuousSchedule(), Schedule.linear(200, 5e-4, 0.1))
    ]
    for mean in means[1:]:
        torch.testing.assert_close(mean, means[0], rtol=0, atol=0.02)


def test_every_evaluation_is_reported():
    seen = []
    snnconvert.sample(
        NETWORK, start(4), steps=6, batch_size=2, on_call=lambda x, t, x0: seen.append((len(x), t))
    )
    assert [n for n, _ in seen] == [2] * 12
    assert seen[0][1] == 999 and seen[6][1] == 999


def test_nothing_needs_gradients():
    weight = torch.nn.Parameter(torch.ones(()))
    x = torch.randn(2, 3, requires_grad=True)
    result = snnconvert.sample(lambda x, t: weight * x, x, solver="ddpm", steps=3)
    assert not result.requires_grad
