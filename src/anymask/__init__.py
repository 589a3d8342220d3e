"""Segment anything in images, videos, volumes and maps: offline, fast on a plain CPU.

    model = anymask.load()
    prediction = model.segment("photo.jpg", points=[(500, 375)])
    prediction.masks[0]  # (H, W) bool

Importing this package loads nothing heavy; every name is fetched when it is first used.
"""

from anymask.base import lazy_names

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_names(__name__, placeholders=True)
__all__ += ["__version__"]
