"""Fine-tuning, training and distillation, and the export of what they made."""

from anymask.base import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
