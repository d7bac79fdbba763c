"""Seeds of independent random streams, a function of the user's seed and an index alone."""

from __future__ import annotations

from snnconvert.common.checks import checked_integer

GOLDEN = 0x9E3779B1  # 2^32 / golden ratio, odd
STREAMS = (
    "sampling",
    "calibration",
    "ann",
    "qann",
    "order",
    "moments",
    "spiking",
    "statistics",
    "tuning",
    "qann-radix",
    "paths",
    "critic",
)
STREAMS_PER_SEED = 25  # odd, or seeds would meet modulo 2^32; keeps the first 1000 far apart
LARGEST_SEED = 2**31 - 1


def stream_seed(seed: int, index: int, stream: str = "sampling") -> int:
    """Seed of element `index` (an image, a training step, an epoch) of one stream.

    torch's CPU generator takes the low 32 bits of a seed and drops the rest, so everything has to
    reach those. Within a stream indices never collide; multiples of 2^32 / golden ratio keep
    streams and neighbouring user seeds millions of indices apart.

    Raises:
        InputError: `seed` is no integer in 0 ... 2^31 - 1.
    """
    seed = checked_integer("seed", seed, 0, LARGEST_SEED)
    first = (seed * STREAMS_PER_SEED + STREAMS.index(stream)) * GOLDEN
    return (first + index) % (1 << 32)
