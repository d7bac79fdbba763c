"""diffusers' models and schedulers: converted networks in its pipelines, its schedules in ours.

call = {"sample": x, "timestep": t, "encoder_hidden_states": states}
snn = snnconvert.convert(pipeline.unet, 8, code="radix", simulate="counts",
                         example_inputs=call, calibration=[...])
pipeline.unet = snnconvert.for_pipeline(snn, like=pipeline.unet)

images = snnconvert.sample(network, shape=..., **snnconvert.sampling_of(pipeline.scheduler))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from snnconvert.conversion.graph.values import Outputs, leaves
from snnconvert.conversion.spiking.network import SpikingNetwork, converted
from snnconvert.diffusion.schedule import Schedule
from snnconvert.errors import InputError

PREDICTIONS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}
SPACINGS = ("leading", "linspace", "trailing")
NEARLY_ZERO = 2.0**-24  # abar at the end of a schedule of zero terminal SNR, as diffusers sets it
FIRST = ("sample", "hidden_states")  # what models call the noised image


class PipelineModel(nn.Module):
    """A converted network in the place of `pipeline.unet` or `pipeline.transformer`.

    Takes times without a batch, whole ones too, a batch doubled for guidance, and `return_dict`.
    In a pipeline of another type (`pipeline.to(torch.float16)`) it takes and returns that, and
    computes in the one that it was converted in, to which its thresholds belong.

    Args:
        network: converted from the model.
        config: the model's.

    Attributes:
        place: one number that nothing reads: where the model is and of which type, for pipelines
            and their hooks. (Not empty: accelerate tells tensors by their addresses.)
    """

    def __init__(self, network: SpikingNetwork, config: Any) -> None:
        super().__init__()
        self.network = network
        self.config: Any = config
        own = next((v for v in network.buffers() if v.is_floating_point()), torch.empty(0))
        self.place = nn.Parameter(own.new_zeros(1), requires_grad=False)
        signature = network.program.signature
        if signature is None:
            raise InputError("for_pipeline: the network does not know its arguments; convert again")
        self.parameters_by_position = signature.parameters
        self.fixed = {k: v for k, v in signature.values.items() if k == "return_dict"}
        self.taken = set(signature.values)
        self.wanted = {network.program.label(n): d for n, d in signature.dtypes.items()}

    @property
    def dtype(self) -> torch.dtype:
        """Of what it takes and returns."""
        return self.place.dtype

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.place.device

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PipelineModel:
        """Move or change `place` by `fn`, and move the network with it, in its own type."""
        network = self._modules.pop("network")
        try:
            super()._apply(fn, recurse)
        finally:
            self._modules["network"] = network

        def moved(value: Tensor) -> Tensor:
            like = fn(value.new_empty(0))
            return fn(value) if like.dtype == value.dtype else value.to(like.device)

        self.network._apply(moved)
        return self

    @contextmanager
    def cache_context(self, _name: str) -> Iterator[None]:
        """Pipelines of transformers enter it around each call; nothing is cached here."""
        yield

    def forward(self, *args: Any, return_dict: bool = True, **kwargs: Any) -> Any:
        given = dict(zip(self.parameters_by_position, args, strict=False))
        given.update({name: value for name, value in kwargs.items() if not is_nothing(value)})
        first = next((given[name] for name in FIRST if name in given), None)
        if first is None:
            raise InputError(f"found inputs ({', '.join(given)}), needed is one of {FIRST}")
        spread = {name: self._spread(name, value, first) for name, value in given.items()}
        output = leaves(self.network(**{**spread, **self.fixed}))[0].to(first.dtype)
        return Outputs(sample=output) if return_dict else (output,)

    def _spread(self, name: str, value: Any, first: Tensor) -> Any:
        """A time for each sample, of the type that was captured; other tensors of that type."""
        wanted = self.wanted.get(name)
        if name in ("timestep", "timesteps") and name in self.taken:
            value = torch.as_tensor(value, device=first.device)
            value = value.reshape(-1).expand(len(first)) if value.numel() == 1 else value
        if isinstance(value, Tensor) and wanted is not None and wanted.is_floating_point:
            return value.to(wanted)
        return value


def is_nothing(value: Any) -> bool:
    """None, or a dict of such: what pipelines pass where a model takes no such thing."""
    if isinstance(value, dict):
        return all(map(is_nothing, value.values()))
    return value is None


def for_pipeline(network: nn.Module, like: nn.Module | Mapping[str, Any]) -> PipelineModel:
    """`network`, which was converted from `like`, as a pipeline's own model.

    Args:
        network: converted from a model of diffusers.
        like: that model, whose weights are not kept, or its config (`Model.load_config(...)`).

    Raises:
        InputError: no converted network, or `like` is no model of diffusers.
    """
    snn = converted(network, f"for_pipeline: {type(network).__name__} is no converted network")
    if isinstance(like, Mapping):
        from diffusers.configuration_utils import FrozenDict

        return PipelineModel(snn, FrozenDict(like)).eval()
    if not hasattr(like, "config"):
        raise InputError(f"for_pipeline: {type(like).__name__} has no config; give the model that "
                         "the network was converted from")  # fmt: skip
    return PipelineModel(snn, like.config).eval()


def sampling_of(scheduler: Any) -> dict[str, Any]:
    """What `snnconvert.sample` needs to follow a scheduler: schedule, prediction and grid.

    Args:
        scheduler: of diffusers, its config, or the content of a `scheduler_config.json`.

    Raises:
        InputError: a schedule that is not variance-preserving, or an unknown setting.
    """
    config = dict(getattr(scheduler, "config", scheduler))
    kind = str(config.get("prediction_type", "epsilon"))
    if "num_train_timesteps" not in config or kind not in PREDICTIONS:
        raise InputError(
            f"scheduler: predicts {kind!r}, allowed are {', '.join(PREDICTIONS)} of a "
            "variance-preserving schedule (no flow matching)"
        )
    found = {"schedule": schedule_of(config), "prediction": PREDICTIONS[kind]}
    spacing = config.get("timestep_spacing")
    if spacing is not None and spacing not in SPACINGS:
        raise InputError(f"scheduler: timestep_spacing {spacing!r}, allowed: {', '.join(SPACINGS)}")
    return found if spacing is None else {**found, "grid": spacing}


def schedule_of(config: Mapping[str, Any]) -> Schedule:
    """The noise of a scheduler's config; zero terminal SNR ends at 2^-24, as diffusers has it."""
    count = int(config["num_train_timesteps"])
    first, last = float(config.get("beta_start", 1e-4)), float(config.get("beta_end", 0.02))
    name = config.get("beta_schedule", "linear")
    if config.get("trained_betas") is not None:
        schedule = Schedule.from_betas(config["trained_betas"])
    elif name == "linear":
        schedule = Schedule.linear(count, first, last)
    elif name == "scaled_linear":
        roots = torch.linspace(first**0.5, last**0.5, count, dtype=torch.float64)
        schedule = Schedule.from_betas(roots**2)
    elif name == "squaredcos_cap_v2":
        schedule = Schedule.cosine(count)
    else:
        raise InputError(
            f"scheduler: beta_schedule {name!r}, allowed are linear, scaled_linear and "
            "squaredcos_cap_v2"
        )
    return zero_terminal(schedule) if config.get("rescale_betas_zero_snr") else schedule


def zero_terminal(schedule: Schedule) -> Schedule:
    """Stretched to end in (nearly) pure noise (Lin et al. 2024, algorithm 1); for v networks."""
    roots = schedule.alphas_cumprod.sqrt()
    first, last = roots[0], roots[-1]
    alphas = ((roots - last) * first / (first - last)) ** 2
    alphas[-1] = NEARLY_ZERO
    return Schedule(alphas)
