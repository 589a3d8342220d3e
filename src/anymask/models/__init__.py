"""Torch models by name, with official parameter names, and their building blocks.

build(name)   a randomly initialized model in eval mode, with `.spec`, `.encode`, `.decode`
names()       the names that `build` accepts
spec(name)    the specification of a model, without building it
"""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
