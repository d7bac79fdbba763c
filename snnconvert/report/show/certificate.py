"""A verification as a person reads it."""

from __future__ import annotations

from snnconvert.common.words import counted
from snnconvert.report.show.columns import columns
from snnconvert.report.show.terminal import clipped
from snnconvert.report.verify import Verification

NAME = 34


def format_verification(found: Verification) -> str:
    """The verdict, and where counts differ."""
    within = f", within {found.tolerance}" if found.tolerance else ""
    measured = f"{found.neurons:,} spike counts of {counted(len(found.layers), 'layer')}, "
    measured += f"{counted(found.inputs, 'input')}"
    if found.equal:
        return (
            f"equal{within}: {measured}, {found.clock_steps} clock steps; output "
            + ("bit-equal" if found.output["bit_equal"] else
               f"within {found.output['relative_error']:.3g}")
        )  # fmt: skip
    share = found.mismatched / found.neurons
    rows = [("layer", "of", "differ", "fraction", "most", "first (input, neuron)")]
    rows += [
        (clipped(layer.name, NAME), str(layer.neurons), str(layer.mismatched),
         f"{layer.mismatched / layer.neurons:.2e}", f"{layer.farthest:g}", f"{layer.first}")
        for layer in found.layers if layer.mismatched
    ]  # fmt: skip
    width = max(len(row[0]) for row in rows)
    return "\n".join([
        f"not equal{within}: {found.mismatched:,} of {measured} ({share:.2e}); output differs by "
        f"{found.output['relative_error']:.3g}",
        *columns(f"<{width} >9 >8 >9 >4 <0", rows),
    ])  # fmt: skip
