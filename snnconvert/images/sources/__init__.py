"""Where evaluated images come from: a dataset's name, a folder, or an `.npz`."""

from snnconvert.images.sources.interface import Source, StoredSource
from snnconvert.images.sources.source import DatasetSource, open_source

__all__ = ["DatasetSource", "Source", "StoredSource", "open_source"]
