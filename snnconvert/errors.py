"""What can go wrong, told by remedy. The command line prints any of these in one line, exit code 2.

A message says which object, what was found, what is allowed and what to do.
"""

from __future__ import annotations


class SnnconvertError(Exception):
    """Base of every error that a user's input can cause."""


class InputError(SnnconvertError, ValueError):
    """An argument is out of its range, or two arguments contradict each other: change the call."""


class RecipeError(SnnconvertError, ValueError):
    """A recipe has an unknown key, a wrong type or an impossible value: edit the recipe."""


class CheckpointError(SnnconvertError, ValueError):
    """A file is not a checkpoint that this version can read: use another file or version."""


class DataError(SnnconvertError, ValueError):
    """Images are missing or unusable: download them or point to another folder."""


class UnsupportedOpError(SnnconvertError, NotImplementedError):
    """A network contains operations without a conversion rule: change the layer or add a rule."""
