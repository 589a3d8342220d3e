"""Masks as values: run-lengths, polygons, boxes, drawing, measurements, prompts, geometry."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
