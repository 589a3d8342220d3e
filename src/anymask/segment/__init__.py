"""Segmentation of images: prompts and automatic mask generation, with `Model`."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
