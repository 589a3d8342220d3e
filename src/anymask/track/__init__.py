"""Video object tracking: frame sources, trackers, sessions and output writers."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
