"""The command line: parses arguments, calls the package and returns an exit code."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
