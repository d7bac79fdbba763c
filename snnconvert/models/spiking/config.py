"""Shape and neurons of a native spiking U-Net."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from snnconvert.common.checks import set_integers
from snnconvert.errors import InputError
from snnconvert.models.family import MOST_STEPS
from snnconvert.neurons.resting import RestingNode, check_neuron, surrogate_of

POSITIVE = ("timesteps", "in_channels", "channels", "blocks", "patch", "diffusion_steps")


@dataclass(frozen=True)
class SpikingUNetConfig:
    """The defaults are SDDPM's CIFAR-10 network (66,696,413 weights, 128,000 of them frozen)."""

    timesteps: int = 4  # spiking simulation steps of a call
    tsm: bool = False  # temporal-wise spiking mechanism: one learned factor a convolution and step
    in_channels: int = 3
    channels: int = 128  # width of the first resolution
    channel_mult: tuple[int, ...] = (1, 2, 2, 4)  # width of each resolution over `channels`
    blocks: int = 2  # residual blocks a resolution on the way down (one more on the way up)
    attention: tuple[int, ...] = ()  # resolutions (0 = finest) with attention; the middle then too
    patch: int = 1  # pixel-unshuffle factor of the stem
    dropout: float = 0.0  # of spikes, before a block's second convolution
    neuron: str = "if"  # "if", "lif" or "plif"
    tau: float = 2.0  # membrane time constant in steps, of "lif" and "plif"
    v_threshold: float = 1.0
    reset: str = "hard"  # "hard" to 0, or "soft": minus the threshold
    surrogate: str = "atan"  # derivative of the firing
    sharpness: float = 2.0  # spikingjelly's alpha of it
    backend: str = "torch"  # or "triton"
    diffusion_steps: int = 1000  # rows of the table of times
    checkpointing: bool = False  # compute activations again in the backward pass, to save memory

    def __post_init__(self) -> None:
        for key in ("channel_mult", "attention"):
            object.__setattr__(self, key, tuple(getattr(self, key)))
        most = {"timesteps": MOST_STEPS}
        set_integers(self, dict.fromkeys(POSITIVE, 1), "Spiking U-Net ", most)
        widths = [self.channels * mult for mult in self.channel_mult]
        problems = [
            (min(widths, default=0) < 1, "channel_mult: 1 or more, at least one"),
            (self.channels % 2 != 0, "channels: an even number (sine and cosine of the time)"),
            (any(not 0 <= level < len(widths) for level in self.attention),
             f"attention: found {self.attention}, allowed are 0 ... {len(widths) - 1}"),
            (not 0 <= self.dropout < 1, f"dropout: found {self.dropout}, allowed is [0, 1)"),
            (not self.sharpness > 0, f"sharpness: found {self.sharpness}, allowed are above 0"),
        ]  # fmt: skip
        for wrong, message in problems:
            if wrong:
                raise InputError(f"Spiking U-Net {message}")
        try:
            check_neuron(self.neuron, self.tau, self.v_threshold, self.reset, self.backend)
            surrogate_of(self.surrogate, self.sharpness)
        except InputError as error:
            raise InputError(f"Spiking U-Net {error}") from error

    def to_dict(self) -> dict[str, object]:
        """Plain values, for a checkpoint."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def node(self) -> RestingNode:
        """A layer of neurons."""
        fire = surrogate_of(self.surrogate, self.sharpness)
        return RestingNode(self.neuron, self.tau, self.v_threshold, self.reset, fire, self.backend)
