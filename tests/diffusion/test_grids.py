"""Grids: published times, and what every one of them must be."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnconvert.diffusion.analytic import optimal_times, step_costs
from snnconvert.diffusion.grids import GRIDS, make_grid
from snnconvert.diffusion.schedule import CLEAN, ContinuousSchedule, Schedule
from snnconvert.errors import InputError

LINEAR = Schedule.linear()
CURVE = 1 - 0.9 * torch.exp(-torch.arange(1000, dtype=torch.float64) / 60)


@pytest.mark.parametrize("end", [CLEAN, 0])
@pytest.mark.parametrize("name", sorted(GRIDS))
@pytest.mark.parametrize(
    "schedule",
    [LINEAR, Schedule.cosine(), ContinuousSchedule()],
    ids=["linear", "cosine", "continuous"],
)
def test_every_grid_decreases_from_noise_to_its_end(schedule, name, end):
    for steps in (1, 2, 3, 12, 30) if name == "optimal" else range(1, 31):
        times = make_grid(name, schedule, steps, end=end, eps_second_moment=CURVE)
        assert len(times) == steps + 1
        assert times[-1] in (end, CLEAN)
        assert all(a > b for a, b in itertools.pairwise(times))
        assert min(times[:-1]) >= 0


@pytest.mark.parametrize("kind", ["linear", "cosine"])
@pytest.mark.parametrize("name", sorted({*GRIDS} - {"optimal"}))
def test_so_does_every_grid_of_as_many_steps_as_there_are(name, kind):
    for count in (2, 3, 10, 100):
        schedule = getattr(Schedule, kind)(count)
        for steps in range(1, count + 1):
            times = make_grid(name, schedule, steps)
            assert len(times) == steps + 1 and times[-1] == CLEAN and min(times[:-1]) >= 0


@pytest.mark.parametrize(
    "name, steps, times",
    [
        ("uniform", 5, [999, 799, 599, 399, 199, -1]),
        ("trailing", 3, [999, 666, 332, -1]),
        ("leading", 5, [800, 600, 400, 200, 0, -1]),
        ("linspace", 4, [999, 666, 333, 0, -1]),
        ("quadratic", 10, [800, 632, 483, 355, 246, 158, 88, 39, 9, 0, -1]),
    ],
)
def test_whole_grids_have_the_published_times(name, steps, times):
    assert make_grid(name, LINEAR, steps) == times


def test_log_snr_grid_has_the_published_times():
    published = [999, 898.29, 784.82, 652.59, 492.11, 302.31, 138.04, 51.72, 16.80, 3.95, 0]
    assert make_grid("log_snr", LINEAR, 10, end=0) == pytest.approx(published, abs=0.006)


def test_time_grids_follow_their_formulas():
    assert make_grid("time_uniform", LINEAR, 4, end=0) == [999, 749.25, 499.5, 249.75, 0]
    roots = [math.sqrt(1000) + (1 - math.sqrt(1000)) * i / 3 for i in range(4)]
    assert make_grid("time_quadratic", LINEAR, 3, end=0) == pytest.approx(
        [root**2 - 1 for root in roots], abs=1e-9
    )


def test_solver_grids_leave_out_the_noise_that_cosine_schedules_end_in():
    cosine = Schedule.cosine()
    first = make_grid("log_snr", cosine, 10, end=0)[0]
    assert float(cosine.half_log_snr(first)) >= -5.1 > float(cosine.half_log_snr(first + 2))


@pytest.mark.parametrize("nodes", [2, 3, 4, 5])
def test_optimal_path_is_the_cheapest_of_all(nodes):
    schedule = Schedule.linear(9)
    curve = torch.linspace(0.2, 0.95, 9, dtype=torch.float64) ** 0.5
    costs = step_costs(schedule, curve, 8)
    paths = [(0, *inner, 8) for inner in itertools.combinations(range(1, 8), nodes - 2)]
    price = {p: float(sum(costs[s, r] for s, r in itertools.pairwise(p))) for p in paths}
    best = min(price, key=price.__getitem__)
    assert optimal_times(schedule, curve, nodes) == [float(t) for t in reversed(best)]


def test_optimal_path_covers_a_bad_tail_evenly():
    curve = CURVE.clone()
    curve[900:] = 1.01
    times = optimal_times(LINEAR, curve, 20)
    assert len(times) == 20 and times[0] == 999 and times[-1] == 0
    tail = [t for t in times if t > 800]
    assert len(tail) == 3  # 0.8 of the share 200 / 1000 of 20
    gaps = [a - b for a, b in itertools.pairwise(tail)]
    assert max(gaps) - min(gaps) <= 1


def test_optimal_grid_needs_the_curve():
    with pytest.raises(InputError, match="snnconvert moments"):
        make_grid("optimal", LINEAR, 10)
    with pytest.raises(InputError, match="1000 diffusion steps"):
        make_grid("optimal", LINEAR, 10, eps_second_moment=CURVE[:10])


@settings(deadline=None, derandomize=True)
@given(st.lists(st.floats(-2, 1001, width=32), min_size=2, max_size=6))
def test_given_times_are_taken_exactly_or_refused(times):
    good = all(a > b for a, b in itertools.pairwise(times)) and all(
        0 <= t <= 999 or (t == CLEAN and i == len(times) - 1) for i, t in enumerate(times)
    )
    if good:
        assert make_grid(times, LINEAR, 99) == times
    else:
        with pytest.raises(InputError, match="grid"):
            make_grid(torch.tensor(times), LINEAR, 99)


@pytest.mark.parametrize("steps", [0, -1, 1001, 2.0, "3", True, None])
def test_senseless_step_counts_are_refused(steps):
    with pytest.raises(InputError, match=r"steps: .*1 \.\.\. 1000"):
        make_grid("uniform", LINEAR, steps)


@pytest.mark.parametrize("grid", [[5.0], 5.0, [[3.0, 1.0]], ["a", "b"], [float("nan"), 0.0]])
def test_what_is_no_list_of_times_is_refused(grid):
    with pytest.raises(InputError, match="grid"):
        make_grid(grid, LINEAR, 5)


def test_unknown_grids_are_answered_with_the_nearest_name():
    with pytest.raises(InputError, match="did you mean 'log_snr'"):
        make_grid("logsnr", LINEAR, 5)
