"""What a report says first: how far from the float network, why, and what else is to be known."""

from __future__ import annotations

from typing import Any

from snnconvert.common.words import counted
from snnconvert.conversion.calibration.judged import far_beyond, trouble

WORDS = {"clipping": "clipping", "quantisation": "quantisation", "timing": "spike timing"}
SOME = 0.02  # a share worth a word
WELL_DRIVEN = 0.9  # share of the multiplications driven by spikes


def per_cent(share: float) -> str:
    """ "0.03 %", "3.1 %", "31 %"."""
    value = 100 * share
    if value == 0:
        return "0 %"
    return f"{value:.0f} %" if value >= 10 else f"{value:.2g} %"


def verdict(content: dict[str, Any]) -> str:
    """One sentence, of `content` of a report."""
    output = content["output"]
    if output["bit_equal"]:
        said = "Exact to its quantised ANN"
    else:
        said = f"{per_cent(output['relative_error'])} from its quantised ANN"
        silent = content["settle"] != "auto" and content["firing"] == "immediate"
        said += f" after {content['latency_steps']} steps" if silent else ""
    far = content["output_ann"]
    if far is None:
        return f"{said}; no float network to hold it against."
    said += f"; {per_cent(far['relative_error'])} from the float network"
    said += " as samplers see it" if far.get("unclipped_error") is not None else ""
    causes = content.get("causes") or {}
    shares = causes.get("shares")
    if shares:
        parts = sorted(shares.items(), key=lambda item: -item[1])
        named = [f"{per_cent(share)} {WORDS[part]}" for part, share in parts if share >= SOME]
        said += f", of that {', '.join(named)}"
        worst = causes["worst"][:1]
        if worst and worst[0]["without"] is not None:
            gain = 1 - worst[0]["without"] / (causes["quantised_distance"] or 1)
            if gain > SOME:
                said += f"; {worst[0]['layer']} alone costs {per_cent(gain)} of it"
    return f"{said}."


def remarks(content: dict[str, Any]) -> list[str]:
    """What the verdict does not say and matters: what is left analog, what it costs."""
    found = []
    cost, kinds = content["cost"], content["neurons"]
    driven = cost["spike_driven_fraction"]
    if driven < WELL_DRIVEN:
        found.append(
            f"{per_cent(1 - driven)} of the multiplications are not driven by spikes: they read "
            "currents, and are charged as multiplications in every step they run"
        )
    analog = content.get("analog") or kinds.get("analog") or []
    if analog:
        found.append(f"{counted(len(analog), 'activation')} stayed analog: {named(analog)}")
    if kinds["function_fraction"] >= SOME:
        found.append(
            f"{per_cent(kinds['function_fraction'])} of the neurons apply a function to what has "
            "accumulated before they spike"
        )
    tabled = kinds.get("functions_of_time")
    if tabled:
        found.append(
            f"{counted(len(tabled), 'activation')} that depend on the time alone stay functions, "
            "computed once a call"
        )
    if cost["energy_snn_mj"] > cost["energy_qann_mj"]:
        found.append(
            f"it costs {cost['energy_snn_mj'] / cost['energy_qann_mj']:.2g} times the energy of "
            "the quantised ANN of the same width (45 nm, arithmetic only)"
        )
    path = (content["calibration"] or {}).get("path") or {}
    escaped = trouble(path.get("judged"))
    if escaped:
        found.append(f"{escaped}: more timesteps, more calibration inputs or `clip` help")
    elif path.get("trials") and not path.get("judged"):
        found.append(
            "where its samples end on a solver's path is unknown: that was judged of other "
            "thresholds or of another way to spike, or by an older version; convert again with "
            "`path` to know"
        )
    saturated = far_beyond(content["saturation"]) if content.get("saturation") else ""
    if saturated:
        followed = bool(path)
        better = "more timesteps" if followed else "thresholds fitted along it (`path`)"
        found.append(f"{saturated}; samples may run away there: {better} or `clip` help")
    if not content["layers_add_up"]:
        found.append("the error terms of a layer do not add up; please report this")
    return found


def named(items: list[Any], most: int = 4) -> str:
    """The first few names, and how many more."""
    names = [str(i.get("layer") or i.get("name")) if isinstance(i, dict) else str(i) for i in items]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
