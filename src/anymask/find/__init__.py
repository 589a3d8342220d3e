"""Segment every instance of a text or exemplar prompt."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
