"""Find things by their names: words in, every instance of them out, each with mask and label."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
