"""Threshold guidance: other firing thresholds at inference, nothing retrained.

SDM (Cao et al., IEEE TAI, section 3.4) draws better images with every threshold times 0.997 ...
1.003. Below 1 neurons fire more easily (the paper says inhibitory), above 1 less (excitatory).
"""

from __future__ import annotations

import math

from torch import nn

from snnconvert.conversion import guidance
from snnconvert.conversion.network import SpikingNetwork
from snnconvert.errors import InputError
from snnconvert.models import SpikingUNet
from snnconvert.models.spiking_variants import scale_thresholds as scale_native


def scale_thresholds(network: nn.Module, scale: float) -> nn.Module:
    """`network` with every firing threshold times `scale`; the weights stay as they are.

    Args:
        network: a converted network or a `SpikingUNet`.
        scale: above 0; 1 changes nothing.

    Raises:
        InputError: a network without neurons, or a senseless scale.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise InputError(f"threshold scale: found {scale}, allowed are numbers above 0")
    if isinstance(network, SpikingNetwork):
        return network if scale == 1 else guidance.scale_thresholds(network, scale).eval()
    if isinstance(network, SpikingUNet):
        return network if scale == 1 else scale_native(network, scale)
    raise InputError(
        f"threshold scale: {type(network).__name__} has no neurons; convert the network first, or "
        "choose a spiking stage"
    )
