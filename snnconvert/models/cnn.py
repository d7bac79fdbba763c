"""Residual networks for 32 x 32 images (He et al. 2016, section 4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from snnconvert.errors import CheckpointError

WIDTHS = (16, 32, 64)


class BasicBlock(nn.Module):
    """conv-bn-ReLU-conv-bn plus shortcut, then ReLU.

    Where the width grows the shortcut is the original's option A: every second pixel, and zeros
    for the new channels, half before and half after the old ones. It has no weights.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, self.added = stride, outputs - inputs
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.bn1(self.conv1(x)))
        h = self.bn2(self.conv2(h))
        before = self.added // 2
        padding = (0, 0, 0, 0, before, self.added - before)
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], padding) if self.added else x
        return F.relu(h + shortcut)


class ResNet(nn.Module):
    """[B, 3, 32, 32] -> logits [B, classes]; 6 * blocks + 2 layers.

    Args:
        blocks: residual blocks a width; 3 is ResNet-20 (269,722 weights with 10 classes).
        classes: number of outputs.
    """

    def __init__(self, blocks: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        width = WIDTHS[0]
        for number, wide in enumerate(WIDTHS, 1):
            stage = nn.Sequential()
            for block in range(blocks):
                stride = 2 if number > 1 and block == 0 else 1
                stage.append(BasicBlock(width, wide, stride))
                width = wide
            self.add_module(f"layer{number}", stage)
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.bn1(self.conv1(x)))
        for number in range(1, len(WIDTHS) + 1):
            h = self.get_submodule(f"layer{number}")(h)
        return self.linear(h.mean((2, 3)))


def resnet20(state: Mapping[str, Any] | None = None) -> ResNet:
    """ResNet-20, with the weights of a public checkpoint if given.

    Args:
        state: a state dict, or a dict that holds one under "state_dict"; the prefix "module." that
            `nn.DataParallel` leaves is removed.

    Raises:
        CheckpointError: it holds other tensors than a ResNet-20 has.
    """
    model = ResNet(3)
    if state is not None:
        inner = state.get("state_dict", state)
        weights = {key.removeprefix("module."): value for key, value in inner.items()}
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            first = " ".join(line.strip() for line in str(error).splitlines()[:2])
            raise CheckpointError(f"ResNet-20: other tensors than it has: {first}") from error
    return model.eval()
