"""Maps of any size: searched by windows, with things written as layers that lie on them."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
