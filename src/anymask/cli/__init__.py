"""The command line: words in, a function of the package called, an exit code out."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
