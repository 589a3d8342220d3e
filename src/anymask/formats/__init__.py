"""Annotation files and published data sets: reading, writing, converting, with loss reports."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
