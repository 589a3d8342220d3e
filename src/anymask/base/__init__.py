"""Shared basics: errors, atomic file storage, settings, progress, threads, safe parsing."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
