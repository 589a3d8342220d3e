"""Segmentation of maps of any size in tiles, written as georeferenced layers."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
