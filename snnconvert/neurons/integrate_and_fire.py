"""Integrate-and-fire with the spike count as its state.

A neuron with threshold theta, start v = v_init*theta (half of it, if nothing else is said) and soft
reset that has seen the mean input m over s steps and emitted n spikes has the potential

    v = s*m + v_init*theta - theta*n

so "v >= theta" is "floor(s*m/theta + v_init) > n" and "v < 0" is "floor(s*m/theta + v_init) < n".
Holding n instead of v leaves nothing to round: counts are small integers, exact in floating point,
and the comparison uses the very expression of the quantiser.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from snnconvert.operators.clip import HALF, Factors, counted, quantised
from snnconvert.operators.kept_factors import Kept, kept_factors
from snnconvert.operators.pieces import pieces


@dataclass(frozen=True)
class IF:
    """Integrate-and-fire neurons of one layer.

    Attributes:
        v_threshold: [] or [C], the ceiling of the activation they replace.
        levels: the largest count; T under the rate code.
        lowest: smallest count: 0, or -levels where the activation is signed.
        v_init: where the potential starts, in thresholds: [] or [C], or a number.
    """

    v_threshold: Tensor
    levels: int
    lowest: int = 0
    v_init: Tensor | float = HALF
    _kept: Kept = field(default_factory=dict, repr=False, compare=False)

    @property
    def ceiling(self) -> Tensor:
        """Of the activation they replace."""
        return self.v_threshold

    def factors(self, steps: int, x: Tensor) -> Factors:
        """What counting in `steps` steps takes over values like `x`."""
        return kept_factors(self._kept, self.v_threshold, steps, self.v_init, x)

    def target(self, mean: Tensor, steps: int) -> Tensor:
        """The count that `steps` steps of mean input `mean` call for."""
        scale, _, start = self.factors(steps, mean)
        return counted(mean, scale, start, self.lowest, self.levels)

    def final(self, mean: Tensor) -> Tensor:
        """The count in which a whole call with mean input `mean` ends: the quantiser's integer."""
        return self.target(mean, self.levels)

    def value(self, counts: Tensor, steps: int | None = None) -> Tensor:
        """The mean current that `counts` in `steps` steps (default: a whole call) stand for."""
        return counts * self.factors(self.levels if steps is None else steps, counts).unit

    def settled(self, mean: Tensor, out: Tensor | None = None) -> Tensor:
        """`value(final(mean))`, without keeping the counts; `out` may be `mean` itself."""
        return quantised(mean, self.factors(self.levels, mean), self.lowest, self.levels, out)

    def advance(
        self, mean: Tensor, counts: Tensor | None, steps: int, signed: bool, reuse: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Fire once: the counts, changed in place, and the mean current that they stand for.

        As `target`, `allowed` and `value` one after the other, without keeping the spikes.

        Args:
            counts: None: zeros.
            reuse: write the current over `mean`.
        """
        held = torch.empty_like(mean) if counts is None else counts
        value = mean if reuse else torch.empty_like(mean)
        factors = self.factors(steps, mean)
        for x, n, result, scale, unit, start in pieces(mean, held, value, *factors):
            if counts is None:
                counted(x, scale, start, max(self.lowest, -1), 1, n)
            else:
                missing = counted(x, scale, start, self.lowest, self.levels, result).sub_(n)
                n.add_(self.allowed(missing, signed, missing))
            torch.mul(n, unit, out=result)
        return held, value

    def spikes(self, counts: Tensor, target: Tensor, signed: bool) -> Tensor:
        """Spikes of one step, at most one a neuron, from `counts` towards `target`.

        signed: +1 or -1 (a spike is taken back); else +1 only, the classical neuron. Where the
        activation itself is signed both are needed and always allowed.
        """
        return self.allowed(target - counts, signed)

    def allowed(self, missing: Tensor, signed: bool, out: Tensor | None = None) -> Tensor:
        """The spikes of one step that bring a count nearer to its target, `missing` away."""
        return torch.clamp(missing, -1 if signed or self.lowest < 0 else 0, 1, out=out)

    def emit(self, mean: Tensor) -> Iterator[tuple[Tensor, int]]:
        """(spikes, weight of each) in every step of a deferred firing window, having seen `mean`.

        Spikes are in {0, 1}, or {-1, 0, 1} where the activation is signed; all spikes of one
        neuron have one sign.
        """
        target = self.final(mean)
        sign, size = target.sign(), target.abs()
        for fired in range(self.levels):
            yield sign * (size > fired), 1
