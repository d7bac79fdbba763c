"""Sphinx: `python -m sphinx -W -b html docs docs/_build` builds the pages."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from docs.made import MADE, filled
from snnconvert.version import __version__

project = "snnconvert"
author = "The snnconvert contributors"
copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"snnconvert {__version__}"

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_use_rtype = False
default_role = "code"


def fill(_app: Any, _page: str, source: list[str]) -> None:
    """Put what is made from the program in place of `{{ NAME }}`."""
    source[0] = filled(source[0])


def setup(app: Any) -> None:
    assert MADE
    app.connect("source-read", fill)
