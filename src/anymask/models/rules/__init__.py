"""What differs between the families of models: prompts to tokens, choice of masks, thresholds."""

from anymask.base import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
