"""Simulations of a spiking network: its clock really running, or one pass over spike counts.

All hold every value as a mean over time, so norms and other non-linear operations see what has
accumulated (`per_step` excepted, which reproduces the published SDM conversion).
"""

from snnconvert.conversion.spiking.simulation.counts import by_counts
from snnconvert.conversion.spiking.simulation.deferred import deferred
from snnconvert.conversion.spiking.simulation.depth import depths, settling_bound
from snnconvert.conversion.spiking.simulation.immediate import immediate
from snnconvert.conversion.spiking.simulation.per_step import per_step
from snnconvert.conversion.spiking.simulation.potentials import potentials
from snnconvert.conversion.spiking.simulation.recorder import Call, Recorder, Run

__all__ = [
    "Call",
    "Recorder",
    "Run",
    "by_counts",
    "deferred",
    "depths",
    "immediate",
    "per_step",
    "potentials",
    "settling_bound",
]
