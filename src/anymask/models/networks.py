"""Torch models by name: those of `variants`, and those of plug-ins."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from anymask.base import MissingExtra, ModelError, installed_plugins, load_plugin
from anymask.masks import ModelSpec

if TYPE_CHECKING:
    from torch import nn

    from anymask.models.rules import RegistryEntry
    from anymask.models.variants import Variant, VideoVariant

    Entry = Variant | VideoVariant | RegistryEntry


def names() -> tuple[str, ...]:
    """Names of the published models: in the catalogue's order, then those of plug-ins."""
    added = (
        name
        for name, point in installed_plugins("families").items()
        if name in point.load().variants
    )
    return (*_registries()[0], *added)


def spec(name: str) -> ModelSpec:
    """Specification of a model.

    Raises:
        ModelError: The name is unknown.
        MissingPlugin: The plug-in of the model is not installed.
    """
    return variant(name).spec


def build(name: str) -> nn.Module:
    """Build a model with random weights, in eval mode.

    Under `torch.device("meta")` nothing is allocated; then load weights with `assign=True`.

    Raises:
        ModelError: The name is unknown.
        MissingPlugin: The plug-in of the model is not installed.
    """
    return variant(name).build()


def variant(name: str) -> Entry:
    """Sizes of a model, or the entry of a plug-in.

    Raises:
        ModelError: The name is unknown.
        MissingPlugin: The plug-in of the model is not installed.
    """
    published, for_tests = _registries()
    known = published.get(name) or for_tests.get(name)
    if known is None and (plugin := load_plugin("families", name)) is not None:
        known = plugin.variants.get(name)
    if known is None:
        import difflib

        close = difflib.get_close_matches(name, published, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise ModelError(f"Unknown model {name!r}. {hint}Available models: {', '.join(published)}.")
    return known


def _registries() -> tuple[dict[str, Entry], dict[str, Entry]]:
    """Published variants, and tiny ones for tests. Raises MissingExtra without torch."""
    if importlib.util.find_spec("torch") is None:
        raise MissingExtra("torch", "torch", "Running this model")
    from anymask.models.variants import FOR_TESTS, REGISTRY

    return REGISTRY, FOR_TESTS
