"""Faster CPU implementations of model layers; property tests compare them to the originals."""

from anymask.base import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
