"""Scans in three dimensions: read from medical and microscope files, with labels on them."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
