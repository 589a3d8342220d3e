"""3D scans: medical and microscopy files, segmentation and label files."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
