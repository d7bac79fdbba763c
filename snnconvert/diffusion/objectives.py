"""What a denoiser is trained on: the noise in a noised image."""

from __future__ import annotations

import torch
from torch import Tensor

from snnconvert.diffusion.linear import plus
from snnconvert.diffusion.schedule import NoiseLevels, Point


def noised_batch(
    images: Tensor,
    schedule: NoiseLevels,
    generator: torch.Generator,
    *,
    spread: bool = False,
    power: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """(x_t, t, eps) of clean `images` [B, C, H, W] in [-1, 1].

    t is drawn from 0 ... diffusion_steps - 1, or with `spread` laid out evenly over that range
    (first image t = 0, last image the noisiest), for calibration and reports. A `power` above 1
    draws more of the little noised: t goes with u^power, u uniform.
    """
    count = len(images)
    if spread:
        t = torch.linspace(0, len(schedule) - 1, count).round()
    elif power != 1:
        t = (len(schedule) * torch.rand(count, generator=generator) ** power).floor()
    else:
        t = torch.randint(len(schedule), (count,), generator=generator).float()
    eps = gaussian_like(images, generator)
    return schedule.add_noise(images, eps, t), t, eps


def gaussian_like(images: Tensor, generator: torch.Generator) -> Tensor:
    """Noise of the shape and on the device of `images`, float32, drawn there."""
    if images.device.type != generator.device.type:
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        generator = torch.Generator(images.device).manual_seed(seed)
    return torch.randn(images.shape, generator=generator, device=images.device)


def target_of(
    prediction: str, images: Tensor, eps: Tensor, schedule: NoiseLevels, t: Tensor
) -> Tensor:
    """What a network that predicts `prediction` should answer at x_t; all [B, ...], t [B].

    "eps": the noise; "x0": the clean images; "v": alpha * eps - sigma * x0 (Salimans and Ho 2022).
    """
    if prediction == "eps":
        return eps
    if prediction == "x0":
        return images
    shape = (-1, *(1,) * (images.ndim - 1))
    alpha, sigma = schedule.alpha(t).view(shape), schedule.sigma(t).view(shape)
    return alpha.to(images) * eps - sigma.to(images) * images


def beyond_range(prediction: str, images: Tensor) -> Tensor:
    """Which way a prediction leaves the range [-1, 1] at each pixel that lies at an end of it.

    1 where a larger prediction means a clean pixel further out, -1 where a smaller one does, 0 at
    pixels inside the range. Noise is subtracted, so its sign is the other one.
    """
    ends = (images >= 1).to(images.dtype) - (images <= -1).to(images.dtype)
    return ends if prediction == "x0" else -ends


def clean_of(prediction: str, output: Tensor, x: Tensor, point: Point) -> Tensor:
    """The clean image that a prediction (eps, v or x0) at `x` means; all [B, ...]."""
    if prediction == "eps":
        return plus(x, -point.sigma, output).div_(point.alpha)
    if prediction == "v":
        return plus(point.alpha * x, -point.sigma, output)
    return output


def prediction_loss(
    prediction: Tensor,
    target: Tensor,
    answer: Tensor | None = None,
    beyond: Tensor | None = None,
) -> Tensor:
    """Mean squared error of a prediction (of eps: Ho et al. 2020, equation 14).

    Args:
        prediction: of a network, [B, C, H, W].
        target: what the data say, [B, C, H, W].
        answer: of a teacher, to learn instead.
        beyond: as `beyond_range` gives it. Samplers clip the clean image that a prediction means:
            a prediction further out than `target` is no error there.
    """
    error = prediction - (target if answer is None else answer)
    if beyond is not None:
        error = error.masked_fill(beyond * (prediction - target) > 0, 0)
    loss: Tensor = error.square().mean()
    return loss
