"""Reading, writing and conversion of annotation files and data sets, with loss reports."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
