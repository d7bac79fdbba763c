"""Which converted networks a form can express, and as what they then spike."""

from __future__ import annotations

from snnconvert.checkpoint.exported_facts import FORMS
from snnconvert.common.registry import nearest
from snnconvert.conversion.spiking.network import SpikingNetwork, converted
from snnconvert.errors import InputError


def exportable(network: object, form: str) -> SpikingNetwork:
    """`network` spiking as `form` does; the same result, by the silence theorem.

    Raises:
        InputError: no converted network, no such form, or one that cannot give the same result;
            names all reasons at once.
    """
    snn = converted(
        network,
        f"export: found {type(network).__name__}, needed is a converted network; convert it first "
        "(one that was trained as a spiking network has no such form)",
    )
    if form not in FORMS:
        raise InputError(f"form: found {form!r}, {nearest(form, FORMS)}allowed: {', '.join(FORMS)}")
    reasons = [message for wrong, message in obstacles(snn, form) if wrong]
    if reasons:
        raise InputError(f"export --form {form}: " + "; ".join(reasons))
    if form == "deferred":
        return snn.with_config(firing="deferred", simulate="counts", reset="call").eval()
    return snn.with_config(firing="immediate", simulate="steps", reset="call").eval()


def obstacles(snn: SpikingNetwork, form: str) -> list[tuple[bool, str]]:
    """(holds, reason) for everything that keeps `snn` out of `form`."""
    c = snn.config
    fixed = c.firing == "immediate" and (c.settle is not None or not c.signed)
    clocked = form != "deferred"
    return [
        (not c.held_as_counts,
         "neurons with a leak or a hard reset are not told by their counts; convert with "
         "neuron='if' and v_reset=None"),
        (c.norm == "per_step",
         "norm='per_step' sees single steps; convert with norm='accumulated'"),
        (form == "deferred" and fixed,
         f"settle={c.settle}, signed={c.signed} does not wait for silence, so one pass would give "
         "another result; take --form step or clock, or convert with --firing deferred"),
        (clocked and c.code == "radix",
         "the radix code fires only after all input has come; take --form deferred"),
        (clocked and c.firing == "deferred" and not c.signed,
         "without signed spikes immediate firing gives another result; take --form deferred"),
    ]  # fmt: skip
