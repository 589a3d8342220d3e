"""Batch jobs on image folders: resumable, in worker processes or on Ray, with a summary."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
