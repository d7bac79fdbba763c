"""Our solvers against diffusers' schedulers on equal grids."""

import pytest
import torch

import snnconvert
from snnconvert.diffusion.grids import make_grid
from snnconvert.diffusion.noise import image_seeds
from snnconvert.diffusion.schedule import Schedule
from tests.support.known_score import mixture_denoiser

diffusers = pytest.importorskip("diffusers")
BETAS = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
LINEAR = Schedule.linear()
NETWORK = mixture_denoiser(LINEAR)


def start():
    return torch.randn(1, 2, generator=torch.Generator().manual_seed(3))


def theirs(scheduler, steps, x, exact=False, **options):
    """Their times and result. `exact` replaces their float32 table of noise levels by a float64
    one: high orders amplify its rounding to 6e-5, which says nothing about the solvers."""
    scheduler.set_timesteps(steps)
    if exact:
        t = torch.tensor([*scheduler.timesteps.tolist(), 0])
        scheduler.sigmas, x = LINEAR.sigma(t) / LINEAR.alpha(t), x.double()
    for t in scheduler.timesteps:
        eps = NETWORK(x, t.float().reshape(1))
        x = scheduler.step(eps, t, x, **options).prev_sample
    return [*scheduler.timesteps.tolist()], x


def closest(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def noise_after_start(seed):
    """The generator of sample 0 where `sample` has drawn (and, with x given, dropped) a start."""
    generator = torch.Generator().manual_seed(image_seeds(seed, [0])[0])
    torch.randn(2, generator=generator)
    return generator


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
@pytest.mark.parametrize("steps, spacing", [(250, "leading"), (50, "leading"), (40, "trailing")])
def test_ddpm(steps, spacing, variance, clip):
    if (spacing, variance) == ("trailing", "fixed_large"):
        pytest.skip("diffusers draws noise in the step to clean data")
    scheduler = diffusers.DDPMScheduler(
        **BETAS, variance_type=variance, clip_sample=clip, timestep_spacing=spacing
    )
    x = start()
    times, expected = theirs(scheduler, steps, x, generator=noise_after_start(5))
    found = snnconvert.sample(
        NETWORK, x, solver="ddpm", grid=[*times, -1], seed=5, variance=variance, clip=clip
    )
    closest(found, expected)


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("eta", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("steps, spacing", [(50, "leading"), (20, "trailing"), (200, "trailing")])
def test_ddim(steps, spacing, eta, clip):
    scheduler = diffusers.DDIMScheduler(
        **BETAS, clip_sample=clip, set_alpha_to_one=True, timestep_spacing=spacing
    )
    x = start()
    times, expected = theirs(
        scheduler, steps, x, eta=eta, use_clipped_model_output=clip, generator=noise_after_start(5)
    )
    assert [*times, -1] == make_grid(spacing, LINEAR, steps)
    found = snnconvert.sample(
        NETWORK, x, solver="ddim", grid=spacing, steps=steps, seed=5, eta=eta, clip=clip
    )
    closest(found, expected)


KINDS = {"midpoint": "published", "heun": "taylor"}


@pytest.mark.parametrize("steps", [5, 9, 20, 25])
@pytest.mark.parametrize("kind", ["midpoint", "heun"])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("name", ["dpm-solver", "dpm-solver++"])
def test_dpm_solver_multistep(name, order, kind, steps):
    """Their order 3 is the published one; with "heun" it starts with Taylor's second order."""
    if order == 3 and kind == "heun":
        pytest.skip("a mixture of formulas that we do not offer")
    scheduler = diffusers.DPMSolverMultistepScheduler(
        **BETAS, algorithm_type=name.replace("-", "", 1), solver_order=order, solver_type=kind,
        final_sigmas_type="sigma_min", lower_order_final=steps < 10,
    )  # fmt: skip
    x = start()
    times, expected = theirs(scheduler, steps, x, exact=True)
    x = x.double()
    found = snnconvert.sample(
        NETWORK, x, solver=name, grid=[*times, 0], order=order, solver_type=KINDS[kind]
    )
    closest(found, expected)


@pytest.mark.parametrize("steps", [4, 6, 12, 20, 25])
@pytest.mark.parametrize(
    "order, kind", [(1, "midpoint"), (2, "midpoint"), (2, "heun"), (3, "heun")]
)
@pytest.mark.parametrize("name", ["dpm-solver", "dpm-solver++"])
def test_dpm_solver_singlestep(name, order, kind, steps):
    """Order 3 with their midpoint differs from the original in its inner step.

    Their "lower_order_final" splits the last second-order step, the original's does not.
    """
    scheduler = diffusers.DPMSolverSinglestepScheduler(
        **BETAS, algorithm_type=name.replace("-", "", 1), solver_order=order, solver_type=kind,
        final_sigmas_type="sigma_min", lower_order_final=order == 3 or steps % 2 == 1,
    )  # fmt: skip
    x = start()
    times, expected = theirs(scheduler, steps, x, exact=True)
    x = x.double()
    found = snnconvert.sample(NETWORK, x, solver=name, grid=[*times, 0], order=order,
                              method="singlestep", solver_type=KINDS[kind])  # fmt: skip
    closest(found, expected)


@pytest.mark.parametrize("steps", [5, 9, 20, 25])
@pytest.mark.parametrize("variant", ["bh1", "bh2"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_unipc(order, variant, steps):
    scheduler = diffusers.UniPCMultistepScheduler(
        **BETAS,
        solver_order=order,
        solver_type=variant,
        final_sigmas_type="sigma_min",
        lower_order_final=steps < 10,
    )
    x = start()
    times, expected = theirs(scheduler, steps, x, exact=True)
    x = x.double()
    found = snnconvert.sample(
        NETWORK, x, solver="unipc", grid=[*times, 0], order=order, variant=variant
    )
    closest(found, expected)


def test_plain_float32_tables_agree_too():
    scheduler = diffusers.DPMSolverMultistepScheduler(**BETAS, final_sigmas_type="sigma_min")
    x = start()
    times, expected = theirs(scheduler, 20, x)
    closest(snnconvert.sample(NETWORK, x, solver="dpm-solver++", grid=[*times, 0]), expected)


@pytest.mark.parametrize("order", [1, 2])
def test_sde_dpm_solver(order):
    scheduler = diffusers.DPMSolverMultistepScheduler(
        **BETAS,
        algorithm_type="sde-dpmsolver++",
        solver_order=order,
        final_sigmas_type="sigma_min",
        lower_order_final=False,
    )
    x = start()
    times, expected = theirs(scheduler, 20, x, exact=True, generator=noise_after_start(5))
    x = x.double()
    found = snnconvert.sample(
        NETWORK, x, solver="sde-dpm-solver++", grid=[*times, 0], order=order, seed=5
    )
    closest(found, expected)
