"""Learned ceilings: trained so that the quantised network reproduces the float one's output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from snnconvert.conversion.execution.interpreter import Interpreter
from snnconvert.conversion.graph.program import Program
from snnconvert.conversion.graph.values import leaves

RATE = 0.02  # of Adam, on the logarithm of a ceiling
PASSES = 2  # over the kept inputs, at most STEPS steps
STEPS = 60


@torch.enable_grad()
def learn_ceilings(
    float_program: Program,
    quantised: Program,
    constants: Mapping[str, Tensor],
    ceilings: Sequence[str],
    calls: Iterable[list[Tensor]],
) -> dict[str, Tensor]:
    """Constants with trained `ceilings`; all else stays.

    The loss is the squared error of every output over its mean square; the straight-through
    gradient of the quantiser is exact for what it clips. Ceilings stay positive by their logarithm.
    """
    logs = {name: constants[name].log().requires_grad_() for name in ceilings}
    optimizer = torch.optim.Adam(logs.values(), RATE)
    plain, rounded = Interpreter(float_program), Interpreter(quantised)
    batches = list(calls)
    steps = (batches * PASSES)[:STEPS]
    best, best_loss = dict(constants), torch.inf
    total = 0.0
    for number, call in enumerate(steps):
        with torch.no_grad():
            wanted = leaves(plain.run(constants, call))
        trained = {name: log.exp() for name, log in logs.items()}
        found = leaves(rounded.run({**constants, **trained}, call))
        loss = torch.stack([
            (a - b).square().mean() / b.square().mean().clamp_min(1e-12)
            for a, b in zip(found, wanted, strict=True)
            if a.is_floating_point() and a.requires_grad
        ]).sum()  # fmt: skip
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
        if (number + 1) % len(batches) == 0:  # a whole pass: comparable to the pass before
            if total < best_loss:
                best_loss = total
                best = {**constants, **{name: log.detach().exp() for name, log in logs.items()}}
            total = 0.0
    if best_loss == torch.inf:
        best = {**constants, **{name: log.detach().exp() for name, log in logs.items()}}
    return best
