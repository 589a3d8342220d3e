"""Evaluation of models, audits of masks and statistics of data sets, with their reports."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
