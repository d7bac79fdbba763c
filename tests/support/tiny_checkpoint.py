"""A checkpoint of an untrained U-Net with an output of ordinary size, float and quantised."""

from __future__ import annotations

from typing import Any

import torch

from snnconvert.checkpoint.recipe import recipe_from_dict
from snnconvert.models.unet import UNet

SIZE = 8


def tiny_content(channels: int = 1) -> dict[str, Any]:
    """Its content: networks, recipe and 12 images."""
    recipe = recipe_from_dict(
        {"image_size": SIZE, "channels": 8, "channel_mult": [1], "blocks": 1, "groups": 4,
         "dropout": 0.0, "levels": 4, "steps": 1, "quantized_steps": 1}, "test",
    )  # fmt: skip
    torch.manual_seed(0)
    networks = {}
    for stage in ("ann", "qann"):
        config = recipe.network(channels, stage)
        network = UNet(config)
        torch.nn.init.normal_(network.tail.weight, std=0.3)
        networks[stage] = {"config": config.to_dict(), "state": network.state_dict()}
    probe = torch.randint(0, 256, (12, channels, SIZE, SIZE), dtype=torch.uint8)
    return {"stage": "qann", "networks": networks, "recipe": recipe.to_dict(), "probe": probe}
