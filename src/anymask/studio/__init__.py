"""Annotation: projects, review and training rounds, the server and its page."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
