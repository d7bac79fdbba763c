"""Convert artificial neural networks into spiking ones, and say what was lost.

    ann = snnconvert.load("checkpoints/fashion-unet.pt")
    snn = snnconvert.convert(ann, timesteps=4, example_inputs=(x, t))
    report = snnconvert.compare(ann, snn, [(x, t)])

The public names are those that the stub beside this file imports, for type checkers too (SPEC 1).
They are imported on first use, and the stub is read no earlier, so that `import snnconvert` stays
instant (`lazy_loader` would read it at once, which takes twice as long).
"""

from __future__ import annotations

import importlib

from snnconvert.version import __version__ as __version__


def _homes() -> dict[str, str]:
    """The module of each public name: lines `from .HOME import NAME as NAME` of the stub."""
    with open(f"{__file__.rpartition('.')[0]}.pyi", encoding="utf-8") as stub:  # noqa: PTH123
        lines = [line.split() for line in stub]
    return {words[3]: words[1] for words in lines if words[:1] == ["from"]}


def __getattr__(name: str) -> object:
    homes = _homes()
    if name == "__all__":
        value: object = sorted(homes)
    elif name in homes:
        value = getattr(importlib.import_module(homes[name], __name__), name)
    else:
        return _submodule(name)
    globals()[name] = value
    return value


def _submodule(name: str) -> object:
    """snnconvert.models, ..."""
    import importlib.util  # not before it is needed: it imports a lot

    if importlib.util.find_spec(f"{__name__}.{name}") is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_homes()})
