"""Networks that this project trains."""

from snnconvert.models.spiking_config import SpikingUNetConfig
from snnconvert.models.spiking_unet import SpikingUNet

__all__ = ["SpikingUNet", "SpikingUNetConfig"]
