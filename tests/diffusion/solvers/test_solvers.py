"""Laws of the solvers, on a Gaussian mixture whose denoiser is known."""

import inspect
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import snnconvert
from snnconvert.diffusion.grids import make_grid
from snnconvert.diffusion.linear import plus
from snnconvert.diffusion.schedule import CLEAN, ContinuousSchedule, Schedule
from snnconvert.diffusion.solvers import SOLVERS
from snnconvert.diffusion.steps.singlestep import order_plan
from snnconvert.errors import InputError
from tests.support.known_score import exact_eps, mixture_denoiser, runge_kutta, start

LINEAR = Schedule.linear()
NETWORK = mixture_denoiser(LINEAR)
CURVE = 1 - 0.9 * torch.exp(-torch.arange(1000, dtype=torch.float64) / 60)
FAST = ("dpm-solver", "dpm-solver++")
NEEDED = {
    "analytic-ddpm": {"eps_second_moment": CURVE},
    "analytic-ddim": {"eps_second_moment": CURVE},
}
VARIANTS = [
    *((name, NEEDED.get(name, {})) for name in sorted(SOLVERS)),
    *((name, {"order": order, "method": method}) for name in FAST for order in (1, 2, 3)
      for method in ("multistep", "singlestep")),
    *((name, {"order": 3, "solver_type": kind}) for name in FAST
      for kind in ("taylor", "published")),
    *((name, {"order": 3, "method": "singlestep", "lower_order_final": False}) for name in FAST),
    *(("unipc", {"order": order, "variant": v}) for order in (1, 2, 3) for v in ("bh1", "bh2")),
    ("sde-dpm-solver++", {"order": 1}), ("ddim", {"eta": 0.5}),
    ("ddpm", {"variance": "fixed_small"}),
]  # fmt: skip


def ids(value):
    if isinstance(value, dict):
        return "-".join(f"{v}" for v in value.values() if not isinstance(v, torch.Tensor))
    return None


@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_every_solver_keeps_the_contract(name):
    solve = SOLVERS[name].solve
    arguments = list(inspect.signature(solve).parameters.values())
    assert [a.name for a in arguments[:4]] == ["denoiser", "x", "schedule", "times"]
    assert all(a.kind is a.KEYWORD_ONLY for a in arguments[4:])
    assert "noise" in [a.name for a in arguments[4:]]
    assert solve.__doc__
    x = start(3)
    before = x.clone()
    result = snnconvert.sample(NETWORK, x, solver=name, steps=7, **NEEDED.get(name, {}))
    assert result.shape == x.shape and result.dtype == x.dtype and torch.equal(x, before)
    assert not torch.equal(result, x)


@pytest.mark.parametrize("name, options", VARIANTS, ids=ids)
def test_evaluations_are_the_steps_asked_for(name, options):
    x = start(1)
    cases = [(steps, False) for steps in range(1, 31)] + [(1, True), (2, True), (30, True)]
    for steps, extra in cases:
        calls = []
        _, nfe = snnconvert.sample(
            mixture_denoiser(LINEAR, calls), x, solver=name, steps=steps, return_nfe=True,
            denoise_to_zero=extra, **options,
        )  # fmt: skip
        at_zero = SOLVERS[name].end == 0 or options.get("method") == "singlestep"
        assert nfe == len(calls) == steps + (extra and at_zero)
        assert all(0 <= float(t) <= 999 for t in calls)


@pytest.mark.parametrize("steps", [7, 12, 15])
@pytest.mark.parametrize("method", ["multistep", "singlestep", "adaptive"])
@pytest.mark.parametrize("name", ["dpm-solver", "dpm-solver++"])
def test_denoising_to_zero_is_one_evaluation_behind_the_same_path(name, method, steps):
    options = {"solver": name, "method": method, "order": 3, "grid": "log_snr", "steps": steps}
    if (name, method) == ("dpm-solver++", "multistep"):
        options["grid"] = [*range(10 * steps, -1, -10)]
    end = snnconvert.sample(NETWORK, start(), **options)
    last = torch.zeros(len(end), dtype=end.dtype)
    point = LINEAR.points([0])[0]
    wanted = (end - point.sigma * NETWORK(end, last)) / point.alpha
    found = snnconvert.sample(NETWORK, start(), denoise_to_zero=True, **options)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", sorted(name for name in SOLVERS if SOLVERS[name].clips))
def test_what_follows_clean_data_ends_at_its_last_prediction_of_them(name):
    seen = []
    x = snnconvert.sample(NETWORK, start(8), solver=name, steps=20, schedule=LINEAR,
                          on_call=lambda x, t, clean: seen.append(clean),
                          **NEEDED.get(name, {}))  # fmt: skip
    torch.testing.assert_close(x, seen[-1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("grid", ["log_snr", "time_quadratic", "uniform", "quadratic", "optimal"])
@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_every_solver_takes_every_grid(name, grid):
    options = {
        **NEEDED.get(name, {}),
        **({"eps_second_moment": CURVE} if grid == "optimal" else {}),
    }
    x, nfe = snnconvert.sample(
        NETWORK, start(8), solver=name, steps=25, grid=grid, return_nfe=True, **options
    )
    assert nfe == 25
    assert bool((x.abs() < (8 if name == "ddpm" else 2)).all())  # DDPM: large variance


@pytest.mark.parametrize("name, options", VARIANTS, ids=ids)
def test_samples_have_the_distribution_of_the_data(name, options):
    grid = "log_snr" if SOLVERS[name].end == 0 else None
    x = snnconvert.sample(
        NETWORK, start(1000), solver=name, steps=40, denoise_to_zero=True, grid=grid, **options
    )
    mean = torch.tensor([0.11, 0.03], dtype=torch.float64)  # of the mixture
    spread = torch.tensor([0.5358, 0.4979], dtype=torch.float64)
    loose = name == "ddpm" and not options  # the large variance is for many steps
    bound = 0.15 if loose else 0.06
    assert float((x.mean(0) - mean).abs().max()) < bound
    assert float((x.std(0) - spread).abs().max()) < bound


# ---- limits between solvers


@pytest.mark.parametrize("grid", ["uniform", "log_snr", [999, 700.5, 300, 20.25, 0]], ids=str)
def test_ddim_is_the_first_order_of_both_dpm_solvers(grid):
    x = start()
    ddim = snnconvert.sample(NETWORK, x, solver="ddim", steps=12, grid=grid, denoise_to_zero=True)
    if grid == "log_snr":  # DDIM's ends at clean data, DPM-Solver's at t = 0: give both the same
        grid = [float(t) for t in LINEAR.time_at(torch.linspace(-5, 4.5, 13))]
        ddim = snnconvert.sample(NETWORK, x, solver="ddim", grid=grid)
    for name, method in itertools.product(FAST, ("multistep", "singlestep")):
        first = snnconvert.sample(NETWORK, x, solver=name, steps=12, grid=grid, order=1,
                                  method=method, denoise_to_zero=grid != "uniform"
                                  and len(grid) == 5)  # fmt: skip
        torch.testing.assert_close(first, ddim, rtol=0, atol=1e-12)


def test_ddim_with_full_noise_is_ddpm_with_the_small_variance_on_the_full_grid():
    x = start(4)
    ddim = snnconvert.sample(NETWORK, x, solver="ddim", eta=1.0, steps=1000)
    ddpm = snnconvert.sample(NETWORK, x, solver="ddpm", variance="fixed_small", steps=1000)
    torch.testing.assert_close(ddim, ddpm, rtol=0, atol=1e-10)


def test_first_order_sde_dpm_solver_is_ddim_with_full_noise():
    x, grid = start(), [999, 800, 500, 250, 40, 0]
    ddim = snnconvert.sample(NETWORK, x, solver="ddim", eta=1.0, grid=grid)
    sde = snnconvert.sample(NETWORK, x, solver="sde-dpm-solver++", order=1, grid=grid)
    torch.testing.assert_close(sde, ddim, rtol=0, atol=1e-12)


def test_second_order_sde_solver_is_closer_to_the_data_than_the_first():
    x = start(4000)
    truth = 0.4979
    errors = [
        abs(float(snnconvert.sample(NETWORK, x, solver="sde-dpm-solver++", order=order, steps=15,
                                    grid="log_snr")[:, 1].std()) - truth)
        for order in (1, 2)
    ]  # fmt: skip
    assert errors[1] < 0.5 * errors[0]


# ---- order of convergence

CONVERGENCE = [
    ("ddim", {}, 1),
    *((name, {"order": order, "method": method, "solver_type": kind}, order) for name in FAST
      for order in (1, 2, 3) for method in ("multistep", "singlestep")
      for kind in ("dpmsolver", "taylor")),
    *(("unipc", {"order": order, "variant": variant}, order + 1)
      for order in (1, 2, 3) for variant in ("bh1", "bh2")),
]  # fmt: skip
ENDS = [float(LINEAR.half_log_snr(t)) for t in (999, 0)]


def even_lambda(steps):
    middle = LINEAR.time_at(torch.linspace(*ENDS, steps + 1, dtype=torch.float64))
    return [999.0, *middle[1:-1].tolist(), 0.0]


@pytest.fixture(scope="module")
def truth():
    return runge_kutta(start(), *ENDS)


def slope(truth, name, options, counts=(240, 480)):
    errors = []
    for steps in counts:
        x = snnconvert.sample(NETWORK, start(), solver=name, grid=even_lambda(steps), **options)
        errors.append((x - truth).square().mean().sqrt())
    return float(torch.log2(errors[0] / errors[1]))


@pytest.mark.parametrize("name, options, order", CONVERGENCE, ids=ids)
def test_error_falls_with_the_order(truth, name, options, order):
    """A corrector has one order more than its predictor, hence UniPC's order + 1.

    UniPC at order 3 reaches its asymptote late; it must fall at least as fast as order 3.
    """
    found = slope(truth, name, options)
    if name == "unipc" and order == 4:
        assert found > 2.8
    else:
        assert abs(found - order) < 0.2


def test_published_third_order_multistep_has_order_two(truth):
    found = slope(truth, "dpm-solver++", {"order": 3, "solver_type": "published"})
    assert abs(found - 2) < 0.2


def test_convergence_does_not_need_even_steps_or_a_discrete_schedule():
    schedule = ContinuousSchedule()
    first, last = (float(schedule.half_log_snr(t)) for t in (999, 0))
    truth = runge_kutta(start(), first, last)
    errors = [
        (snnconvert.sample(mixture_denoiser(schedule), start(), solver="dpm-solver++", order=2,
                           schedule=schedule, grid=make_grid("time_quadratic", schedule, steps,
                                                             end=0)) - truth).norm()
        for steps in (200, 400)
    ]  # fmt: skip
    assert abs(float(torch.log2(errors[0] / errors[1])) - 2) < 0.2


# ---- adaptive steps and inversion


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("order", [2, 3])
def test_adaptive_steps_keep_their_tolerance(truth, name, order):
    errors, calls = [], []
    for tolerance in (1e-3, 1e-5):
        x, nfe = snnconvert.sample(NETWORK, start(), solver=name, order=order, method="adaptive",
                                   atol=tolerance, rtol=tolerance, return_nfe=True)  # fmt: skip
        errors.append(float((x - truth).abs().max()))
        calls.append(nfe)
    assert errors[0] < 0.05 and errors[1] < 0.1 * errors[0]
    assert calls[0] < calls[1]


def test_adaptive_steps_reach_clean_data_with_one_more_evaluation():
    options = {"solver": "dpm-solver", "method": "adaptive", "return_nfe": True}
    x, nfe = snnconvert.sample(NETWORK, start(), **options)
    clean, more = snnconvert.sample(NETWORK, start(), denoise_to_zero=True, **options)
    assert more == nfe + 1
    assert 0 < float((clean - x).abs().max()) < 0.05


@pytest.mark.parametrize(
    "name, options, bound",
    [("ddim", {}, 0.1), ("dpm-solver", {"order": 3}, 2e-3), ("dpm-solver++", {"order": 2}, 1e-2),
     ("dpm-solver++", {"order": 3, "method": "singlestep"}, 1e-2), ("unipc", {}, 2e-3),
     ("dpm-solver++", {"method": "adaptive", "order": 3, "atol": 1e-4, "rtol": 1e-4}, 2e-3)],
    ids=ids,
)  # fmt: skip
def test_inversion_is_undone_by_sampling(name, options, bound):
    data = torch.tensor([[-0.5, 0.4], [0.55, -0.3], [0.1, 0.75]], dtype=torch.float64)
    how = {"solver": name, "steps": 200, "grid": "log_snr", **options}
    noise = snnconvert.invert(NETWORK, data, **how)
    assert float((noise - data).norm(dim=1).min()) > 0.1
    back = snnconvert.sample(NETWORK, noise, **how)
    assert float((back - data).abs().max()) < bound


@pytest.mark.parametrize(
    "name, options", [("ddpm", {}), ("ddim", {"eta": 0.3}), ("sde-dpm-solver++", {})]
)
def test_solvers_that_draw_noise_cannot_be_inverted(name, options):
    with pytest.raises(InputError, match="draws noise"):
        snnconvert.invert(NETWORK, start(), solver=name, **options)


# ---- predictions and their corrections


def as_prediction(kind):
    def network(x, t):
        alpha, sigma = (v.view(-1, 1) for v in (LINEAR.alpha(t), LINEAR.sigma(t)))
        eps = exact_eps(x, alpha, sigma)
        x0 = (x - sigma * eps) / alpha
        if kind == "v":
            return alpha * eps - sigma * x0
        if kind == "x0":
            return x0
        earlier = t.double() - 1
        alpha_s, sigma_s = (v.view(-1, 1) for v in (LINEAR.alpha(earlier), LINEAR.sigma(earlier)))
        beta = 1 - (alpha / alpha_s) ** 2
        return (alpha_s * beta * x0 + alpha / alpha_s * sigma_s**2 * x) / sigma**2

    return network


@pytest.mark.parametrize("method", ["multistep", "adaptive"])
@pytest.mark.parametrize("kind", ["v", "x0", "x_prev"])
def test_all_predictions_lead_to_the_same_samples(kind, method):
    x, how = start(), {"solver": "dpm-solver++", "method": method, "denoise_to_zero": True}
    expected = snnconvert.sample(NETWORK, x, **how)
    found = snnconvert.sample(as_prediction(kind), x, prediction=kind, **how)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", ["ddpm", "ddim", *FAST, "unipc", "sde-dpm-solver++"])
@pytest.mark.parametrize("correction", [{"clip": True}, {"thresholding": True}], ids=str)
def test_corrected_images_stay_in_range(name, correction):
    """A network that overshoots; the seeds' clipping of the mean would leave it outside."""

    def wild(x, t):
        return -3 * torch.ones_like(x)

    x = torch.ones(2, 3, 4, 4)
    free = snnconvert.sample(wild, x, solver=name, steps=10, denoise_to_zero=True)
    kept = snnconvert.sample(wild, x, solver=name, steps=10, denoise_to_zero=True, **correction)
    assert float(free.abs().max()) > 1.5
    assert float(kept.abs().max()) <= 1


def test_clipping_changes_the_noise_with_the_image():
    seen = []
    x = torch.full((1, 4), 3.0, dtype=torch.float64)
    snnconvert.sample(lambda x, t: torch.zeros_like(x), x, solver="ddim", grid=[500, 100, -1],
                      clip=True, on_call=lambda x, t, x0: seen.append((x, x0)))  # fmt: skip
    (t, s) = LINEAR.points([500, 100])
    eps = (x - t.alpha) / t.sigma  # x0 is clipped to 1
    torch.testing.assert_close(seen[1][0], s.alpha + s.sigma * eps)


def test_dynamic_thresholding_follows_each_samples_own_quantile():
    seen = []
    x = torch.tensor([[0.1, -0.2, 0.4, 0.3], [4.0, -2.0, 1.0, 0.0]], dtype=torch.float64)
    snnconvert.sample(lambda x, t: x, x, solver="ddim", grid=[3, -1], prediction="x0",
                      thresholding=0.5, on_call=lambda x, t, x0: seen.append(x0))  # fmt: skip
    expected = torch.tensor([[0.1, -0.2, 0.4, 0.3], [1.0, -1.0, 1 / 1.5, 0.0]])
    torch.testing.assert_close(seen[0], expected.double())


# ---- bad input, before any evaluation


def untouchable(x, t):
    raise AssertionError("the network was called")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"solver": "dpm-solver+"}, "did you mean 'dpm-solver"),
        ({"solver": 3}, "unknown solver"),
        ({"steps": 1001}, "1 ... 1000"),
        ({"grid": [10, 20]}, "must decrease"),
        ({"grid": [2000, 0]}, "0 ... 999"),
        ({"order": 4}, "order: found 4, allowed are integers 1 ... 3"),
        ({"order": 2.5}, "order"),
        ({"solver": "sde-dpm-solver++", "order": 3}, "allowed are integers 1 ... 2"),
        ({"method": "adaptive", "order": 1}, "allowed are integers 2 ... 3"),
        ({"method": "adaptive", "atol": -1.0}, "atol"),
        ({"method": "multi"}, "did you mean 'multistep'"),
        ({"solver_type": "x"}, "solver_type"),
        ({"ordr": 2}, "did you mean 'order'"),
        ({"solver": "ddim", "order": 2}, "no option 'order'"),
        ({"solver": "ddim", "eta": 1.5}, "eta"),
        ({"solver": "ddpm", "variance": "learned"}, "fixed_large"),
        ({"solver": "unipc", "variant": "bh3"}, "bh1, bh2"),
        ({"solver": "analytic-ddpm"}, "snnconvert moments"),
        ({"solver": "analytic-ddim", "eps_second_moment": torch.ones(3)}, "1000 diffusion steps"),
        ({"prediction": "epsilon"}, "eps, x0, v, x_prev"),
        ({"thresholding": 2.0}, "thresholding"),
        ({"thresholding": 0.9, "clip": (0, 1)}, "clip, thresholding"),
        ({"denoise_to_zero": "no"}, "denoise_to_zero"),
        ({"lower_order_final": 0}, "lower_order_final"),
        ({"solver": ["ddim"]}, "solver"),
        ({"solver": "ddpm", "variance": ["fixed_small"]}, "variance"),
        ({"solver": "analytic-ddpm", "eps_second_moment": "x"}, "eps_second_moment"),
        ({"correction": "x"}, "correction"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**40}, "seed"),
        ({"batch_size": 0}, "batch_size"),
        ({"x": None}, "give one of them"),
        ({"shape": (1, 2)}, "give one of them"),
        ({"x": None, "shape": (0, 3)}, "shape"),
        ({"x": torch.full((1, 2), float("nan"))}, "finite"),
        ({"x": torch.ones(2, 2, dtype=torch.int64)}, "float tensor"),
        ({"schedule": torch.tensor([2.0])}, "betas"),
    ],
    ids=str,
)
def test_bad_input_is_refused_before_any_evaluation(options, message):
    with pytest.raises(InputError) as caught:
        snnconvert.sample(untouchable, **{"x": torch.zeros(1, 2), **options})
    assert message in str(caught.value)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    solver=st.sampled_from(sorted(SOLVERS)),
    options=st.dictionaries(
        st.sampled_from(["order", "method", "eta", "variance", "steps", "grid", "clip_pixel",
                         "thresholding", "prediction", "atol", "largest_variance"]),
        st.one_of(st.integers(-3, 2000), st.text(max_size=4), st.floats(), st.none()),
        min_size=1, max_size=3,
    ),
)  # fmt: skip
def test_any_nonsense_is_an_input_error_or_works(solver, options):
    class Reached(Exception):
        pass

    def network(x, t):
        raise Reached

    with pytest.raises((InputError, Reached)):
        snnconvert.sample(
            network, torch.zeros(1, 2), solver=solver, **{**NEEDED.get(solver, {}), **options}
        )


def test_a_network_of_another_shape_is_named():
    with pytest.raises(InputError, match=r"returned \(1, 6\) for x of \(1, 3\)"):
        snnconvert.sample(lambda x, t: torch.cat([x, x], 1), torch.zeros(1, 3))


@pytest.mark.parametrize("intervals, order, plan", [
    (10, 3, [3, 3, 3, 1]), (12, 3, [3, 3, 3, 2, 1]), (15, 3, [3, 3, 3, 3, 2, 1]),
    (20, 3, [3] * 6 + [2]), (1, 3, [1]), (2, 3, [2]), (3, 3, [2, 1]), (7, 2, [2, 2, 2, 1]),
    (4, 1, [1] * 4),
])  # fmt: skip
def test_fast_plan_is_the_published_one(intervals, order, plan):
    assert order_plan(intervals, order) == plan


def test_the_last_step_reaches_clean_data_exactly():
    x0 = torch.tensor([[0.3, -0.7]], dtype=torch.float64)
    for name in sorted(SOLVERS):
        found = snnconvert.sample(lambda x, t: x0.expand_as(x), start(2), solver=name,
                                  grid=[999, 400, 100, CLEAN], prediction="x0",
                                  **NEEDED.get(name, {}))  # fmt: skip
        torch.testing.assert_close(found, x0.expand(2, 2), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_rounds_no_factor(dtype):
    zero, thousand = torch.zeros(1, dtype=dtype), torch.full((1,), 1000.0, dtype=dtype)
    assert torch.equal(plus(zero, 0.12345678, thousand), torch.tensor([123.45678]).to(dtype))
