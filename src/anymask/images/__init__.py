"""Reading pictures of any kind: paths, addresses, arrays, stacks, bands and channels."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
