"""What the answers of one network after the other are worth: accuracy, or FID of their images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from snnconvert.common.checks import checked_integer
from snnconvert.diffusion.sampling import Plan, allowed_batch, device_of
from snnconvert.errors import InputError
from snnconvert.evaluation.classified import batches_of, normalised, right_share
from snnconvert.evaluation.evaluate import inception_for
from snnconvert.evaluation.fidelity import fidelity
from snnconvert.evaluation.resolve import Reference
from snnconvert.evaluation.sampled import Drawing, SampledSource
from snnconvert.images.pixels import Images

Quality = Callable[[nn.Module], float]


def accuracy_on_images(
    images: Images, count: int | None, *, batch_size: int, mean: Sequence[float],
    std: Sequence[float],
) -> Quality:  # fmt: skip
    """Share of labelled images that a classifier tells right.

    Args:
        images: with labels.
        count: only so many of them, the first ones; default all.
        mean, std: of pixels 0 ... 1, which networks want taken out.

    Raises:
        InputError: no labels, or `count` out of range.
    """
    labels = images.labels
    if labels is None:
        raise InputError("accuracy: the images have no labels")
    count = checked_integer("count", len(images) if count is None else count, 1, len(images))

    def share(network: nn.Module) -> float:
        pairs = batches_of(images, labels, count, allowed_batch(network, batch_size))
        device = device_of(network)
        return right_share(
            network, (([normalised(x, mean, std).to(device)], y.to(device)) for x, y in pairs)
        )

    return share


def accuracy_on_tensors(values: Sequence[Tensor], batch_size: int) -> Quality:
    """Share of inputs that a classifier tells right.

    Args:
        values: a tensor [N, ...] for each input of the network, and the labels [N].

    Raises:
        InputError: labels alone.
    """
    if len(values) < 2:
        raise InputError(
            f"accuracy: found {len(values)} tensors, needed are the inputs and their labels"
        )

    def share(network: nn.Module) -> float:
        size = allowed_batch(network, batch_size)
        device = device_of(network)
        *inputs, labels = (value.to(device).split(size) for value in values)
        return right_share(network, zip(zip(*inputs, strict=True), labels, strict=True))

    return share


def fid_of_drawn(
    plan: Plan, shape: tuple[int, int, int], against: Reference, *, count: int, dims: int | None,
    seed: int, batch_size: int, device: str,
) -> tuple[str, Quality]:  # fmt: skip
    """(name of the figure, FID of what a denoiser draws from equal seeds).

    Args:
        plan: by which it draws.
        shape: [C, H, W] of an image.
        dims: features; default as `against`, else 2048.

    Raises:
        InputError: too few images, another feature size.
        DataError: another image size.
    """
    origin: dict[str, Any] = {"kind": "network", "source": "sweep", "sha256": None, "stage": None}
    drawing = Drawing(plan, seed, batch_size)

    def drawn(network: nn.Module) -> SampledSource:
        return SampledSource(network, drawing, count, shape, origin)

    inception = inception_for(drawn(nn.Identity()), against, dims, device, count, False)

    def distance(network: nn.Module) -> float:
        found = fidelity(drawn(network), against, inception, count=count, score=False,
                         batch_size=batch_size)  # fmt: skip
        return float(found.to_dict()["fid"])

    return f"FID-{inception.dims}", distance
