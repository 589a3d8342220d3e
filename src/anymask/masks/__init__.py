"""Masks and prompts: run-length encoding, polygons, boxes, drawing, measurements, geometry."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
