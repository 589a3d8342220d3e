"""Pictures that are held out are never learned from, in sets as in shards."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from anymask.training.distillation import choose_held_out, known_keys, load_held_out_images
from anymask.training.samples import TrainingImages, training_sets
from anymask.training.shards import ShardImages, write_shards
from tests.training.small_data import small_recipe, write_sets

PLAIN = small_recipe()


def test_a_fifth_is_held_out_by_name_fifty_at_most_and_never_all() -> None:
    keys = [f"set/{number}.jpg" for number in range(1000)]
    assert [len(choose_held_out(keys[:count])) for count in (0, 1, 2, 10, 1000)] == [0, 0, 1, 2, 50]
    assert set(choose_held_out(keys)) < set(keys)
    assert choose_held_out(reversed(keys)) == choose_held_out(keys)


def test_held_out_pictures_of_sets_are_not_drawn(tmp_path: Path) -> None:
    data = write_sets(tmp_path / "data")
    keys = known_keys(PLAIN, data, tmp_path)
    assert len(keys) == 6
    held = frozenset(keys[:4])  # all of one set, and one of the other
    kept = {one.source for one in load_held_out_images(PLAIN, data, tmp_path, held)}
    every = {one.source for _, some in training_sets(PLAIN, data) for one in some}
    drawn = _drawn(TrainingImages(PLAIN, data, without=held))
    assert len(kept) == 4
    assert drawn == every - kept
    assert _drawn(TrainingImages(PLAIN, data)) == every


def test_held_out_pictures_of_shards_are_not_drawn(tmp_path: Path) -> None:
    images = [
        one for _, some in training_sets(PLAIN, write_sets(tmp_path / "sets")) for one in some
    ]
    data, run = tmp_path / "shards", tmp_path / "run"
    write_shards(images, data, 2_000)
    recipe = replace(PLAIN, sets=())
    keys = known_keys(recipe, data, run)
    assert len(keys) == len(images)
    held = frozenset(choose_held_out(keys))
    (kept,) = load_held_out_images(recipe, data, run, held)
    rng = np.random.default_rng(0)
    for without, seen in ((frozenset(), True), (held, False)):
        source = ShardImages.open(data, run, recipe.seed, without)
        drawn = {source.sample(rng, place).file_name for place in range(30)}
        assert (kept.file_name in drawn) is seen
        assert len(drawn) == len(images) - (not seen)


def _drawn(images: TrainingImages) -> set[object]:
    rng = np.random.default_rng(0)
    return {images.source.sample(rng, 0).source for _ in range(80)}
