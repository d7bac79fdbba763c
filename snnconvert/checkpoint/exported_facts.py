"""What an exported ONNX file says of itself: its metadata, one JSON value a key.

snnconvert.format      1
snnconvert.form        "deferred", "step" or "clock"
snnconvert.config      how it spikes: the fields of `SpikingConfig`
snnconvert.timesteps, snnconvert.firing, snnconvert.code   the three of them that matter most
snnconvert.decode      how spikes become values, in words
snnconvert.thresholds  {layer: values (or shape, where they are many)}
snnconvert.signature, snnconvert.inputs, snnconvert.output   how a call's arguments become inputs
snnconvert.states      {input name: shape, -k for k rows a sample} of the step form
snnconvert.bound       clock steps after which silence is certain
snnconvert.prediction, snnconvert.schedule, snnconvert.ranges   of a denoiser
snnconvert.recipe      of a training of ours
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from snnconvert.checkpoint.format import RANGES
from snnconvert.common.denoises import is_pair
from snnconvert.conversion.graph.encoding import decode, encode
from snnconvert.conversion.graph.signature import Signature
from snnconvert.conversion.spiking.config import SpikingConfig
from snnconvert.errors import CheckpointError

PREFIX = "snnconvert."
FORMAT = 1
FORMS = ("deferred", "step", "clock")


@dataclass(frozen=True)
class ExportedFacts:
    """What is known of an exported network.

    Attributes:
        form: "deferred" (one pass over counts), "step" (one time step, counts in and out) or
            "clock" (a loop over steps).
        config: how it spikes.
        inputs, names: of the program, and what the file calls them.
        signature: how a call's arguments become the inputs.
        output: what a call returns: `Ref`s to the file's outputs, nested.
        layers: the user's path of each neuron layer by node name.
        thresholds: values of each layer as lists (or the shape, where they are many).
        states: shape of each count by the name of its input; -k stands for k rows a sample.
        bound: clock steps after which nothing can happen; exact where settle is a number.
        prediction, schedule: of a denoiser, alphas_cumprod of its noise; None where unknown.
        recipe: of the training, or {}.
        ranges: of a denoiser: (low, high) of the data, (first, last) of its times, where known.
    """

    form: str
    config: SpikingConfig
    inputs: tuple[str, ...]
    names: tuple[str, ...]
    signature: Signature | None
    output: Any
    layers: dict[str, str]
    thresholds: dict[str, Any] = field(default_factory=dict)
    states: dict[str, tuple[int, ...]] = field(default_factory=dict)
    bound: int = 0
    prediction: str | None = None
    schedule: list[float] | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def decode(self) -> str:
        """How spikes become values, in words."""
        if self.config.code == "radix":
            return "value = v_threshold * (binary number of the spikes) / (2^timesteps - 1)"
        return "value = v_threshold * (number of spikes) / timesteps"

    def to_metadata(self) -> dict[str, str]:
        """As strings by key, for `metadata_props`."""
        config = asdict(self.config)
        values = {
            "format": FORMAT, "form": self.form, "config": config,
            **{key: config[key] for key in ("timesteps", "firing", "code")},
            "decode": self.decode, "thresholds": self.thresholds, "layers": self.layers,
            "inputs": list(self.inputs), "names": list(self.names), "output": encode(self.output),
            "signature": encode(self.signature.to_dict()) if self.signature else None,
            "states": {name: list(shape) for name, shape in self.states.items()},
            "bound": self.bound, "prediction": self.prediction, "schedule": self.schedule,
            "recipe": self.recipe, "ranges": self.ranges,
        }  # fmt: skip
        return {f"{PREFIX}{key}": json.dumps(value) for key, value in values.items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], source: str) -> ExportedFacts:
        """Inverse of `to_metadata`. CheckpointError where it says something else."""
        try:
            found = {key.removeprefix(PREFIX): json.loads(metadata[key])
                     for key in metadata if key.startswith(PREFIX)}  # fmt: skip
            if found["format"] != FORMAT or found["form"] not in FORMS:
                raise CheckpointError(
                    f"{source}: was exported in format {found['format']} as {found['form']!r}; "
                    f"this snnconvert reads format {FORMAT}: {', '.join(FORMS)}"
                )
            signature = found["signature"]
            return cls(
                found["form"], SpikingConfig(**found["config"]), tuple(found["inputs"]),
                tuple(found["names"]),
                Signature.from_dict(decode(signature)) if signature else None,
                decode(found["output"]), dict(found["layers"]), dict(found["thresholds"]),
                {name: tuple(shape) for name, shape in found["states"].items()},
                int(found["bound"]), found["prediction"], found["schedule"], dict(found["recipe"]),
                ranges_in(found.get("ranges", {})),
            )  # fmt: skip
        except CheckpointError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"{source}: its metadata is damaged ({error})") from error


def ranges_in(found: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """The ranges of a denoiser. ValueError for others than there are, or what is no pair."""
    pairs = {name: tuple(map(float, pair)) for name, pair in found.items()}
    if not set(pairs) <= set(RANGES) or not all(map(is_pair, pairs.values())):
        raise ValueError(f"ranges: found {dict(found)}")
    return pairs  # type: ignore[return-value]
