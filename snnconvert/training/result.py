"""What a training leaves: its networks, held-out images, and where they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from snnconvert.checkpoint.format import save_checkpoint
from snnconvert.checkpoint.recipe import Recipe
from snnconvert.errors import DataError
from snnconvert.images.pixels import Images
from snnconvert.models.family import entry_of
from snnconvert.version import __version__

PROBES = 256  # held-out images that travel in the checkpoint


def save_result(
    out: Path, recipe: Recipe, state: dict[str, Any], training: Images, held_out: Images,
    ran: dict[str, Any],
) -> None:  # fmt: skip
    """Write the checkpoint of a finished training.

    Args:
        state: at the end, with the averaged weights by stage.
        ran: how it ran (device, precision, processes), for the provenance.

    Raises:
        DataError: there are no held-out images.
        InputError: `out` cannot be written.
    """
    count = min(PROBES, len(held_out))
    if count == 0:
        raise DataError(f"{recipe.dataset}: has no held-out images")
    stored = torch.float16 if recipe.store == "float16" else None
    networks = {}
    for stage, weights in state["finished"].items():
        network = recipe.family.build(recipe.network(training.channels, stage))
        network.load_state_dict(weights)
        networks[stage] = entry_of(network, stored)
    provenance = {
        "dataset": recipe.dataset,
        "training_images": len(training),
        "images_seen": {
            stage: len(state["losses"][stage]) * recipe.batch_size for stage in networks
        },
        "weights": f"exponential moving average, decay {recipe.ema}, kept in {recipe.store}",
        "seed": recipe.seed,
        "torch": str(torch.__version__),
        "snnconvert": __version__,
        **ran,
    }
    save_checkpoint(
        out,
        {
            "stage": "qann" if "qann" in networks else list(networks)[-1],
            "networks": networks,
            "recipe": recipe.to_dict(),
            "probe": held_out.take(range(count)),
            "provenance": provenance,
        },
    )
