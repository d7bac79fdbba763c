"""Convert artificial neural networks into spiking ones, and say what was lost."""

__version__ = "0.1.0"
