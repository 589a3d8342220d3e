"""The same blocks, computed faster on a CPU; property tests hold each to its slow twin."""

from anymask.base import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
