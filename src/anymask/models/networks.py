"""Torch models by name: those of `variants`."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from anymask.base import MissingExtra, ModelError
from anymask.masks import ModelSpec

if TYPE_CHECKING:
    from torch import nn

    from anymask.models.variants import RegistryEntry, Variant, VideoVariant

    Entry = Variant | VideoVariant | RegistryEntry


def names() -> tuple[str, ...]:
    """Names of the published models, in the catalogue's order."""
    return tuple(_registries()[0])


def spec(name: str) -> ModelSpec:
    """Specification of a model.

    Raises:
        ModelError: The name is unknown.
    """
    return _entry(name).spec


def build(name: str) -> nn.Module:
    """Build a model with random weights, in eval mode.

    Under `torch.device("meta")` nothing is allocated; then load weights with `assign=True`.

    Raises:
        ModelError: The name is unknown.
    """
    return _entry(name).build()


def _entry(name: str) -> Entry:
    published, for_tests = _registries()
    entry = published.get(name) or for_tests.get(name)
    if entry is None:
        import difflib

        close = difflib.get_close_matches(name, published, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise ModelError(f"Unknown model {name!r}. {hint}Available models: {', '.join(published)}.")
    return entry


def _registries() -> tuple[dict[str, Entry], dict[str, Entry]]:
    """Published variants, and tiny ones for tests. Raises MissingExtra without torch."""
    if importlib.util.find_spec("torch") is None:
        raise MissingExtra("torch", "torch", "Running this model")
    from anymask.models.variants import FOR_TESTS, REGISTRY

    return REGISTRY, FOR_TESTS
