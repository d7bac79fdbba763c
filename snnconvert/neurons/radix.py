"""The radix code: T spikes that mean their binary number instead of how many there are.

After Stöckl & Maass 2021 (few-spike neurons). A neuron that has integrated everything fires the
digits of its result, most significant first: in step k it compares v with w * ceiling / levels,
w = 2^(T-1-k), fires and subtracts. Its target halves the weight of a spike from step to step. With
v_init = ceiling / (2 * levels) (in general: the share v_init of a step) the digits spell the
quantiser's integer of 2^T - 1 levels.

Where the activation is signed, so are the spikes, and all spikes of a neuron have one sign (sign
and magnitude): +1 where v >= w * ceiling / levels, -1 where v < (1 - w) * ceiling / levels.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from snnconvert.neurons.integrate_and_fire import IF


def digit_weights(levels: int) -> list[int]:
    """Weights of the T spikes that carry `levels` = 2^T - 1: 2^(T-1), ..., 2, 1."""
    return [1 << place for place in reversed(range(levels.bit_length()))]


class RadixIF(IF):
    """As `IF`, with `levels` = 2^T - 1 told in T spikes. Deferred firing only."""

    def emit(self, mean: Tensor) -> Iterator[tuple[Tensor, int]]:
        left = self.final(mean)
        for weight in digit_weights(self.levels):
            spikes = left.sign() * (left.abs() >= weight)
            left = left.sub(spikes, alpha=weight)
            yield spikes, weight
