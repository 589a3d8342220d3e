"""One picture: prompts and automatic mask generation in image pixels, with `Model`."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
