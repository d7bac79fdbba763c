"""Share of right answers of a classifier of any stage."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from snnconvert.common.checks import checked_integer
from snnconvert.common.modes import evaluating
from snnconvert.errors import InputError


@torch.no_grad()
def accuracy(
    network: Callable[[Any], Tensor], batches: Iterable[tuple[Any, Tensor]], top: int = 1
) -> float:
    """Share of the images whose label is among the `top` largest outputs, 0 ... 1.

    Args:
        network: `x [B, ...] -> logits [B, classes]`; a module is put into evaluation mode for the
            duration. A converted network resets itself at every call.
        batches: pairs `(x [B, ...], labels [B])`, labels 0 ... classes - 1.
        top: how many guesses count; among equal logits the one that torch.topk prefers.

    Raises:
        InputError: no images, labels that do not fit the output, `top` out of range, NaN outputs.
    """
    right = seen = 0
    with evaluating(network):
        for x, labels in batches:
            logits = network(x)
            check_answers(logits, labels, top)
            guesses = logits.topk(top, dim=1).indices
            right += int((guesses == labels.to(guesses.device)[:, None]).sum())
            seen += len(labels)
    if seen == 0:
        raise InputError("accuracy: found no images; pass at least one batch (x, labels)")
    return right / seen


def check_answers(logits: Tensor, labels: Tensor, top: int) -> None:
    """InputError unless `logits` [B, classes] can be held against `labels` [B]."""
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise InputError(
            f"accuracy: outputs {tuple(logits.shape)} and labels {tuple(labels.shape)}; "
            "needed are [B, classes] and [B]"
        )
    classes = logits.shape[1]
    checked_integer("accuracy: top", top, 1, classes)
    if labels.is_floating_point() or bool(((labels < 0) | (labels >= classes)).any()):
        raise InputError(f"accuracy: labels must be integers 0 ... {classes - 1}")
    if bool(logits.isnan().any()):
        raise InputError("accuracy: the network returned NaN")
