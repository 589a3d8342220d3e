"""Objects followed through a video: sources of frames, trackers, sessions and outputs."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
