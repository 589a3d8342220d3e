"""Weights: the catalogue, downloads, verification and loading of published checkpoints.

Nothing here touches the network on its own: only `fetch` does, and only when it is called.
The readers need torch and are imported when they are first asked for.
"""

from typing import TYPE_CHECKING, Any

from anymask.weights.catalogue import Checkpoint, Licence, entry, names
from anymask.weights.folders import home
from anymask.weights.hashes import file_hash
from anymask.weights.store import add, find, verify

if TYPE_CHECKING:
    from anymask.weights.checkpoints import read_checkpoint
    from anymask.weights.remap import detect_variant, load_official

__all__ = [
    "Checkpoint",
    "Licence",
    "add",
    "detect_variant",
    "entry",
    "file_hash",
    "find",
    "home",
    "load_official",
    "names",
    "read_checkpoint",
    "verify",
]

_NEED_TORCH = {
    "read_checkpoint": "checkpoints",
    "load_official": "remap",
    "detect_variant": "remap",
}


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is first asked for."""
    if name not in _NEED_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_NEED_TORCH[name]}"), name)
