"""Tensors without values, of which PyTorch computes shapes and types alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

LOG = "torch._subclasses.fake_tensor"  # writes a traceback of what is caught and said in a line


class Silent(logging.Filter):
    """Lets nothing pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        return False


@contextmanager
def shapes_alone(mixed: bool = False) -> Iterator[FakeTensorMode]:
    """Within it, nothing is allocated and no arithmetic done for what `from_tensor` makes.

    Args:
        mixed: whether operations may read tensors with values beside them.
    """
    logger, silent = logging.getLogger(LOG), Silent()
    logger.addFilter(silent)
    try:
        with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=mixed) as mode:
            yield mode
    finally:
        logger.removeFilter(silent)
