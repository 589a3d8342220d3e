"""Measuring models, auditing masks and describing data sets, with one writer of reports."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
