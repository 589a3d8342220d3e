"""Torch models by name: a variant's name in, a module with official parameter names out.

build(name)   a randomly initialised model in eval mode, with `.spec`, `.encode`, `.decode`
names()       the names that `build` knows
spec(name)    how a model sees a picture, without building it
"""

from __future__ import annotations

import difflib
import importlib.util
from typing import TYPE_CHECKING

from anymask.base import MissingExtra, ModelError
from anymask.masks import ModelSpec

if TYPE_CHECKING:
    from torch import nn

    from anymask.models.variants import RegistryEntry, Variant, VideoVariant

    Entry = Variant | VideoVariant | RegistryEntry

__all__ = ["build", "names", "spec"]


def names() -> tuple[str, ...]:
    """The published models that can be built, in the catalogue's order."""
    return tuple(_registries()[0])


def spec(name: str) -> ModelSpec:
    """How the model sees a picture; raises ModelError on an unknown name."""
    return _entry(name).spec


def build(name: str) -> nn.Module:
    """A model with random weights, in eval mode.

    Under `torch.device("meta")` nothing is allocated: load with `assign=True` then.
    Raises ModelError on an unknown name.
    """
    return _entry(name).build()


def _entry(name: str) -> Entry:
    published, for_tests = _registries()
    entry = published.get(name) or for_tests.get(name)
    if entry is None:
        close = difflib.get_close_matches(name, published, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise ModelError(f"Unknown model {name!r}. {hint}Available models: {', '.join(published)}.")
    return entry


def _registries() -> tuple[dict[str, Entry], dict[str, Entry]]:
    """The published variants, and tiny ones for tests. Raises MissingExtra without torch."""
    if importlib.util.find_spec("torch") is None:
        raise MissingExtra("torch", "torch", "Running this model")
    from anymask.models.variants import FOR_TESTS, REGISTRY

    return REGISTRY, FOR_TESTS
