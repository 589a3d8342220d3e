"""Image editing with masks: cut-outs with soft alpha, backgrounds, shadows, redaction."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
