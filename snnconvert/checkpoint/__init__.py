"""What a file holds, checked: its format, its recipe, its networks.

A new stage is one more name here; the rest of the package asks these two. No PyTorch, so that
`snnconvert --help` is quick.
"""

STAGES = ("ann", "qann", "qann-radix", "snn", "spiking")  # of networks in a file
CONVERTIBLE = ("ann", "qann-radix", "qann")  # those that `convert` takes, its default last
