"""What a network says of the inputs that it takes; most say nothing."""

from __future__ import annotations

from dataclasses import dataclass

TIMES = ("t", "timestep", "timesteps", "time", "sigma")  # what networks call their time


@dataclass(frozen=True)
class Inputs:
    """What is known of the inputs of a network.

    Attributes:
        shapes: of each, -1 where the batch is; () where the network was captured without them,
            None for a network that was not captured.
        largest_batch: that its own code allows; None for any.
        fixed_batch: the only one that it takes; None where it takes others too.
    """

    shapes: tuple[tuple[int, ...], ...] | None = None
    largest_batch: int | None = None
    fixed_batch: int | None = None

    @property
    def words(self) -> str:
        """Shapes of all inputs, of any batch: "[B, 3, 8, 8], [B]"."""
        sizes = [["B" if size < 0 else str(size) for size in shape] for shape in self.shapes or ()]
        return ", ".join(f"[{', '.join(shape)}]" for shape in sizes)

    @property
    def has_time(self) -> bool:
        """Whether the second input is one number a sample, or one for all."""
        second = (self.shapes or ())[1:2]
        return len(second) == 1 and all(size == 1 for size in second[0][1:])


class KnowsInputs:
    """A network that says what it takes; here: nothing is known."""

    @property
    def takes(self) -> Inputs:
        return Inputs()


def inputs_of(network: object) -> Inputs:
    """What `network`, of any kind, says of its inputs."""
    return network.takes if isinstance(network, KnowsInputs) else Inputs()
