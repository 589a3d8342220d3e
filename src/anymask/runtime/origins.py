"""What is told of the weights behind a mask: a runtime in; model, hash, licence and data out.

Weights whose hash is that of a published file have the catalogue's licence and data; of others it
is what their files state.
"""

from __future__ import annotations

from functools import cache

from anymask.base import ModelError, WeightsError
from anymask.masks import Origin
from anymask.runtime.catalogue import entry
from anymask.runtime.manifest import read_manifest
from anymask.runtime.protocol import ImageRuntime
from anymask.runtime.store import ASSETS


def origin_of(runtime: ImageRuntime) -> Origin:
    """Where the masks of a runtime come from."""
    known = stated_origin(runtime.spec.name, runtime.weights_hash)
    licence = known.licence or getattr(runtime, "licence", "")
    return Origin(known.model, known.weights, licence, known.data)


@cache
def stated_origin(model: str, weights: str) -> Origin:
    """What the catalogue says of a model and the hash of its weights; no more than those where
    they are not the published ones."""
    try:
        published = entry(model.partition("@")[0])
    except ModelError:
        return Origin(model, weights)
    digest = published.sha256
    if published.bundled:
        try:
            digest = read_manifest(ASSETS / published.name).weights_hash
        except WeightsError:
            digest = None
    if not weights or weights != digest:
        return Origin(model, weights)
    return Origin(model, weights, published.licence.name, published.data)
