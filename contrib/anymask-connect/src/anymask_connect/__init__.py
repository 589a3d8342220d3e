"""Connections to other programs: CVAT, Label Studio, and AI assistants (Model Context Protocol)."""

from anymask.base import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
