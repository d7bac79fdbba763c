"""A critic: a small network that learns to tell a network's answers from its teacher's.

With few levels the squared error is soon as small as it gets. What is left of it is a compromise
that a sampler carries from step to step, and images come out a little alike. The critic finds what
the two networks' clean images differ in as a whole, and the network learns to lose it (Goodfellow
et al. 2014; for distilled denoisers Sauer et al. 2023). Both images come from one noised image and
are judged against each other (Jolicoeur-Martineau 2019).

What a network says where little noise is left becomes the image. There the teacher's answer, a mean
over all that may lie under the noise, is smoother than any image; the critic may take the clean
images themselves (`critic_data`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from snnconvert.checkpoint.recipe import Recipe
from snnconvert.checkpoint.schedules import schedule_of
from snnconvert.common.randomness import stream_seed
from snnconvert.diffusion.objectives import clean_of
from snnconvert.models.unet import time_frequencies
from snnconvert.training.optimizer import resume_optimizer
from snnconvert.training.state.damage import check_tensors, damaged
from snnconvert.training.tasks import VIEWS, Batch

CRITIC_JOINS = 0.75  # share of a stage after which it joins: the learning rate is small by then
WIDTHS, STRIDES = (48, 64, 128, 128), (1, 2, 2, 1)
TIME = 32  # width of the time embedding
RATE, BETAS = 3e-4, (0.5, 0.99)  # of its Adam
NUDGE = 0.02  # standard deviation of the noise by which its slope is measured
FLATNESS = 0.04  # weight of that slope in what it learns (Lin et al. 2025: approximated R1)
LITTLE_NOISE = 0.25  # below this standard deviation of the noise images may be held against data
LEAST_SIGMA = 0.01  # the noise in less noised images is not told from nothing


class CriticNetwork(nn.Module):
    """(views [B, C, H, W], t [B]) -> how much they look as they should, [B]."""

    frequencies: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs, self.times = nn.ModuleList(), nn.ModuleList()
        for width, stride in zip(WIDTHS, STRIDES, strict=True):
            self.convs.append(nn.Conv2d(channels, width, 3, stride, 1))
            self.times.append(nn.Linear(TIME, width))
            channels = width
        self.out = nn.Conv2d(channels, 1, 3, 1, 1)
        self.register_buffer("frequencies", time_frequencies(TIME).float(), persistent=False)

    def forward(self, views: Tensor, t: Tensor) -> Tensor:
        angles = t[:, None] * self.frequencies
        waves = torch.cat([angles.sin(), angles.cos()], 1)
        h = views
        for conv, time in zip(self.convs, self.times, strict=True):
            h = F.leaky_relu(conv(h) + time(waves)[:, :, None, None], 0.2)
        found: Tensor = self.out(h)
        return found.float().mean((1, 2, 3))


class Critic:
    """The critic of a stage and its optimizer; computes as the training does, autocast or not.

    Args:
        recipe: says the noise, the prediction and how much an objection weighs.
        channels: of the images.
        device: where the training runs.
        layout: of its tensors in memory.
        bfloat16: compute in bfloat16 autocast.
        processes: how many train together; what each learns is averaged.
    """

    def __init__(
        self, recipe: Recipe, channels: int, device: torch.device, layout: torch.memory_format,
        *, bfloat16: bool, processes: int,
    ) -> None:  # fmt: skip
        torch.manual_seed(stream_seed(recipe.seed, 0, "critic"))
        network = CriticNetwork(VIEWS * channels).to(device)
        self.network = network.to(memory_format=layout)
        self.recipe, self.bfloat16, self.processes = recipe, bfloat16, processes
        self.schedule = schedule_of(recipe)
        self.optimizer = torch.optim.Adam(self.network.parameters(), RATE, BETAS, fused=True)
        self.seen = torch.empty(0)  # views of the images wanted, then of the network's

    def objection(self, batch: Batch, prediction: Tensor, answer: Tensor) -> Tensor:
        """What the network's prediction [B, C, H, W] loses, [], beside its teacher's answer."""
        self.network.requires_grad_(False)
        x, t = batch.inputs
        weight = torch.full_like(t, self.recipe.critic)
        if self.recipe.critic_data:
            little = self.schedule.per_sample(t, x).sigma < LITTLE_NOISE
            answer = torch.where(little, batch.target, answer)
            weight = weight.masked_fill(little.view(-1), self.recipe.critic_data)
        wanted, own = self.views(batch, answer), self.views(batch, prediction)
        self.seen = torch.cat([wanted, own.detach()])
        lead: Tensor = self.network(wanted, t) - self.network(own, t)
        return (weight * F.softplus(lead)).mean()

    def learn(self, batch: Batch) -> None:
        """One step towards telling those two apart, with as little slope as possible."""
        self.network.requires_grad_(True)
        assert batch.nudge is not None
        nudged = self.seen + NUDGE * torch.cat([batch.nudge, batch.nudge])
        t = batch.inputs[1].repeat(4)
        kind = self.seen.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self.bfloat16):
            wanted, own, *others = self.network(torch.cat([self.seen, nudged]), t).chunk(4)
        slope = torch.stack([wanted - others[0], own - others[1]]) / NUDGE
        loss = F.softplus(own - wanted).mean() + FLATNESS * slope.square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        if self.processes > 1:
            for gradient in [value.grad for value in self.network.parameters()]:
                assert gradient is not None
                dist.all_reduce(gradient)
                gradient /= self.processes
        self.optimizer.step()

    def views(self, batch: Batch, prediction: Tensor) -> Tensor:
        """The clean image that a prediction means, as samplers clip it, its noise, and x_t."""
        x, t = batch.inputs
        point = self.schedule.per_sample(t, x)
        clean = clean_of(self.recipe.prediction, prediction, x, point).clamp(-1, 1)
        noise = (x - point.alpha * clean) / point.sigma.clamp_min(LEAST_SIGMA)
        return torch.cat([clean, noise, x], 1)

    def state(self) -> dict[str, Any]:
        """What `resume` takes."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def resume(self, held: object, path: Path) -> None:
        """Go on from what the state in the file at `path` holds.

        Raises:
            CheckpointError: it holds no critic of this kind.
        """
        if not isinstance(held, dict) or not isinstance(held.get("optimizer"), dict):
            raise damaged(path, "critic")
        check_tensors(path, "critic", held.get("network"), self.network)
        self.network.load_state_dict(held["network"])
        if held["optimizer"].get("state") != {}:  # it has learned: nothing is kept of it before
            resume_optimizer(self.optimizer, held["optimizer"], "adam", path)
