"""One optimiser step on a batch; on a GPU it is recorded once as a CUDA graph and replayed.

A step of a small network is some thousand kernels of a few microseconds: launched one by one, they
keep a large GPU idle most of the time.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from snnconvert.checkpoint.recipe import Recipe
from snnconvert.training.critic import Critic
from snnconvert.training.tasks import Batch, answer_of, loss_of

WARM_UP = 3  # steps before recording: allocations and lazy initialisations are behind them
SMALLEST_CEILING = 1e-4  # a ceiling that learns its way to zero would divide by it


class Descent:
    """Moves `network` towards the data or its `teacher`, one batch a call.

    Args:
        recipe: says the loss and the largest gradient.
        network: trained in place; with gradients averaged over processes where there are several.
        teacher: None, or the network whose answers are the target.
        optimizer: of the network's parameters.
        bfloat16: compute in bfloat16 autocast.
        record: replay a CUDA graph; all batches are of one shape, the network makes no choice that
            depends on values, and the process is the only one.
        critic: None, or what tells the network's answers from the teacher's; it learns along.
    """

    def __init__(
        self,
        recipe: Recipe,
        network: nn.Module,
        teacher: nn.Module | None,
        optimizer: torch.optim.Optimizer,
        *,
        bfloat16: bool,
        record: bool,
        critic: Critic | None = None,
    ) -> None:
        self.recipe = recipe
        self.network = network
        self.teacher = teacher
        self.optimizer = optimizer
        self.bfloat16 = bfloat16
        self.ceilings: list[Tensor] = [
            value for name, value in network.named_parameters() if name.endswith("ceiling")
        ]
        self.critic = critic
        self.side = torch.cuda.Stream() if record else None
        self.eager_steps = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.held: Batch | None = None
        self.loss: Tensor | None = None

    def __call__(self, batch: Batch, rate: float, judged: bool = True) -> Tensor:
        """The loss [] before the step, without what a critic objects to.

        Args:
            batch: what to learn from.
            rate: the learning rate.
            judged: False: the critic keeps away.
        """
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        self.network.train()
        critic = self.critic if judged else None
        loss = self._step(batch) if critic is None else self._compute(batch, critic)
        with torch.no_grad():
            if self.ceilings:
                torch._foreach_clamp_min_(self.ceilings, SMALLEST_CEILING)
        return loss

    def _step(self, batch: Batch) -> Tensor:
        if self.side is None:
            return self._compute(batch)
        if self.eager_steps < WARM_UP:
            self.eager_steps += 1
            self.side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.side):
                loss = self._compute(batch)
            torch.cuda.current_stream().wait_stream(self.side)
            return loss
        if self.graph is None:
            return self._recorded(batch)
        assert self.held is not None and self.loss is not None
        for kept, given in zip(self.held.tensors, batch.tensors, strict=True):
            kept.copy_(given)
        self.graph.replay()
        return self.loss.clone()

    def _recorded(self, batch: Batch) -> Tensor:
        """Record the step on `batch`, then take it; a network that cannot be recorded is not."""
        self.held = batch
        self.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self.loss = self._compute(batch)
        except RuntimeError as error:
            warnings.warn(f"training goes on without a CUDA graph: {error}", stacklevel=2)
            torch.cuda.synchronize()
            self.side = None
            return self._compute(batch)
        self.graph = graph
        graph.replay()
        return self.loss.clone()

    def _compute(self, batch: Batch, critic: Critic | None = None) -> Tensor:
        kind = batch.target.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self.bfloat16,
                            cache_enabled=self.side is None):  # fmt: skip
            teacher = self.teacher
            answer = None if teacher is None else answer_of(self.recipe, teacher, batch)
            prediction = self.network(*batch.inputs).float()
            loss = whole = loss_of(self.recipe, prediction, batch, answer)
            if critic is not None and answer is not None:
                whole = loss + critic.objection(batch, prediction, answer)
        self.optimizer.zero_grad()
        whole.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.grad_clip)
        self.optimizer.step()
        if critic is not None:
            critic.learn(batch)
        return loss.detach()
