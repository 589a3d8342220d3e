"""Runtimes (PyTorch, ONNX Runtime), and the catalogue, store and loading of weights."""

from anymask.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
