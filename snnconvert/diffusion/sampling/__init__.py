"""Images drawn from a network: a checked plan of solver, grid and options, then its calls."""

from snnconvert.diffusion.sampling.drawing import device_of, invert, sample
from snnconvert.diffusion.sampling.plans import OnCall, Plan, allowed_batch, plan, run, start_over

__all__ = [
    "OnCall",
    "Plan",
    "allowed_batch",
    "device_of",
    "invert",
    "plan",
    "run",
    "sample",
    "start_over",
]
