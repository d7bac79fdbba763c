"""A recipe: one flat TOML file that says all of a training."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from snnconvert.checkpoint.recipe_keys import EARLIER, OF_TASK, QUANTIZED, RANGES, as_list
from snnconvert.common.checks import like_default
from snnconvert.common.hardware import DEVICES
from snnconvert.common.registry import nearest
from snnconvert.common.shipped import recipe_file
from snnconvert.errors import InputError, RecipeError
from snnconvert.images.datasets import DATASETS
from snnconvert.models import MODELS, Family

PREDICTIONS = ("eps", "v", "x0")


@dataclass(frozen=True)
class Recipe:
    """Every key of a recipe with its default. Lists in TOML become tuples.

    The keys that shape a network have the meaning that its configuration in `snnconvert.models`
    gives them; a key that the model does not have may not be changed.
    """

    model: str = "unet"  # unet, spiking-unet or resnet
    dataset: str = "fashion-mnist"  # fashion-mnist, cifar10 or folder
    data_root: str = "data"  # where torchvision keeps its files, or the folder of images
    image_size: int = 32
    flip: bool = False  # mirror images at random
    crop: int = 0  # shift images by up to so many pixels at random (classifiers)
    channels: int = 128
    channel_mult: tuple[int, ...] = (1, 2, 2, 2)
    blocks: int = 2
    classes: int = 10
    normalize: str = "none"
    attention: tuple[int, ...] = ()
    norm: str = "group"
    groups: int = 32
    dropout: float = 0.1
    patch: int = 1
    levels: int = 4  # 0: only the float network is trained
    timesteps: int = 0  # 0: as many as levels, which is what a rate code needs
    per_channel: bool = False
    weight_bits: int = 0
    spike_driven: bool = False
    spiking_time: bool = True
    tsm: bool = False
    neuron: str = "if"
    tau: float = 2.0
    v_threshold: float = 1.0
    reset: str = "hard"
    surrogate: str = "atan"
    sharpness: float = 2.0
    backend: str = "torch"
    checkpointing: bool = False
    diffusion_steps: int = 1000
    beta_first: float = 1e-4
    beta_last: float = 0.02
    prediction: str = "eps"  # what a denoiser predicts: "eps" (the noise), "v" or "x0"
    clipped: bool = False  # pixels at an end of their range: a prediction beyond it is no error
    time_power: float = 1.0  # t goes with u^power, u uniform
    initial: str = ""  # checkpoint or state dict that the first stage starts from
    steps: int = 100_000  # of the first stage; 0 takes `initial` as it is
    quantized_steps: int = 100_000  # of the quantised stage
    radix_levels: int = 0  # of a second quantised stage, 2^T - 1 for radix code; 0: none
    radix_steps: int = 0
    quantized_target: str = "data"  # what it learns: "data", or the outputs of the "ann" before it
    critic: float = 0.0  # weight of a critic that tells the two apart; 0: none
    critic_data: float = 0.0  # where little noise is left, against the data; 0: as elsewhere
    batch_size: int = 128
    optimizer: str = "adam"  # "adam" (decoupled weight decay), or "sgd" (momentum 0.9)
    weight_decay: float = 0.0
    learning_rate: float = 2e-4
    quantized_learning_rate: float = 2e-4
    warmup: int = 5000  # steps of linear warm-up in each stage
    decay: str = "cosine"  # "cosine" to zero, or "constant"
    grad_clip: float = 1.0  # largest gradient norm
    ema: float = 0.9999  # decay of the averaged weights, which are what is kept
    seed: int = 0
    device: str = "auto"  # "auto" (a GPU where there is one), "cpu" or "cuda"
    precision: str = "auto"  # "auto", "float32" or "bfloat16" (autocast)
    save_every: int = 500  # steps between two states to resume from
    sample_every: int = 5000  # steps between two sample grids; 0: none
    store: str = "float32"  # "float32" or "float16": precision of the weights in the result

    def __post_init__(self) -> None:
        try:
            family = self.family
        except InputError as error:
            raise RecipeError(f"model: {error}") from error
        if "qann" not in family.stages:
            object.__setattr__(self, "levels", 0)
        elif self.timesteps == 0:
            object.__setattr__(self, "timesteps", self.levels)
        self._refuse_extremes()
        problems = [
            (self.decay not in ("cosine", "constant"), "decay: allowed are cosine and constant"),
            (self.device not in DEVICES,
             f"device: found {self.device!r}, allowed: {', '.join(DEVICES)}"),
            (self.precision not in ("auto", "float32", "bfloat16"),
             f"precision: found {self.precision!r}, allowed are auto, float32 and bfloat16"),
            (self.store not in ("float32", "float16"), "store: allowed are float32 and float16"),
            (self.quantized_target not in ("data", "ann"),
             f"quantized_target: found {self.quantized_target!r}, allowed are data and ann"),
            (self.optimizer not in ("adam", "sgd"), "optimizer: allowed are adam and sgd"),
            (self._lone_values,
             f"batch_size: found {self.batch_size}, and the coarsest resolution is one pixel: a "
             "batch norm needs two values or more; take batch_size = 2 or more, or larger images"),
            ("qann" in family.stages and self.timesteps != self.levels,
             f"timesteps: found {self.timesteps} with levels = {self.levels}; T spikes carry T "
             "levels, leave timesteps out"),
            (self.prediction not in PREDICTIONS,
             f"prediction: found {self.prediction!r}, {nearest(self.prediction, PREDICTIONS)}"
             f"allowed: {', '.join(PREDICTIONS)}"),
            ((self.radix_levels > 0) != (self.radix_steps > 0)
             or (self.radix_levels > 0 and self.levels == 0),
             "radix_levels, radix_steps: both or none, and only with levels"),
            (self.radix_levels & (self.radix_levels + 1) != 0,
             f"radix_levels: found {self.radix_levels}, allowed are 2^T - 1 (1, 3, 7, 15, ...)"),
            (self.judged and (family.task != "noise" or self.quantized_target != "ann"),
             'critic, critic_data: need a denoiser and quantized_target = "ann"; 0: none'),
            (not 0 <= self.ema < 1, f"ema: found {self.ema}, allowed is [0, 1)"),
            (min(self.image_size, self.batch_size, self.save_every) < 1,
             "image_size, batch_size and save_every: allowed are 1 and more"),
            (self.steps < (0 if self.initial else 1),
             f"steps: found {self.steps}, allowed from 1 up (from 0 with `initial`)"),
            (not 0 < self.beta_first <= self.beta_last < 1 or self.diffusion_steps < 1,
             "beta_first, beta_last, diffusion_steps: allowed are 0 < first <= last < 1 and 1 step "
             "or more"),
            (self.levels > 0 and self.quantized_steps < 1, "quantized_steps: allowed from 1 up"),
            (min(self.learning_rate, self.quantized_learning_rate, self.grad_clip) <= 0,
             "learning_rate, quantized_learning_rate and grad_clip: must be positive"),
            (min(self.warmup, self.sample_every, self.weight_decay) < 0,
             "warmup, sample_every and weight_decay: must not be negative"),
            (self.image_size % self.patch != 0 if self.patch > 0 else True,
             f"image_size: {self.image_size} must be a multiple of patch = {self.patch}"),
        ]  # fmt: skip
        for wrong, message in problems:
            if wrong:
                raise RecipeError(message)

    def _refuse_extremes(self) -> None:
        """RecipeError for numbers that are not finite, and for sizes beyond all reason."""
        for name, value in dataclasses.asdict(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise RecipeError(f"{name}: found {value}, a finite number is needed")
        for name, (least, most) in RANGES.items():
            found = getattr(self, name)
            if not least <= max(as_list(found), default=least) <= most:
                raise RecipeError(f"{name}: found {found}, allowed are {least} ... {most}")

    @property
    def family(self) -> Family:
        """The kind of network that is trained. InputError if there is none of that name."""
        return MODELS[self.model]

    @property
    def stages(self) -> tuple[str, ...]:
        """What the training goes through."""
        return tuple(s for s in self.family.stages if s not in self._levels or self._levels[s])

    @property
    def judged(self) -> bool:
        """Whether a critic judges what the quantised networks say."""
        return max(self.critic, self.critic_data) > 0

    @property
    def _lone_values(self) -> bool:
        """Whether some batch norm would see a single value a channel, which has no variance."""
        family = self.family
        by_batch = "norm" not in family.keys or self.norm == "batch"
        shrunk = max(1, self.patch) << max(0, len(self.channel_mult) - 1)
        return by_batch and self.batch_size == 1 and self.image_size <= shrunk

    @property
    def _levels(self) -> dict[str, int]:
        return {"qann": self.levels, "qann-radix": self.radix_levels}

    def levels_of(self, stage: str) -> int:
        """Quantisation steps above zero of a stage's activations; 0 in a float network."""
        return self._levels.get(stage, 0)

    def steps_of(self, stage: str) -> int:
        """Training steps of a stage."""
        steps: int = getattr(self, self.steps_key_of(stage))
        return steps

    def steps_key_of(self, stage: str) -> str:
        """The key that holds the training steps of a stage."""
        return {"qann": "quantized_steps", "qann-radix": "radix_steps"}.get(stage, "steps")

    def rate_key_of(self, stage: str) -> str:
        """The key that holds the learning rate of a stage."""
        return "quantized_learning_rate" if self.levels_of(stage) else "learning_rate"

    @property
    def keys(self) -> list[str]:
        """The keys that mean something for this model, in order."""
        others = {k for family in MODELS.values() for k in family.keys}
        others |= QUANTIZED.union(*OF_TASK.values())
        own = self.family.keys | OF_TASK[self.family.task]
        if "qann" in self.family.stages:
            own |= QUANTIZED | {"timesteps"}
        return [f.name for f in dataclasses.fields(self) if f.name in own or f.name not in others]

    def network(self, in_channels: int, stage: str) -> Any:
        """Configuration of the network of a stage for images of so many channels."""
        family = self.family
        values = {name: getattr(self, name) for name in family.keys}
        if "levels" in values:
            values["levels"] = self.levels_of(stage)
        try:
            return family.config(**{**values, "in_channels": in_channels})
        except InputError as error:
            raise RecipeError(str(error)) from error

    def to_dict(self) -> dict[str, object]:
        """Plain values of the keys that apply, for TOML and checkpoints."""
        values = {key: getattr(self, key) for key in self.keys}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    def to_toml(self) -> str:
        """The resolved recipe as text that `load_recipe` reads back."""
        return tomli_w.dumps(self.to_dict())


def load_recipe(path: str | Path, changes: Sequence[str] = ()) -> Recipe:
    """The recipe at `path`, or of that name, with `key=value` changes applied.

    Raises:
        RecipeError: no such file, no TOML, unknown key (with the nearest name), wrong type.
    """
    path = recipe_file(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # with Notepad's mark, too
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: is no TOML ({error})") from error
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals:
            raise RecipeError(f"--set {change}: write it as key=value")
        values[key.strip()] = parse_value(text.strip())
    recipe = recipe_from_dict(values, str(path))
    if not recipe.data_root:
        raise RecipeError(f"{path}: data_root: is empty; name a folder, '.' for the current one")
    if not 0 <= recipe.crop < max(1, recipe.image_size):
        most = f"{recipe.image_size - 1} (image_size - 1)"
        raise RecipeError(f"{path}: crop: found {recipe.crop}, allowed are 0 ... {most}")
    return recipe


def parse_value(text: str) -> object:
    """A TOML value; what is no TOML is taken as a string, so that quotes may be left out."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def recipe_from_dict(values: Mapping[str, object], source: str) -> Recipe:
    """A checked recipe from plain values; `source` opens every error message."""
    defaults = {f.name: f.default for f in dataclasses.fields(Recipe)}
    checked: dict[str, Any] = {}
    for given, value in values.items():
        key = EARLIER.get(given, given)
        if key not in defaults:
            known = f"{nearest(key, defaults)}`snnconvert recipes --keys` lists all"
            raise RecipeError(f"{source}: unknown key {key!r}: {known}")
        try:
            checked[key] = like_default(key, value, defaults[key])
        except InputError as error:
            raise RecipeError(f"{source}: {error}") from error
    dataset = checked.get("dataset", defaults["dataset"])
    if dataset not in DATASETS:
        told = f"{nearest(str(dataset), DATASETS)}allowed: {', '.join(DATASETS)}"
        raise RecipeError(f"{source}: dataset: found {dataset!r}: {told}")
    try:
        recipe = Recipe(**checked)
        for stage in recipe.stages:
            recipe.network(3, stage)
    except RecipeError as error:
        raise RecipeError(f"{source}: {error}") from error
    foreign = [key for key in checked if key not in recipe.keys]
    if foreign:
        raise RecipeError(
            f"{source}: {', '.join(foreign)}: means nothing for model = {recipe.model!r}; leave out"
        )
    return recipe
