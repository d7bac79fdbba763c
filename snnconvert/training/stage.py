"""One stage of a training: what it starts from, its steps, and the state it leaves behind."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from snnconvert.checkpoint.schedules import schedule_of
from snnconvert.common.hardware import best_memory_format
from snnconvert.common.processes import Shard
from snnconvert.diffusion.sampling import sample
from snnconvert.images.pictures import grid, save_png
from snnconvert.training.averaging import settle_statistics, update_average
from snnconvert.training.ceilings import relu_ceilings
from snnconvert.training.critic import CRITIC_JOINS, Critic
from snnconvert.training.descent import Descent
from snnconvert.training.initial import start_from
from snnconvert.training.interrupt import Interrupt
from snnconvert.training.optimizer import optimizer_of, rate_factor, resume_optimizer
from snnconvert.training.run import TrainingRun, batch_at, drawn_inputs
from snnconvert.training.state.damage import check_tensors
from snnconvert.training.state.divergence import check_losses, check_weights
from snnconvert.training.state.state import beside, save_losses, save_state
from snnconvert.training.synchronised import synchronised

CALIBRATION_BATCHES = 8
STATISTICS_BATCHES = 64  # that settle the batch norms of the averaged network
SHOWN_EVERY = 20  # steps between two readings of the loss, for each of which a GPU is waited for


class Paused(Exception):
    """The time is up; the state to go on from is saved. `at` says where, in words."""

    def __init__(self, at: str) -> None:
        super().__init__(at)
        self.at = at


class Stage:
    """A stage of a training, from where `state` left it.

    Args:
        run: what the training needs.
        name: "ann", "qann", "qann-radix" or "spiking".
        state: as `load_state` gives it; `save` writes it to `path`.
    """

    def __init__(self, run: TrainingRun, name: str, state: dict[str, Any], path: Path) -> None:
        recipe, resumed, device = run.recipe, state["stage"] == name, run.shard.device
        self.run, self.name, self.state, self.path = run, name, state, path
        network = build_network(run, name, state["finished"], resumed)
        layout = best_memory_format(device.type, run.precision)
        network = network.to(device).to(memory_format=layout)
        self.average = copy.deepcopy(network).requires_grad_(False)
        teacher = None
        if recipe.levels_of(name) and recipe.quantized_target == "ann":
            teacher = finished_ann(run, state["finished"]).to(memory_format=layout)
        if run.shard.size > 1:
            network = synchronised(network)
        self.network = network
        self.rate: float = getattr(recipe, recipe.rate_key_of(name))
        bfloat16 = run.precision == "bfloat16"
        self.critic = None
        if teacher is not None and recipe.judged:
            self.critic = Critic(recipe, run.images.channels, device, layout, bfloat16=bfloat16,
                                 processes=run.shard.size)  # fmt: skip
        record = device.type == "cuda" and run.shard.size == 1 and self.critic is None
        self.optimizer = optimizer_of(recipe, network, self.rate, record)
        if resumed:
            for key, into in (("network", network), ("average", self.average)):
                check_tensors(path, key, state[key], into)
                into.load_state_dict(state[key])
            resume_optimizer(self.optimizer, state["optimizer"], recipe.optimizer, path)
            if self.critic is not None:
                self.critic.resume(state.get("critic"), path)
        self.first = state["step"] if resumed else 0
        self.descend = Descent(recipe, shared_by(run.shard, network), teacher, self.optimizer,
                               bfloat16=bfloat16, record=record, critic=self.critic)  # fmt: skip
        self.losses = state["losses"].setdefault(name, [])
        self.unread: list[Tensor] = []

    def train(self, interrupt: Interrupt, deadline: float | None = None) -> None:
        """Go on to the end; afterwards the average is among the finished networks.

        Raises:
            Paused: at `deadline` (of `time.monotonic()`); the state is saved.
            KeyboardInterrupt: after the step in which `interrupt` was asked for; likewise.
            DivergedError: a loss or a weight is no finite number; what was saved stays.
        """
        recipe, run = self.run.recipe, self.run
        steps = recipe.steps_of(self.name)
        pictured = recipe.sample_every if run.leads and recipe.family.task == "noise" else 0
        bar = tqdm(range(self.first, steps), initial=self.first, total=steps, desc=self.name,
                   disable=not run.show)  # fmt: skip
        if pictured and self.first and self.first % pictured == 0:
            self.draw(self.first)  # the state is saved before its picture is drawn
        for step in bar:
            self._step(step, steps)
            done = step + 1
            if done == steps or done % min(SHOWN_EVERY, recipe.save_every) == 0:
                self._read_losses()
                recent = self.losses[-SHOWN_EVERY:]
                bar.set_postfix(loss=f"{sum(recent) / len(recent):.4f}", refresh=False)
                if deadline is not None and time.monotonic() > deadline and done < steps:
                    self.save(done)
                    raise Paused(f"{self.name}, step {done} of {steps}")
            if done % recipe.save_every == 0 or interrupt.asked:
                self.save(done)
            if interrupt.asked:
                raise interrupt.kind(f"after {self.name}, step {done} of {steps}")
            if pictured and done % pictured == 0:
                self.draw(done)
        settle_statistics(self.average, drawn_inputs(run, "statistics", STATISTICS_BATCHES))
        check_weights(recipe, self.name, steps, [self.average], self.state,
                      self.path)  # fmt: skip
        self.state["finished"][self.name] = self.average.state_dict()
        if run.leads:
            save_state(self.path, self.state)
            save_losses(run.out, self.state["losses"])

    def _step(self, step: int, steps: int) -> None:
        recipe = self.run.recipe
        batch = batch_at(self.run, self.name, step)
        rate = self.rate * rate_factor(recipe, step, steps)
        loss = self.descend(batch, rate, judged=step >= steps * CRITIC_JOINS)
        update_average(self.average, self.network, min(recipe.ema, (1 + step) / (10 + step)))
        self.unread.append(loss)

    def _read_losses(self) -> None:
        """Bring the losses of the last steps, each of the whole batch, to the CPU.

        DivergedError where one is no finite number.
        """
        if not self.unread:
            return
        size, values = self.run.shard.size, torch.stack(self.unread)
        self.unread.clear()
        if size > 1:
            dist.all_reduce(values)
        read = [value / size for value in values.tolist()]
        check_losses(self.run.recipe, self.name, len(self.losses), read, self.state, self.path)
        self.losses += read

    def save(self, done: int) -> None:
        """Write the state after `done` steps, where this process writes files."""
        self._read_losses()
        held = [self.network, self.average]
        if self.critic is not None:
            held.append(self.critic.network)
        check_weights(self.run.recipe, self.name, done, held, self.state, self.path)
        if not self.run.leads:
            return
        self.state |= {
            "stage": self.name,
            "step": done,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        if self.critic is not None:
            self.state["critic"] = self.critic.state()
        save_state(self.path, self.state)
        save_losses(self.run.out, self.state["losses"])

    def draw(self, done: int) -> None:
        """A picture of what the averaged network draws after `done` steps."""
        save_samples(self.run, self.average, f"{self.name}-{done:07d}")


def shared_by(shard: Shard, network: nn.Module) -> nn.Module:
    """`network` with gradients averaged over the processes, where there are several."""
    if shard.size == 1:
        return network
    return DistributedDataParallel(network, broadcast_buffers=False)  # they are equal everywhere


def build_network(
    run: TrainingRun, stage: str, finished: dict[str, dict[str, Tensor]], resumed: bool
) -> nn.Module:
    """The network that a stage starts with: fresh, from `initial`, or from the stage before.

    A quantised one gets the float weights and calibrated ceilings.
    """
    recipe, channels = run.recipe, run.images.channels
    torch.manual_seed(recipe.seed)
    network = recipe.family.build(recipe.network(channels, stage))
    if resumed:
        return network
    levels = recipe.levels_of(stage)
    if not levels:
        return start_from(recipe.initial, network) if recipe.initial else network
    ann = finished_ann(run, finished)
    batches = drawn_inputs(run, "calibration", CALIBRATION_BATCHES)
    ceilings = relu_ceilings(ann, batches, levels, recipe.per_channel)
    network.load_state_dict({**finished["ann"], **{f"{k}.ceiling": v for k, v in ceilings.items()}})
    return network


def finished_ann(run: TrainingRun, finished: dict[str, dict[str, Tensor]]) -> nn.Module:
    """The float network that the stage before left."""
    recipe = run.recipe
    ann = recipe.family.build(recipe.network(run.images.channels, "ann")).eval()
    ann.load_state_dict(finished["ann"])
    return ann.requires_grad_(False).to(run.shard.device)


def save_samples(run: TrainingRun, network: nn.Module, name: str) -> None:
    """36 DDIM images of the averaged network as a grid beside the result."""
    folder = beside(run.out, ".samples")
    folder.mkdir(exist_ok=True)
    schedule = schedule_of(run.recipe)
    size = (run.images.channels, run.recipe.image_size, run.recipe.image_size)
    network.eval()
    images = sample(network, shape=(36, *size), solver="ddim", steps=min(50, len(schedule)),
                    seed=run.recipe.seed, schedule=schedule, clip=True,
                    prediction=run.recipe.prediction)  # fmt: skip
    save_png(folder / f"{name}.png", grid(images.cpu()))
