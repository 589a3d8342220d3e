"""Rules of the model families: prompt encoding, mask selection, thresholds."""

from anymask.base import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
