"""Reading of images: paths, URLs, arrays, stacks, bands and channels."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
