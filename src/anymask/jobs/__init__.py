"""Folders of photos: resumed, in worker processes or on Ray, with a summary of what was done."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
