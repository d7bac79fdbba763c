"""The command line. Imports no PyTorch, so that `snnconvert --help` is quick."""

from snnconvert.cli.main import build_parser, main

__all__ = ["build_parser", "main"]
