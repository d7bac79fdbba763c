"""A solver's time as a network takes it, in its own range and form, beside what else it takes.

Solvers count diffusion steps, t = 0 ... steps - 1. Networks take that number, or t / 1000, or a
continuous time; one for each sample, [B] or [B, 1], or one for all; some pick a row of a table by
it and take whole numbers alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from snnconvert.common.checks import checked_number
from snnconvert.common.inputs import inputs_of
from snnconvert.errors import InputError

Range = tuple[float, float]


def checked_t_range(t_range: object) -> Range:
    """(first, last), or InputError."""
    pair = list(t_range) if isinstance(t_range, (tuple, list)) else []
    numbers = [checked_number("t_range", value, "(-inf, inf)") for value in pair]
    if len(numbers) != 2 or numbers[0] == numbers[1]:
        raise InputError(
            f"t_range: found {t_range!r}; give (first, last), the network's times at the cleanest "
            "and at the noisiest diffusion step, such as (0, 0.999) where it takes t / 1000"
        )
    return numbers[0], numbers[1]


def agreed(own: Range | None, given: object, whose: str) -> Range | None:
    """The times of a network that knows its `own`, or the `given` ones.

    Raises:
        InputError: two times that are none, or that contradict what `whose` network says of itself.
    """
    if given is None:
        return own
    t_range = checked_t_range(given)
    if own is not None and own != t_range:
        raise InputError(
            f"t_range: found {t_range}, but {whose} takes times from {own[0]:g} to {own[1]:g}; "
            "leave it out"
        )
    return t_range


def in_range(t: Tensor, steps: int, t_range: Range | None) -> Tensor:
    """Diffusion steps `t`, 0 ... steps - 1, as times of a network, in t's precision."""
    if t_range is None:
        return t
    first, last = t_range
    return (first + (last - first) * t.double() / max(steps - 1, 1)).to(t.dtype)


def steps_at(t: Tensor, steps: int, t_range: Range | None) -> Tensor:
    """The inverse of `in_range`: diffusion steps, fractional ones too."""
    if t_range is None:
        return t
    first, last = t_range
    return ((t.double() - first) / (last - first) * max(steps - 1, 1)).to(t.dtype)


def check_taken(network: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """InputError unless `network` takes these arguments beside x and t."""
    if not arguments:
        return
    called = network.forward if isinstance(network, nn.Module) else network
    try:
        inspect.signature(called).bind(None, None, **arguments)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"arguments: found {', '.join(map(str, arguments))}, and the network does not take "
            f"(x, t) with them: {error}"
        ) from error


@dataclass(frozen=True)
class Form:
    """How the times of a batch are handed over.

    Attributes:
        name: of the shape: "[B]", "[B, 1]" or "[]", one for all.
        whole: as integers.
    """

    name: str
    whole: bool

    def fits(self, t: Tensor) -> bool:
        """Whether these times [B] can be handed over so."""
        alike = self.name != "[]" or bool((t == t[:1]).all())
        return alike and (not self.whole or bool((t == t.round()).all()))

    def of(self, t: Tensor) -> Tensor:
        """Times [B] in this form, rounded where it has whole ones."""
        t = t.round().long() if self.whole else t
        return {"[B]": t, "[B, 1]": t[:, None], "[]": t[0]}[self.name]


FORMS = [Form(name, whole) for name in ("[B]", "[B, 1]", "[]") for whole in (False, True)]


class Caller:
    """Calls `network(x, t, **arguments)` with t in the form that it takes.

    A captured network knows that form. Of any other the usual ones are tried in the first call,
    [B] in floating point before all others, until one gives a prediction of x's shape.

    Args:
        network: predicts one value per element of x.
        steps: of the diffusion.
        t_range: its times at the first and at the last of them; None: their numbers.
        arguments: further ones of each call, by name; of a tensor [B, ...] each sample has a row.

    Attributes:
        rows: the samples that the next calls are about; None: all.
    """

    def __init__(
        self, network: Callable[..., Any], steps: int, t_range: Range | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.network, self.steps, self.t_range = network, steps, t_range
        self.arguments = dict(arguments or {})
        check_taken(network, self.arguments)
        self.rows: Tensor | None = None
        captured = inputs_of(network).shapes is not None
        self.form: Form | None = FORMS[0] if captured else None

    def __call__(self, x: Tensor, t: float | Tensor) -> Tensor:
        """The prediction for `x` [B, ...] at a diffusion step `t`, one for all or [B, 1, ...].

        Raises:
            InputError: it is no prediction of x's shape, or t has not the form that it takes.
        """
        precision = x.dtype if x.dtype == torch.float64 else torch.float32
        if isinstance(t, Tensor):
            times = t.reshape(-1).to(precision)
        else:
            times = torch.full((len(x),), t, dtype=precision, device=x.device)
        times = in_range(times, self.steps, self.t_range)
        given = dict(self._given(x))
        if self.form is None:
            return self._tried(x, times, given)
        if not self.form.fits(times):
            raise InputError(refusal(self.form, times))
        return checked_output(self.network(x, self.form.of(times), **given), x)

    def _given(self, x: Tensor) -> Iterator[tuple[str, Any]]:
        """The further arguments of a call, where x is."""
        for name, value in self.arguments.items():
            if isinstance(value, Tensor):
                value = value.to(x.device)
            if has_rows(value) and self.rows is not None:
                value = value[self.rows.to(value.device)]
            if has_rows(value) and len(value) != len(x):
                raise InputError(f"arguments: {name}: found {len(value)} rows, needed are {len(x)}")
            yield name, value

    def _tried(self, x: Tensor, times: Tensor, given: dict[str, Any]) -> Tensor:
        """A first call, in the first form that the network takes; what it raises where none is."""
        errors: list[Exception] = []
        for form in FORMS:
            if form.name == "[]" and not form.fits(times.round()):
                continue
            try:
                output = checked_output(self.network(x, form.of(times), **given), x)
            except Exception as error:  # whatever user code raises at another form
                errors.append(error)
                continue
            if not form.fits(times):
                raise InputError(refusal(form, times)) from errors[0]
            self.form = form
            return output
        raise next((error for error in errors if isinstance(error, InputError)), errors[0])


def has_rows(value: object) -> bool:
    """Whether an argument of a call has a row for each sample."""
    return isinstance(value, Tensor) and value.ndim > 0


def rows_of(
    arguments: Mapping[str, Any] | None, numbers: Sequence[int] | None = None
) -> dict[str, Any]:
    """The arguments of the samples `numbers`: sample i has row i % N of a tensor [N, ...].

    Args:
        numbers: None: of all that there are.

    Raises:
        InputError: no mapping by name, or a tensor without rows.
    """
    if not isinstance(arguments, Mapping | None):
        raise InputError(
            f"arguments: found {type(arguments).__name__}; give a dict by name, such as "
            "{'y': labels}"
        )
    found = dict(arguments or {})
    for name, value in found.items():
        if has_rows(value):
            if not len(value):
                raise InputError(f"arguments: {name}: holds no rows")
            every = range(len(value)) if numbers is None else numbers
            found[name] = value[torch.tensor(every, device=value.device) % len(value)]
    return found


def refusal(form: Form, times: Tensor) -> str:
    """What is said where times do not have the form that a network takes."""
    if form.whole and not Form("[B]", True).fits(times):
        odd = times[times != times.round()][0]
        return (
            f"denoiser: takes whole times, found t = {odd:g}; give --grid uniform (in Python "
            "grid='uniform')"
        )
    return "denoiser: takes one time for all samples, and here each has its own"


def checked_output(output: Any, x: Tensor) -> Tensor:
    """The one prediction in `output`; InputError where it is none of x's shape."""
    output = unwrapped(output)
    if not isinstance(output, Tensor) or output.shape != x.shape:
        found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise InputError(
            f"denoiser: returned {found} for x of {tuple(x.shape)}; one prediction of x's "
            "shape is needed (wrap a network that also predicts a variance)"
        )
    return output


def unwrapped(output: Any) -> Any:
    """The one item of a dict, dataclass-like output (diffusers) or tuple; else `output` itself."""
    items = list(output.values()) if isinstance(output, Mapping) else output
    return items[0] if isinstance(items, list | tuple) and len(items) == 1 else output
