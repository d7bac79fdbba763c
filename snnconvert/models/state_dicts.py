"""State dicts of foreign files: found wherever they lie, checked against the network they are for.

Trainings keep weights under names of their own ("state_dict", "net"), behind prefixes that wrappers
leave ("module.", "_orig_mod.", Lightning's "model."), and often twice: as trained, and averaged.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from snnconvert.common.warning import warn
from snnconvert.errors import CheckpointError, InputError
from snnconvert.files.tensors import read_file

AVERAGES = {"ema", "average", "averaged", "avg", "shadow", "swa"}  # words in names of averages
ONLINE = "online"  # what some keep beside its average, under the average's name
USUAL = {"", "state", "dict", "state_dict", "model", "net", "network", "module", "params",
         "weights", "model_state_dict", "net_model", "online_model", "model_state", "unet",
         "denoiser", "diffusion_model", "denoise_fn"}  # fmt: skip
WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
DEEPEST, LISTED = 4, 5  # nested tables that are looked into; names in an error


@dataclass(frozen=True)
class Found:
    """Tensors of a file that may be those of a network.

    Attributes:
        label: the names that lead to them, joined by dots.
        prefix: what precedes their own names.
        state: by the network's names, what lies beneath the prefix.
    """

    label: str
    prefix: str
    state: dict[str, Any]

    @property
    def averaged(self) -> bool:
        words = set(re.split(r"[._\d]+", self.label.lower()))
        return not AVERAGES.isdisjoint(words) and ONLINE not in words

    @property
    def usual(self) -> bool:
        return set(self.label.lower().split(".")) <= USUAL


def weights_of(path: str, model: nn.Module, key: str | None = None) -> dict[str, Tensor]:
    """The state dict in a file, checked against `model`; see `checked_state`."""
    return checked_state(read_file(path), model, path, key)


def checked_state(
    content: Any, model: nn.Module, path: str, key: str | None = None
) -> dict[str, Tensor]:
    """The tensors of `model` in the content of a file at `path`.

    Where it holds several that fit, the average is taken, and a warning says so.

    Args:
        key: the name under which they lie, as an error or warning lists it.

    Raises:
        InputError: nothing that fits is called `key`.
        CheckpointError: nothing fits (what comes nearest is told), or it is not clear which.
    """
    wanted = model.state_dict()
    everything = [
        candidate
        for label, table in tables_in(content)
        for candidate in candidates(label, table, wanted)
    ] + [found for label, values in lists_in(content) if (found := in_order(label, values, model))]
    if not everything:
        held = type(content).__name__
        if isinstance(content, dict):
            held = f"a table of {', '.join(map(str, content)) or 'nothing'}"
        raise CheckpointError(
            f"{path}: holds {held}, needed is a state dict with the "
            f"tensors of the model ({named(wanted)})"
        )
    completed = [with_buffers(found, everything, model) for found in everything]
    fitting = [found for found in completed if not any(faults(found, wanted).values())]
    if not fitting:
        raise CheckpointError(f"{path}: {misfit(completed, wanted)}")
    chosen = named_one(fitting, key, path) if key else best(fitting, path)
    tell(chosen, fitting, content, path, key)
    return {name: chosen.state[name] for name in wanted}


def tables_in(
    content: Any, label: str = "", depth: int = 0
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every table with tensors in it, and the names that lead there."""
    if not isinstance(content, Mapping) or depth > DEEPEST:
        return
    if any(isinstance(value, Tensor) for value in content.values()):
        yield label, {unwrapped(str(name)): value for name, value in content.items()}
    for name, value in content.items():
        yield from tables_in(value, f"{label}.{name}" if label else str(name), depth + 1)


def lists_in(content: Any, label: str = "", depth: int = 0) -> Iterator[tuple[str, list[Tensor]]]:
    """Every list of tensors, such as the `shadow_params` of an average, and where it lies."""
    if isinstance(content, list) and content and all(isinstance(v, Tensor) for v in content):
        yield label, content
    if isinstance(content, Mapping) and depth <= DEEPEST:
        for name, value in content.items():
            yield from lists_in(value, f"{label}.{name}" if label else str(name), depth + 1)


def in_order(label: str, values: list[Tensor], model: nn.Module) -> Found | None:
    """Values that are the parameters of `model` in their order (or those that were trained)."""
    parameters = dict(model.named_parameters())
    trained = {name: value for name, value in parameters.items() if value.requires_grad}
    for named_ones in (parameters, trained):
        if [value.shape for value in values] == [value.shape for value in named_ones.values()]:
            return Found(label, "", dict(zip(named_ones, values, strict=True)))
    return None


def unwrapped(name: str) -> str:
    """A name without what wrappers inside the network put into it."""
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def candidates(label: str, table: dict[str, Any], wanted: Mapping[str, Tensor]) -> list[Found]:
    """The tensors beneath every prefix before which the network's own names stand."""
    votes: Counter[str] = Counter()
    for name in table:
        parts = name.split(".")
        for cut in range(len(parts)):
            if ".".join(parts[cut:]) in wanted:
                votes["".join(f"{part}." for part in parts[:cut])] += 1
    found = []
    for prefix in votes:
        inner = {n.removeprefix(prefix): v for n, v in table.items() if n.startswith(prefix)}
        if not prefix:  # what stands beneath another prefix is another's
            complete = [p for p in votes if p and votes[p] == votes[""]]
            inner = {n: v for n, v in inner.items() if not n.startswith(tuple(complete))}
        counters = {n for n in wanted if n.endswith("num_batches_tracked")}  # old files have none
        inner = {**{n: wanted[n] for n in counters}, **inner}
        whole = ".".join(part for part in (label, prefix.rstrip(".")) if part)
        found.append(Found(whole, prefix, inner))
    return found


def with_buffers(found: Found, others: list[Found], model: nn.Module) -> Found:
    """An average with the running statistics beside it, where it is one of parameters alone."""
    wanted, parameters = set(model.state_dict()), {name for name, _ in model.named_parameters()}
    missing = wanted - set(found.state)
    if not found.averaged or not missing or missing & parameters:
        return found
    whole = next((o for o in others if not o.averaged and wanted <= set(o.state)), None)
    if whole is None:
        return found
    return Found(found.label, found.prefix, {**{n: whole.state[n] for n in missing}, **found.state})


def faults(found: Found, wanted: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """What keeps tensors from being those of a network, in words, and which they are."""
    held = found.state
    other = [n for n, value in wanted.items() if n in held and shape_of(held[n]) != value.shape]
    return {
        "missing": [name for name in wanted if name not in held],
        "not in the model": [name for name in held if name not in wanted],
        "of another shape": [
            f"{name} {list(shape_of(held[name]) or [])}, the model's {list(wanted[name].shape)}"
            for name in other
        ],
    }


def shape_of(value: Any) -> torch.Size | None:
    return value.shape if isinstance(value, Tensor) else None


def misfit(found: list[Found], wanted: Mapping[str, Tensor]) -> str:
    """How the nearest of them differs."""
    nearest = min(found, key=lambda one: sum(map(len, faults(one, wanted).values())))
    where = f" (its tensors under {nearest.label!r})" if nearest.label else ""
    told = [
        f"{len(names)} {problem}: {named(names)}"
        for problem, names in faults(nearest, wanted).items() if names
    ]  # fmt: skip
    return f"does not fit the model{where}: {'; '.join(told)}"


def named(names: Any) -> str:
    """The first few of many names."""
    first = list(names)[:LISTED]
    more = len(names) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")


def named_one(fitting: list[Found], key: str, path: str) -> Found:
    """The one called `key`, by its whole name or one of its parts; InputError if none is."""
    whole = [found for found in fitting if found.label == key]
    part = [found for found in fitting if key in found.label.split(".")]
    for found in (whole, part):
        if len(found) == 1:
            return found[0]
    raise InputError(
        f"--weights-key: found {key!r}, {path} holds weights that fit the model under: "
        f"{', '.join(repr(found.label) for found in fitting)}"
    )


def best(fitting: list[Found], path: str) -> Found:
    """The average where there is one, else what lies under a usual name, else the only one."""
    ranks = {found.label: (not found.averaged, not found.usual) for found in fitting}
    first = [found for found in fitting if ranks[found.label] == min(ranks.values())]
    same = all(
        torch.equal(value, other.state[name])
        for other in first[1:] for name, value in first[0].state.items()
    )  # fmt: skip
    if not same:
        raise CheckpointError(
            f"{path}: holds several networks that fit the model; choose one by --weights-key: "
            f"{', '.join(found.label for found in first)}"
        )
    return first[0]


def tell(chosen: Found, fitting: list[Found], content: Any, path: str, key: str | None) -> None:
    """A warning where others could have been meant, and nobody has chosen."""
    if key:
        return
    others = [found.label or "(no name)" for found in fitting if found.label != chosen.label]
    if others:
        kind = " (an average)" if chosen.averaged else ""
        warn(f"{path}: took the weights under {chosen.label!r}{kind}; it also holds "
             f"{', '.join(map(repr, others))}; choose with --weights-key NAME")  # fmt: skip
        return
    unread = [] if chosen.averaged else averages_in(content)
    if unread:
        warn(
            f"{path}: took the weights under {chosen.label or '(no name)'!r}; it also holds "
            f"{named(unread)}, which is called like an average and does not fit the model"
        )
    elif not chosen.usual and not chosen.averaged:
        warn(f"{path}: took the weights under {chosen.label!r}")


def averages_in(content: Any) -> list[str]:
    """Names in a file that averages are called by."""
    counts = (Tensor, int, float)  # how many steps went into it, and such
    names = {
        str(name).partition(".")[0]
        for name, value in (content.items() if isinstance(content, dict) else ())
        if not isinstance(value, counts) or (isinstance(value, Tensor) and value.ndim)
    }
    return sorted(name for name in names if Found(name, "", {}).averaged)
