"""Pictures that a run does not learn from: a folder of data in, some of them, held out, out.

Which ones are held out depends on their names alone. A picture's key is SET/NAME in a folder of
sets, and SHARD/NUMBER in a folder of shards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path

from anymask.data.annotations import AnnotatedImage
from anymask.training.recipe import Recipe
from anymask.training.samples import key_of, training_sets
from anymask.training.shards import ShardPictures, index_shards, is_sharded

SHARE = 0.2  # of the pictures
MOST = 50  # pictures of large data


def choose_held(keys: Iterable[str], count: int | None = None) -> tuple[str, ...]:
    """So many pictures, if one at least is left; none where there are fewer than two.

    count  None: a fifth of them, `MOST` at most
    """
    known = sorted(set(keys), key=lambda key: hashlib.sha256(key.encode()).digest())
    wanted = min(MOST, max(1, round(SHARE * len(known)))) if count is None else count
    return tuple(known[: min(wanted, len(known) - 1)]) if len(known) > 1 else ()


def known_keys(recipe: Recipe, data: Path, index: Path) -> list[str]:
    """The keys of all pictures that a recipe learns from. Raises ConfigError, DataError.

    index  the run's folder; of shards it gets the index
    """
    if not is_sharded(data):
        return [key_of(info, one) for info, some in training_sets(recipe, data) for one in some]
    index.mkdir(parents=True, exist_ok=True)
    index_shards(data, index)
    return ShardPictures.open(data, index, recipe.seed).keys()


def held_pictures(
    recipe: Recipe, data: Path, index: Path, keys: Collection[str]
) -> list[AnnotatedImage]:
    """The pictures of some keys, in the order of the data. Raises ConfigError, DataError."""
    if is_sharded(data):
        index_shards(data, index)
        shards = ShardPictures.open(data, index, recipe.seed)
        return [shards.of_key(key) for key in sorted(keys)]
    sets = training_sets(recipe, data)
    return [one for info, some in sets for one in some if key_of(info, one) in keys]
