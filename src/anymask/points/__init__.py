"""Point clouds: PLY and simple formats, and segmentation from prompts in 3D."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
