"""Threshold scaling: other firing thresholds at inference, nothing retrained.

SDM (Cao et al., IEEE TAI, section 3.4) draws better images with every threshold times 0.997 ...
1.003. Below 1 neurons fire more easily (the paper says inhibitory), above 1 less (excitatory);
there is no rule which is best, so search (SDDPM, Cao et al. 2024, section 4.4).
"""

from __future__ import annotations

from torch import nn

from snnconvert.errors import InputError
from snnconvert.neurons.spiking import Spiking, spiking


def scale_thresholds(network: nn.Module, scale: float) -> Spiking:
    """`network` with every firing threshold times `scale`; the weights stay as they are.

    Args:
        network: a converted network or a `SpikingUNet`.
        scale: above 0; 1 changes nothing.

    Raises:
        InputError: a network without neurons, or a senseless scale.
    """
    found = spiking(network)
    if found is None:
        raise InputError(
            f"threshold scale: {type(network).__name__} has no neurons; convert the network first, "
            "or choose a spiking stage"
        )
    return found.scale_thresholds(scale)
