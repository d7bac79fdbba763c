"""What a file holds, checked: its format, its recipe, its networks."""

STAGES = ("ann", "qann", "snn", "spiking")
