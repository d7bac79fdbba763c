import re
from pathlib import Path

from setuptools import find_packages, setup

# Data folders of the checkout that a wheel carries inside the package (`common/shipped.py`).
SHIPPED = {"snnconvert.recipes": "recipes", "snnconvert.checkpoints": "checkpoints"}


def away_from_checkout(readme: str) -> str:
    """The README for a package index, which has none of the files beside it: pictures are named."""
    named = re.sub(r"!\[([^]]*)\]\((?!https?:)([^)]*)\)",
                   r"*Picture: \1 (\2 of the source archive).*", readme)  # fmt: skip
    return re.sub(r"\[([^]]*)\]\((?!https?:|#)[^)]*\)", r"\1", named)


setup(
    packages=[*find_packages(include=["snnconvert*"]), *SHIPPED],
    package_dir=SHIPPED,
    long_description=away_from_checkout(Path("README.md").read_text(encoding="utf-8")),
)
