"""A report as one self-contained HTML page: no network, no server, light and dark."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import torch
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from PIL import Image
from torch import Tensor

from snnconvert.images.pictures import tile
from snnconvert.report.causes import own_error
from snnconvert.report.examine import flat
from snnconvert.report.measures.cost import MJ_PER_PJ, PJ_PER_AC
from snnconvert.report.measures.layers import PARTS
from snnconvert.report.network_graph import errors_by_layer
from snnconvert.report.show.curves import (
    drawn_figure,
    energy_figure,
    step_figure,
    time_figure,
    timesteps_figure,
)
from snnconvert.report.show.graph_picture import laid_out
from snnconvert.report.show.neurons import activity_figure, example_figure
from snnconvert.report.verdict import per_cent
from snnconvert.version import __version__

MANY_LAYERS = 40  # beyond, only so many of the worst show their neurons
PIXELS = 2  # of the page for one of a small image
SMALL = 64  # side of an image that is enlarged

ENVIRONMENT = Environment(
    loader=PackageLoader("snnconvert.report.show"), autoescape=True, trim_blocks=True,
    lstrip_blocks=True,
)  # fmt: skip
ENVIRONMENT.filters |= {"per_cent": per_cent, "g3": lambda value: f"{value:.3g}"}


def page(
    content: Mapping[str, Any],
    images: Mapping[str, Mapping[str, Tensor]] | None = None,
    name: str = "network",
) -> str:
    """The HTML of a report.

    Args:
        content: of `report.examine`, or of `compare` alone; what is not in it is left out.
        images: drawn by solver and network, [N, C, H, W] in [-1, 1].
        name: of the network.
    """
    found = dict(content)
    layers = found["layers"]
    order = sorted(range(len(layers)), key=lambda i: -own_error(layers[i]))
    shown = set(order[:MANY_LAYERS])
    widest = max((sum(layer[part] for part in PARTS) for layer in layers), default=0.0) or 1.0
    errors, graph = errors_by_layer(layers), found.get("graph")
    text: str = ENVIRONMENT.get_template("report.html").render(
        c=found,
        name=name,
        version=__version__,
        parts=PARTS,
        layers=[
            {**layer, "number": i, "share": {p: 100 * layer[p] / widest for p in PARTS},
             "threshold": threshold_range(layer["v_threshold"]),
             "figure": activity_figure(layer, i) if "activity" in layer and i in shown else None}
            for i, layer in enumerate(layers)
        ],
        energy=energy_facts(found),
        curves=[
            (words, figure) for words, figure in (
                ("Error after each clock step, against the quantised ANN", step_figure(found)),
                ("How many timesteps: thresholds as they are", timesteps_figure(found)),
                ("Error over the diffusion time", time_figure(found)),
            ) if figure is not None
        ],
        energy_figure=energy_figure(found),
        drawn_figure=drawn_figure(found),
        examples=[(row, example_figure(row, i))
                  for i, row in enumerate(found.get("example") or [])],
        graphs=[laid_out(g, errors) for g in (graph, graph["folded"]) if g] if graph else [],
        worst_error=max(errors.values(), default=0.0),
        pictures={solver: strips(drawn) for solver, drawn in (images or {}).items()},
    )  # fmt: skip
    return text


def threshold_range(theta: Any) -> str:
    """ "1.2", or "0.31 – 2.4"."""
    values = flat(theta)
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} – {high}"


def energy_facts(content: Mapping[str, Any]) -> dict[str, Any]:
    """Spikes a synapse, how many would cost as much as each other network, and which of those would
    be cheaper even if there were none."""
    cost = content["cost"]
    driven = cost["spike_driven_fraction"] * cost["ann_macs"]
    if not driven:
        return {"rate": None}
    accumulation = PJ_PER_AC * MJ_PER_PJ
    fixed = cost["energy_snn_mj"] - cost["acs"] * accumulation
    limits = {
        name: (cost[f"energy_{key}_mj"] - fixed) / (driven * accumulation)
        for key, name in (("qann", "the quantised ANN"), ("ann", "the float one"))
    }
    return {
        "rate": cost["acs"] / driven,
        "limits": {name: limit for name, limit in limits.items() if limit > 0},
        "never": [name for name, limit in limits.items() if limit <= 0],
        "of_ann": cost["energy_snn_mj"] / cost["energy_ann_mj"],
        "of_qann": cost["energy_snn_mj"] / cost["energy_qann_mj"],
    }


def strips(drawn: Mapping[str, Tensor]) -> list[tuple[str, Markup]]:
    """(caption, picture) of each network, and of the difference between the last and the first."""
    found = [(name, data_uri(images)) for name, images in drawn.items()]
    first, last = next(iter(drawn.values())), list(drawn.values())[-1]
    if len(drawn) > 1:
        gap = (last - first).clamp(-1, 1)
        found.append(("difference SNN − float", data_uri(gap)))
    return found


def data_uri(images: Tensor) -> Markup:
    """Images [N, C, H, W] in [-1, 1] in a row, as the address of a PNG that holds them."""
    value = images.detach().float().cpu().clamp(-1, 1)
    if value.shape[1] not in (1, 3):
        value = value.mean(1, keepdim=True)
    if value.shape[-1] <= SMALL:
        value = value.repeat_interleave(PIXELS, 2).repeat_interleave(PIXELS, 3)
    pixels = ((tile(value, len(value)) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(file, format="PNG", optimize=True)
    return Markup("data:image/png;base64," + base64.b64encode(file.getvalue()).decode())
