"""Edit objects in images: remove, blur, replace and fill them, or arrange them in a collage."""

from anymask.base import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
