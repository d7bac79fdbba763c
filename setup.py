from setuptools import find_packages, setup

# Data folders of the checkout that a wheel carries inside the package (`common/shipped.py`).
SHIPPED = {"snnconvert.recipes": "recipes", "snnconvert.checkpoints": "checkpoints"}

setup(packages=[*find_packages(include=["snnconvert*"]), *SHIPPED], package_dir=SHIPPED)
