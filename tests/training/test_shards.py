"""Tar shards: read as written, each picture once an epoch, any place without those before."""

import io
import itertools
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anymask.base import ConfigError, DataError
from anymask.formats import load_set
from anymask.training import shards as of_shards
from anymask.training.loop import TrainingRun, train
from anymask.training.samples import batches
from anymask.training.shards import ShardImages, index_shards, write_shards
from tests.training.small_data import small_recipe, write_sets


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sets(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def data(sets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures in three shards."""
    folder = tmp_path_factory.mktemp("shards")
    images = [one for name in ("round", "square") for one in load_set(sets / name)[1]]
    smallest = min(one.source.stat().st_size for one in images)  # type: ignore[union-attr]
    assert write_shards(images, folder, 2 * smallest) == 6
    assert len(list(folder.glob("*.tar"))) == 3
    return folder


def opened(data: Path, index: Path, seed: int = 5) -> ShardImages:
    index.mkdir(exist_ok=True)
    index_shards(data, index)
    return ShardImages.open(data, index, seed)


def test_what_is_written_is_read(sets: Path, data: Path, tmp_path: Path) -> None:
    images = opened(data, tmp_path)
    found = [images.sample(np.random.default_rng(0), place) for place in range(6)]
    given = [one for name in ("round", "square") for one in load_set(sets / name)[1]]
    assert {one.image().tobytes() for one in found} == {one.image().tobytes() for one in given}
    by_pixels = {one.image().tobytes(): one for one in given}
    for one in found:
        assert one.rles == by_pixels[one.image().tobytes()].rles


@pytest.mark.parametrize("window", [1, 2, 8])
def test_every_epoch_has_each_picture_once_in_an_order_of_its_own(
    window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_shards, "WINDOW", window)
    counts = np.array([5, 1, 7, 3, 11])
    names = tuple("abcde")
    images = ShardImages(Path(), 9, names, counts, np.zeros((27, 4), np.int64))
    epochs = [[images.which(27 * epoch + i) for i in range(27)] for epoch in range(3)]
    everything = {(s, i) for s, count in enumerate(counts) for i in range(count)}
    for epoch in epochs:
        assert len(epoch) == len(set(epoch))
        assert set(epoch) == everything
        groups = [shard for shard, _ in epoch]
        changes = sum(a != b for a, b in itertools.pairwise(groups))
        assert window > 1 or changes == 4  # shard by shard
    assert epochs[0] != epochs[1]
    assert images.which(40) == epochs[1][13]  # any place, without the ones before


def test_a_run_is_resumed_in_the_middle_of_an_epoch_with_the_same_pictures(
    data: Path, tmp_path: Path
) -> None:
    recipe = small_recipe(steps=5)
    opened(data, tmp_path)
    whole = list(batches(recipe, data, None, rank=0, first_step=0, index=tmp_path))
    late = list(batches(recipe, data, None, rank=0, first_step=2, index=tmp_path))
    for one, other in zip(whole[2:], late, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets, other.targets)
    two = replace(recipe, workers=2)
    parts = [list(batches(two, data, None, rank=r, first_step=0, index=tmp_path)) for r in (0, 1)]
    for one, left, right in zip(whole, *parts, strict=True):
        assert torch.equal(one.images, torch.cat([left.images, right.images]))


def test_what_shards_cannot_give_is_refused(data: Path, tmp_path: Path) -> None:
    run = TrainingRun(data, tmp_path, scenes=lambda *_: pytest.fail("is not asked"))
    with pytest.raises(ConfigError, match="do not support synthetic"):
        train(small_recipe(steps=2, synthetic=0.3), run)
    with pytest.raises(DataError, match="already contains shards"):
        write_shards([], data, 1)


def test_broken_shards_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"no tar at all" * 99)
    with pytest.raises(DataError, match=r"a\.tar is not a readable tar file"):
        index_shards(tmp_path, tmp_path)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in ("1.jpg", "2.jpg", "2.json"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(DataError, match=r"1 images without NAME\.json.*first one is 1"):
        index_shards(tmp_path, tmp_path)


def test_the_index_is_made_anew_when_a_shard_changes(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in sorted(data.glob("*.tar"))[:2]:
        (copy / path.name).write_bytes(path.read_bytes())
    assert opened(copy, tmp_path / "index").counts.tolist() == [2, 2]
    last = sorted(data.glob("*.tar"))[2]
    (copy / last.name).write_bytes(last.read_bytes())
    assert opened(copy, tmp_path / "index").counts.tolist() == [2, 2, 2]
    raw = json.loads((tmp_path / "index" / of_shards.SHARD_INDEX).read_text())
    assert list(raw["shards"]) == [path.name for path in sorted(data.glob("*.tar"))]
