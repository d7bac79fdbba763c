"""Features and class probabilities of pytorch-fid's Inception network."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from snnconvert.common.hardware import checked_device
from snnconvert.errors import DataError, InputError

DIMS = (64, 192, 768, 2048)
CLASSIFIED = 2048  # class probabilities are computed from these features


class Inception:
    """Inception of the FID paper: uint8 images in, features [B, dims] out.

    The weights lie where torch.hub keeps files (`TORCH_HOME`) and are downloaded where absent.

    Args:
        dims: feature size, 64, 192, 768 or 2048 (the usual FID).
        device: where it runs.

    Attributes:
        weights: first 16 digits of the sha256 of the weights, so that figures can be told apart.
        unscored: why no class probabilities can be had, or None.

    Raises:
        InputError: another `dims`, no such device, or pytorch-fid is not installed.
        DataError: no weights and no download, or they hold NaN in the layers that `dims` needs.
    """

    def __init__(self, dims: int = 2048, device: str = "cpu") -> None:
        check_dims(dims)
        source = pytorch_fid_inception()
        blocks = source.InceptionV3.BLOCK_INDEX_BY_DIM
        network = fetch_inception(source, sorted({blocks[dims], blocks[CLASSIFIED]}))
        self.dims, self.device = dims, checked_device(device)
        self.weights = weights_hash(weights_path(source))
        if holds_nan(network.blocks[: blocks[dims] + 1]):
            usable = [d for d in DIMS if not holds_nan(network.blocks[: blocks[d] + 1])]
            raise DataError(
                f"{weights_path(source)}: these Inception weights hold NaN in the layers of "
                f"{dims} features; usable: --dims {', '.join(map(str, usable)) or 'none'}"
            )
        self.unscored: str | None = None
        classes = class_weights(weights_path(source))
        if holds_nan(network.blocks) or bool(classes.isnan().any()):
            self.unscored = "the Inception weights hold NaN beyond the features used"
        self.deep, self.classes = network.to(self.device), classes.to(self.device)
        self.shallow = copy.copy(self.deep)  # the same layers, run no further than needed
        self.shallow.output_blocks = [blocks[dims]]
        self.shallow.last_needed_block = blocks[dims]

    @torch.no_grad()
    def __call__(self, pixels: Tensor, classify: bool = False) -> tuple[Tensor, Tensor | None]:
        """Features and class probabilities of images.

        Args:
            pixels: uint8 [B, 1 or 3, H, W]; grey is repeated. Inception resizes to 299 x 299.
            classify: whether class probabilities are wanted, which run the network to its end.

        Returns:
            float32 [B, dims] and float32 [B, 1008], or None where not wanted or not possible.
            The classifier's bias is left out, as in the original Inception Score.

        Raises:
            DataError: features that are not finite, or images of another kind.
        """
        if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[1] not in (1, 3):
            raise DataError(
                f"images: found {pixels.dtype} {list(pixels.shape)}, needed uint8 [B, 1 or 3, H, W]"
            )
        colour = pixels.to(self.device).expand(-1, 3, -1, -1).float().div(255)
        classify = classify and self.unscored is None
        outputs = self.deep(colour) if classify else self.shallow(colour)
        features = outputs[0].mean(dim=(2, 3))  # pytorch-fid averages over space too
        if not bool(features.isfinite().all()):
            raise DataError(f"Inception: its {self.dims} features are not finite for some images")
        if not classify:
            return features.cpu(), None
        logits = outputs[-1].mean(dim=(2, 3)) @ self.classes.T
        return features.cpu(), logits.softmax(dim=1).cpu()


def check_dims(dims: int) -> None:
    """InputError for a feature size that Inception does not have."""
    if dims not in DIMS:
        raise InputError(f"dims: found {dims}, allowed are {', '.join(map(str, DIMS))}")


def pytorch_fid_inception() -> ModuleType:
    """The module `pytorch_fid.inception`; InputError with the remedy where it is missing."""
    try:
        from pytorch_fid import inception
    except ImportError as error:
        raise InputError(
            f"evaluation needs pytorch-fid ({error}); pip install 'snnconvert[evaluation]'"
        ) from error
    result: ModuleType = inception
    return result


def weights_path(source: ModuleType) -> Path:
    """Where torch.hub keeps the weights; see `TORCH_HOME`."""
    return (
        Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(source.FID_WEIGHTS_URL).path).name
    )


def fetch_inception(source: ModuleType, blocks: list[int]) -> Any:
    """Inception with the outputs of `blocks`; its weights are downloaded on first use."""
    path = weights_path(source)
    try:
        return source.InceptionV3(blocks).eval()
    except Exception as error:  # a download or a damaged file can raise nearly anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if path.is_file():
            raise DataError(
                f"{path}: these Inception weights cannot be read ({reason}); "
                "delete the file, it is downloaded again"
            ) from error
        raise DataError(
            f"Inception weights: not found at {path} and not downloadable ({reason}); put "
            f"{source.FID_WEIGHTS_URL} there, or set TORCH_HOME to a folder that holds "
            f"hub/checkpoints/{path.name}"
        ) from error


def class_weights(path: Path) -> Tensor:
    """float32 [1008, 2048]: the classifier, which pytorch-fid's feature network leaves out."""
    result: Tensor = torch.load(path, map_location="cpu", weights_only=True)["fc.weight"].float()
    return result


def weights_hash(path: Path) -> str:
    """First 16 hexadecimal digits of a file's sha256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def holds_nan(module: nn.Module) -> bool:
    """Whether any parameter or buffer of `module` is NaN."""
    tensors = [*module.parameters(), *module.buffers()]
    return any(bool(t.isnan().any()) for t in tensors if t.is_floating_point())
