"""What a type checker sees in a caller's code; `mypy` of CI reads it, nobody runs it.

Each `type: ignore` stands for an error that must be found: one that is not is an error itself
(`warn_unused_ignores`).
"""

from __future__ import annotations

from typing import assert_type

import torch
from torch import Tensor, nn

import snnconvert

path: str = snnconvert.__version__
schedule = assert_type(snnconvert.Schedule.linear(), snnconvert.Schedule)
betas_end: Tensor = schedule.alphas_cumprod
batch = torch.zeros(2, 3)
snn = snnconvert.convert(nn.ReLU(), timesteps=4, example_inputs=batch)
ceiling_steps: int = snn.config.timesteps
image: Tensor = snnconvert.invert(nn.Identity(), batch, solver="ddim", steps=5)
qat: nn.Module = snnconvert.quantize(nn.ReLU(), 4, example_inputs=batch)
problems = [problem.remedy for problem in snnconvert.check(nn.ReLU(), batch)]

snnconvert.convert(nn.ReLU(), timesteps="4", example_inputs=batch)  # type: ignore[arg-type]
snnconvert.convert(nn.ReLU(), 4, example_input=batch)  # type: ignore[call-arg]
snnconvert.quantize(batch, 4)  # type: ignore[arg-type]
snnconvert.Schedule.linear("1000")  # type: ignore[arg-type]
snnconvert.sample(nn.Identity(), batch, steps=None)  # type: ignore[arg-type]
snnconvert.converted  # type: ignore[attr-defined]  # noqa: B018
number: int = snn.config.firing  # type: ignore[assignment]
