"""Networks made from a trained spiking U-Net: with TSM factors."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import TypeVar

from torch import Tensor, nn

from snnconvert.errors import CheckpointError, InputError

Network = TypeVar("Network", bound=nn.Module)

FACTOR = "step_scale"  # last part of the name of TSM's parameters
NAMED = 8  # keys that an error lists


def has_factors(names: Iterable[str]) -> bool:
    """Whether TSM's parameters are among the names of a state dict."""
    return any(name.endswith(FACTOR) for name in names)


def load_pretrained(network: Network, state: Mapping[str, Tensor]) -> Network:
    """A copy of a network with TSM that starts from one without: its weights, every p = 1.

    Args:
        network: built with `tsm=True`.
        state: state dict of a network that differs from it in `tsm` only.

    Raises:
        InputError: `network` has no TSM.
        CheckpointError: a tensor is missing, is one too many, or has another shape.
    """
    if not has_factors(network.state_dict()):
        raise InputError("load_pretrained: the network has no TSM; build it with tsm=True")
    ours = network.state_dict()
    factors = {key for key in ours if key.rpartition(".")[2] == FACTOR}
    wanted = ours.keys() - factors
    refuse("missing", wanted - state.keys())
    refuse("not in the network", state.keys() - wanted)
    refuse("of another shape", {key for key in wanted if state[key].shape != ours[key].shape})
    loaded = copy.deepcopy(network)
    ones = {key: ours[key].new_ones(ours[key].shape) for key in factors}
    loaded.load_state_dict({**state, **ones})
    return loaded


def refuse(problem: str, keys: set[str]) -> None:
    """CheckpointError that names `keys`, if there are any."""
    if keys:
        listed = ", ".join(sorted(keys)[:NAMED])
        more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
        raise CheckpointError(f"load_pretrained: {len(keys)} tensors {problem}: {listed}{more}")
