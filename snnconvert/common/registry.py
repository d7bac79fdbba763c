"""Named things that one file adds and everyone finds: solvers, datasets, models, op rules."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from snnconvert.errors import InputError

T = TypeVar("T")


def nearest(name: str, allowed: Iterable[str]) -> str:
    """`"did you mean 'x'? "` for the allowed name closest to `name`, or an empty string."""
    found = difflib.get_close_matches(name, list(allowed), n=1)
    return f"did you mean {found[0]!r}? " if found else ""


class Registry(Mapping[str, T]):
    """A dictionary that refuses duplicates and whose look-up error lists what there is.

    Raises:
        InputError: on look-up of a name that nobody registered.
        KeyError: when a name is registered twice (a programming error).
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that files the decorated object under `name`."""

        def add(entry: T) -> T:
            if name in self._entries:
                raise KeyError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = entry
            return entry

        return add

    def unregister(self, name: str) -> T:
        """Take out the entry `name` and return it; InputError where there is none."""
        entry = self[name]
        del self._entries[name]
        return entry

    def __getitem__(self, name: str) -> T:
        if name not in self:
            raise InputError(
                f"unknown {self.kind} {name!r}: {nearest(str(name), self._entries)}"
                f"available: {', '.join(sorted(self._entries))}"
            )
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
