"""Fine-tuning, training, distillation and export of models."""

from anymask.base import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
