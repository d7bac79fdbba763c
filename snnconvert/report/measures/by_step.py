"""The error of a network's output after each of its clock steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from snnconvert.report.measures.difference import Difference


class ByStep:
    """Error and spikes after each step, over calls of different lengths, without their outputs.

    A call that has ended stays as it is while others go on.
    """

    def __init__(self) -> None:
        self.rows: list[Difference] = []
        self.spikes: list[float] = []
        self.ended = Difference()  # of every call so far, as it ended

    def add(self, by_step: Sequence[tuple[Any, int]], wanted: Any) -> None:
        """One call.

        Args:
            by_step: (output after the step, spikes in the step) per step.
            wanted: what the output should be.
        """
        while len(self.rows) < len(by_step):
            self.rows.append(Difference().merge(self.ended))
            self.spikes.append(0)
        last = Difference()
        for index, row in enumerate(self.rows):
            if index < len(by_step):
                output, spikes = by_step[index]
                last = Difference()
                last.add(output, wanted)
                self.spikes[index] += spikes
            row.merge(last)
        self.ended.merge(last)

    def to_list(self, steps: int, images: int) -> list[dict[str, float]]:
        """A row a step.

        Args:
            steps: clock steps of the longest call; where they are more than were recorded, the
                first ones fired nothing (deferred).
        """
        first = steps - len(self.rows)
        return [
            {"step": first + index + 1, "relative_error": row.relative_error,
             "spikes": spikes / images}
            for index, (row, spikes) in enumerate(zip(self.rows, self.spikes, strict=True))
        ]  # fmt: skip
