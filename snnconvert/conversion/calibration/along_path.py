"""Calibration on the states that a solver visits, with the network being calibrated itself.

A denoiser is called on what it made. A ceiling just above what noised data shows clips where a
path strays, the correction comes out too small exactly there, and the path runs away. So the
float and the quantised network are followed along a solver's path, what they visit is added to
the statistics, and of several ceilings above those of least error that one is taken with which the
quantised network ends closest to where the float one does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from torch import Tensor

from snnconvert.common.warning import warn
from snnconvert.conversion.calibration.batches import Kept
from snnconvert.conversion.calibration.judged import Judge, Judged, Saturation
from snnconvert.conversion.calibration.path import Call, Follower, Path
from snnconvert.conversion.execution.interpreter import Interpreter
from snnconvert.conversion.graph.program import Program

REACHES = (0.0, 0.5, 0.85, 1.0, 1.25)  # tried; see `SiteDistributions.reached`
FIRST_REACH = 1.0  # of the passes before one is chosen
SLACK = 1.05  # times the least error, within which the farthest reach is taken
DIVERGED = 4.0  # times the largest noised |x|: samples of a network that is trained stay within
STRAYED = 2.0  # times the largest |x| that the float network met: nothing is learned there

Quantised = tuple[Program, dict[str, Tensor]]


@dataclass(frozen=True)
class Trial:
    """A network with ceilings of one reach; `escaped` and `error` as of what is `Judged`."""

    reach: float
    escaped: int
    error: float


def chosen(trials: Sequence[Trial]) -> float:
    """The reach with which fewest samples escape; of those the farthest of about least error."""
    fewest = min(trial.escaped for trial in trials)
    left = [trial for trial in trials if trial.escaped == fewest]
    least = min(trial.error for trial in left)
    return max(trial.reach for trial in left if trial.error <= SLACK * least)


@dataclass
class PathCalibration:
    """What calibration along a path found.

    Attributes:
        reach: where ceilings lie: 0 at the least error of one call, 1 at the largest value seen.
        trials: what was tried.
        visited: inputs that were added to the calibration.
        strayed: inputs that were left out since the path had run away there.
        judge: of networks that are to be handed over; None where there is no path to judge by.
        left_out: options whose training made samples escape, so that its result was not taken.
        judged: of the network that was handed over.
        saturation: of its layers, on calibration data and on the path; see `Saturation`.
    """

    reach: float
    trials: list[Trial] = field(default_factory=list)
    visited: int = 0
    strayed: int = 0
    judge: Judge | None = None
    left_out: list[str] = field(default_factory=list)
    judged: Judged | None = None
    saturation: Saturation | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "reach": self.reach, "trials": [asdict(trial) for trial in self.trials],
            "visited": self.visited, "strayed": self.strayed, "left_out": self.left_out,
            "judged": self.judged.to_dict() if self.judged else None,
            "saturation": self.saturation.to_dict() if self.saturation else None,
        }  # fmt: skip


class AlongPath:
    """Follows a path with the float network and with quantised ones.

    Args:
        path: of a solver.
        follower: of the float network's program.
        plain: runs the float network.
        look: (call, rare), runs it too and adds what it shows to the statistics, of rare inputs
            only how far they go.
        quantised: the network with ceilings of a given reach, from the statistics so far.
        kept: calibration inputs; usual states of the path are added.
    """

    def __init__(
        self, path: Path, follower: Follower, plain: Callable[[Call], Any],
        look: Callable[[Call, bool], object],
        quantised: Callable[[float], Quantised], kept: Kept,
    ) -> None:  # fmt: skip
        self.path, self.follower, self.quantised = path, follower, quantised
        self.plain, self.look = plain, look
        self.kept = kept
        self.found = PathCalibration(FIRST_REACH)

    def calibrate(self) -> PathCalibration:
        """Visit the path, and choose the reach of the ceilings."""
        usual = largest = float(self.follower.like.abs().amax())
        seen = {}
        for rare in (False, True):
            seen[rare], ends = self._followed(self.plain, part_of(rare))
            if not float(ends.abs().amax()) <= DIVERGED * usual:
                warn(
                    "path: the float network's own samples run away on it, so thresholds are "
                    "calibrated without it; check prediction and schedule, and that it is trained"
                )
                return PathCalibration(0.0)
            largest = max([largest, *(float(self._x(call).abs().amax()) for call in seen[rare])])
        for rare, calls in seen.items():
            self._note(calls, rare)
        for _ in range(self.path.passes):
            run = self._quantised(FIRST_REACH)
            for rare in (False, True):
                calls, _ends = self._followed(run, part_of(rare))
                self._note(self._tame(calls, STRAYED * largest), rare)
        self._choose()
        return self.found

    def _choose(self) -> None:
        judge = Judge(self.path, self.follower, self.kept, self.plain)
        for reach in REACHES:
            judged = judge(*self.quantised(reach))
            self.found.trials.append(Trial(reach, judged.escaped, judged.error))
        self.found.reach = chosen(self.found.trials)
        self.found.judge = judge

    def _quantised(self, reach: float) -> Callable[[Call], Any]:
        program, constants = self.quantised(reach)
        return partial(Interpreter(program).run, constants)

    def _followed(self, run: Callable[[Call], Any], part: str) -> tuple[list[Call], Tensor]:
        """What a network visits on a part of the path, and where it ends."""
        calls: list[Call] = []

        def called(call: Call) -> Any:
            calls.append(call)
            return run(call)

        ends = self.path.follow(self.follower.network(called), self.follower.like, part)
        return calls, ends

    def _x(self, call: Call) -> Tensor:
        return call[self.follower.state]

    def _tame(self, calls: Iterable[Call], limit: float) -> Iterator[Call]:
        """The calls without the rows that have run away."""
        for call in calls:
            size = self._x(call).flatten(1).abs().amax(1)
            fine = size <= limit  # False for NaN too
            self.found.strayed += int((~fine).sum())
            if bool(fine.all()):
                yield call
            elif bool(fine.any()) and self.follower.along:
                along = self.follower.along
                yield [value[fine] if i in along else value for i, value in enumerate(call)]

    def _note(self, calls: Iterable[Call], rare: bool) -> None:
        for call in calls:
            self.found.visited += len(self._x(call))
            self.look(call, rare)
            if not rare:
                self.kept.add(call)


def part_of(rare: bool) -> str:
    """The part of a path with usual or with rare starts."""
    return "far" if rare else "usual"
