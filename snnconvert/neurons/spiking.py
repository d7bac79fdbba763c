"""What every network that spikes offers, whether it was converted or trained as one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from torch import nn

from snnconvert.common.checks import checked_number
from snnconvert.common.inputs import KnowsInputs


@dataclass(frozen=True)
class CallRecord:
    """What `Spiking.history` keeps of one call.

    Attributes:
        steps: clock steps it took.
        spikes: of either sign, per input of the batch.
        counts: sum of the absolute counts in which it ended, per input of the batch.
        carried: True where it went on from the counts of the call before.
    """

    steps: int
    spikes: float
    counts: float
    carried: bool


class Spiking(nn.Module, KnowsInputs, ABC):
    """A network of neurons with its clock inside; call it like one that does not spike.

    Attributes:
        stage: what checkpoints call it.
        config: how it spikes, a dataclass.
        history: a `CallRecord` per call after `keep_history()`; None where none is kept.
    """

    stage: ClassVar[str]
    config: Any
    history: list[CallRecord] | None = None

    @property
    @abstractmethod
    def layers(self) -> dict[str, str]:
        """Module path of each neuron layer by the layer's name, in execution order."""

    @property
    @abstractmethod
    def description(self) -> str:
        """One line: size and neurons."""

    @abstractmethod
    def to_content(self) -> dict[str, Any]:
        """Plain values and tensors, as they lie in a checkpoint."""

    @abstractmethod
    def _with_thresholds(self, scale: float) -> Spiking:
        """As `scale_thresholds`, for a scale that makes sense and is not 1."""

    def scale_thresholds(self, scale: float) -> Spiking:
        """The network with every firing threshold times `scale`; the weights are shared.

        Args:
            scale: above 0; 1 changes nothing.

        Raises:
            InputError: a senseless scale.
        """
        scale = checked_number("threshold scale", scale, "(0, inf)")
        return self if scale == 1 else self._with_thresholds(scale)

    def keep_history(self) -> None:
        """From now on `history` holds calls; a network that has nothing to tell keeps None."""

    def reset(self) -> None:
        """Forget what is carried from call to call; here: nothing is."""


def spiking(network: object) -> Spiking | None:
    """`network` if it spikes; None for one of any other kind."""
    return network if isinstance(network, Spiking) else None


def settings_of(network: object) -> dict[str, Any] | None:
    """How `network` spikes, for a report; None where it does not."""
    found = spiking(network)
    return None if found is None else asdict(found.config)
