"""The command line. Imports no PyTorch, so that `snnconvert --help` is quick."""

from snnconvert.cli.main import main

__all__ = ["main"]
