"""Embeddings stay within their bytes, the least recently used one goes first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.masks import Features, Geometry
from anymask.segment import EncodedPhoto, photo_for_edges
from anymask.studio import EmbeddingCache, size_of
from anymask.studio import key_of as cache_key
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
    return cache_key(seen.embedding)


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


def test_what_leaves_memory_is_found_on_disk(tmp_path: Path) -> None:
    cache = EmbeddingCache(SIZE, tmp_path)
    a, b = many_seen(2)
    cache.put(a)
    cache.put(b)
    cache.close()
    assert cache.remembered(key_of(a)) is None
    found = cache.get(key_of(a))
    assert found is not None
    np.testing.assert_array_equal(found.embedding.features, a.embedding.features)
    np.testing.assert_array_equal(found.photo, PHOTO)
    assert cache.remembered(key_of(a)) is found


def test_the_disk_stays_within_its_bytes_also_after_a_restart(tmp_path: Path) -> None:
    many = many_seen(6)
    cache = EmbeddingCache(0, tmp_path, 3 * (SIZE + 1500))
    for one in many:
        cache.put(one)
    cache.close()
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 3 * (SIZE + 1500)
    assert [cache.get(key_of(one)) is not None for one in many] == [False] * 3 + [True] * 3
    smaller = EmbeddingCache(0, tmp_path, SIZE + 1500)
    assert len(list(tmp_path.iterdir())) == 2  # the embedding and its photo
    assert sum(smaller.get(key_of(one)) is not None for one in many) == 1


def keep(folder: Path, seen: EncodedPhoto) -> None:
    cache = EmbeddingCache(0, folder)
    cache.put(seen)
    cache.close()


def test_damaged_and_swapped_files_count_as_absent(tmp_path: Path) -> None:
    a, b, c = many_seen(3)
    keep(tmp_path, a)
    (first,) = tmp_path.glob("*.npz")
    keep(tmp_path, b)
    (second,) = set(tmp_path.glob("*.npz")) - {first}
    first.write_bytes(b"damaged")
    c.embedding.save(second)
    cache = EmbeddingCache(0, tmp_path)
    assert cache.get(key_of(a)) is None
    assert cache.get(key_of(b)) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("harm", ["gone", "damaged", "smaller"])
def test_an_embedding_whose_photo_is_gone_counts_as_absent(tmp_path: Path, harm: str) -> None:
    keep(tmp_path, ONE)
    (photo,) = tmp_path.glob("*.png")
    photo.unlink()
    if harm != "gone":
        photo.write_bytes(b"damaged")
    if harm == "smaller":
        Image.fromarray(PHOTO[:5]).save(photo)
    assert EmbeddingCache(0, tmp_path).get(key_of(ONE)) is None
    assert not list(tmp_path.iterdir())


def test_a_photo_is_kept_in_the_size_of_its_edges() -> None:
    wide = replace(ONE.embedding, geometry=Geometry((1000, 4096), (125, 512), 512))
    photo = np.zeros((1000, 4096, 3), np.uint8)
    assert photo_for_edges(photo, wide.geometry).shape == (500, 2048, 3)
    assert photo_for_edges(PHOTO, ONE.embedding.geometry) is PHOTO
