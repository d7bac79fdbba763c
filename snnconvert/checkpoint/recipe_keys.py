"""What each key of a recipe means, how large it may be and where it applies."""

from __future__ import annotations

import dataclasses
from typing import Any

from snnconvert.common.randomness import LARGEST_SEED

RANGES = {
    "image_size": (0, 4096), "channels": (0, 8192), "channel_mult": (0, 64), "blocks": (0, 64),
    "patch": (0, 64), "classes": (0, 1_000_000), "batch_size": (0, 65_536),
    "diffusion_steps": (0, 100_000), "levels": (0, 65_535), "radix_levels": (0, 65_535),
    "timesteps": (0, 65_535),  # after levels, from which it may follow
    "time_power": (0.1, 10), "critic": (0, 1), "critic_data": (0, 1),
    "seed": (0, LARGEST_SEED),
}  # fmt: skip
# with quantised stages
QUANTIZED = {"levels", "quantized_steps", "quantized_learning_rate", "quantized_target",
             "critic", "critic_data", "radix_levels", "radix_steps"}  # fmt: skip
OF_TASK = {
    "noise": {"diffusion_steps", "beta_first", "beta_last", "prediction", "clipped", "time_power",
              "sample_every"},
    "classes": {"crop"},
}  # fmt: skip
EARLIER = {"quantized_clipped": "clipped", "quantized_time_power": "time_power"}  # still read

KEYS = {
    "model": "kind of network: unet, spiking-unet or resnet",
    "dataset": "fashion-mnist, cifar10, or folder (any folder of images, of which each "
    "twentieth is held out)",
    "data_root": "where torchvision keeps its files (it downloads what is missing), or the folder",
    "image_size": "pixels a side; data sets are padded, images of a folder cropped and resized",
    "flip": "mirror images at random",
    "crop": "shift images by up to so many pixels at random (classifiers); below image_size",
    "channels": "width of the first resolution",
    "channel_mult": "width of each resolution, over `channels`; one entry a resolution",
    "blocks": "residual blocks a resolution",
    "classes": "how many a classifier tells apart",
    "normalize": "of a classifier: none, or imagenet (its mean and standard deviation)",
    "attention": "resolutions with self-attention, 0 being the finest",
    "norm": "of a U-Net: group or batch",
    "groups": "of a group norm; must divide every width",
    "dropout": "share of activations dropped in training",
    "patch": "the first convolution sees squares of so many pixels as channels",
    "levels": "steps above zero of a quantised activation, which are the T of a rate code; "
    "0: only the float network is trained",
    "timesteps": "spiking steps T; of a network to be converted it follows from `levels`",
    "per_channel": "one ceiling (later: threshold) a channel instead of a layer",
    "weight_bits": "bits of the weights; 0: float weights",
    "spike_driven": "every convolution but the first reads activations, so that all are additions "
    "in the spiking network",
    "spiking_time": "quantise the path of the diffusion time too; false: it becomes a table",
    "tsm": "native spiking: temporal-wise spiking mechanism, a learned factor a step",
    "neuron": "native spiking: if, lif or plif",
    "tau": "native spiking: membrane time constant in steps, of lif and plif",
    "v_threshold": "native spiking: firing threshold",
    "reset": "native spiking: hard (to zero) or soft (minus the threshold)",
    "surrogate": "native spiking: derivative of the firing: atan, sigmoid, erf, soft_sign, "
    "piecewise_quadratic, piecewise_exp or rect",
    "sharpness": "native spiking: of the surrogate (spikingjelly's alpha)",
    "backend": "native spiking: torch, or triton (fused kernel on a GPU)",
    "checkpointing": "native spiking: compute activations again in the backward pass; less memory, "
    "more time",
    "diffusion_steps": "length of the noise schedule",
    "beta_first": "first beta of the linear noise schedule",
    "beta_last": "last beta of it",
    "prediction": "what a denoiser predicts: eps (the noise), v (best with few levels) or x0",
    "clipped": "where a clean pixel lies at an end of its range, a prediction beyond it is no "
    "error, since samplers clip",
    "time_power": "t goes with u^power, u uniform; above 1 more of the little noised, whose errors "
    "no later step repairs",
    "initial": "checkpoint or state dict that the first stage starts from; empty: random weights",
    "steps": "training steps of the first stage; 0 takes `initial` as it is",
    "quantized_steps": "training steps of the quantised stage",
    "radix_levels": "levels of a second quantised stage, 2^T - 1 for the radix code; 0: none",
    "radix_steps": "training steps of that stage",
    "quantized_target": "what quantised stages learn: data, or ann (the float network's answers)",
    "critic": "weight of a critic, a small network that learns to tell the quantised network's "
    "clean images from the float one's, which it then learns to lose, in the last quarter of each "
    "quantised stage; 0: none",
    "critic_data": "its weight where little noise is left, against the clean images themselves; "
    "0: against the float network's there, too",
    "batch_size": "images a step, of all processes together",
    "optimizer": "adam (decoupled weight decay) or sgd (momentum 0.9)",
    "weight_decay": "of the optimizer",
    "learning_rate": "of the first stage",
    "quantized_learning_rate": "of the quantised stages",
    "warmup": "steps in which the learning rate rises, in each stage",
    "decay": "of the learning rate: cosine (to zero) or constant",
    "grad_clip": "largest norm of the gradient",
    "ema": "decay of the averaged weights, which are what is kept",
    "seed": "of weights, batches and noise",
    "device": "auto (a GPU where there is one), cpu or cuda",
    "precision": "auto, float32 or bfloat16 (autocast)",
    "save_every": "steps between two states to resume from",
    "sample_every": "steps between two grids of samples; 0: none",
    "store": "precision of the weights in the result: float32 or float16",
}


def key_table(recipe: type[Any]) -> list[tuple[str, str, str]]:
    """Name, default and meaning of every key of the class `recipe`, in its order."""
    return [
        (field.name, _as_toml(field.default), KEYS[field.name])
        for field in dataclasses.fields(recipe)
    ]


def _as_toml(value: Any) -> str:
    """A default as a recipe writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return str(list(value))
    return f'"{value}"' if isinstance(value, str) else str(value)


def as_list(value: float | tuple[int, ...]) -> list[float]:
    return list(value) if isinstance(value, tuple) else [value]
