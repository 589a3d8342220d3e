"""Embeddings stay within their bytes, the least recently used one goes first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from anymask.masks import Features, Geometry
from anymask.segment import EncodedPhoto
from anymask.studio import EmbeddingCache
from anymask.studio.caches import size_of
from tests.segment.fakes import seen_of

PHOTO = np.random.default_rng(0).integers(0, 256, (10, 10, 3), dtype=np.uint8)
ONE = EncodedPhoto(
    Features(
        seen=seen_of(np.arange(1000, dtype=np.float32).reshape(10, 10, 10)),
        geometry=Geometry((10, 10), (10, 10), 10),
        model="fake",
        model_hash="weights",
    ),
    PHOTO,
)
SIZE = size_of(ONE)


def key_of(seen: EncodedPhoto) -> tuple[str, str, str]:
    made = seen.embedding
    return (made.model, made.model_hash, made.image_hash)


def renamed(**names: str) -> EncodedPhoto:
    return replace(ONE, embedding=replace(ONE.embedding, **names))


def many_seen(count: int) -> list[EncodedPhoto]:
    return [renamed(image_hash=f"{number:032x}") for number in range(count)]


def test_memory_holds_as_many_bytes_as_it_may() -> None:
    cache = EmbeddingCache(3 * SIZE + 1)
    a, b, c, d = many_seen(4)
    for one in (a, b, c):
        cache.put(one)
    assert cache.get(key_of(a)) is a  # used: b is now the oldest
    cache.put(d)
    assert cache.get(key_of(b)) is None
    assert [cache.get(key_of(one)) for one in (a, c, d)] == [a, c, d]
    assert cache.used_bytes == 3 * SIZE
    assert len(cache) == 3


def test_what_is_larger_than_all_of_memory_is_not_kept() -> None:
    cache = EmbeddingCache(SIZE - 1)
    cache.put(ONE)
    assert cache.get(key_of(ONE)) is None
    assert cache.used_bytes == 0


def test_putting_the_same_twice_costs_once() -> None:
    cache = EmbeddingCache(10 * SIZE)
    cache.put(ONE)
    cache.put(ONE)
    assert cache.used_bytes == SIZE


def test_other_weights_are_another_key() -> None:
    cache = EmbeddingCache(10 * SIZE)
    cache.put(ONE)
    assert cache.get(key_of(renamed(model_hash="others"))) is None
