"""Damaged files of every kind are refused by one of our errors, or read: never by a traceback.

    python -m tests.fuzz.hunt 10000

does the same with many more inputs, in processes with bounded memory and time.
"""

import warnings
from pathlib import Path

import pytest

from anymask.base import AnymaskError
from tests.fuzz.mutations import mutate, seed_of
from tests.fuzz.targets import TEXTS, Target, all_targets

ROUNDS = 2  # damaged versions of each file in the suite


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> list[Target]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return all_targets(tmp_path_factory.mktemp("fuzz") / "all")


@pytest.mark.filterwarnings("ignore")  # of decoders, about the damage
def test_a_damaged_file_gives_no_other_error_than_ours(targets: list[Target]) -> None:
    assert not failures(targets, range(ROUNDS))
    assert {name_of(one, path) for one in targets for path in one.files} >= EXAMPLES.keys()


EXAMPLES = {  # of damage that ended in a traceback
    "runs run/options.json": b"[1]", "runs run/recipe.json": b"[1]", "runs run/clips.json": b"[1]",
    "runs run/data/names.json": b"7", "runs run/data/data.json": b'{"nope": 1}',
    "runs run/before.json": b"{}", "runs run/log.jsonl": b"\xff", "runs run/shards.json": b"[1]",
    "runs run/shards.npy": b"\x93NUMPY\1\0\x02\0(\n", "jobs state/.map.fgb.work": b"no database",
    "jobs state/copies/.a.png.redacted": b"\xff",
}  # fmt: skip


def failures(targets: list[Target], numbers: range) -> set[str]:
    """Damage each file in so many ways, one at a time, and put it back; errors other than ours."""
    found = set()
    for target, path in ((one, path) for one in targets for path in one.files):
        sound, name = path.read_bytes(), name_of(target, path)
        seeds = {f"number {number}": seed_of(name, number) for number in numbers}
        damaged = {at: mutate(sound, seed, path.suffix in TEXTS) for at, seed in seeds.items()}
        damaged["example"] = EXAMPLES.get(name, b"")
        for at, data in damaged.items():
            path.write_bytes(data)
            try:
                target.use(path)
            except AnymaskError:
                pass
            except Exception as error:
                found.add(f"{name}, {at}: {error!r}")
        path.write_bytes(sound)
    return found


def name_of(target: Target, path: Path) -> str:
    """The target and the path of a file in it."""
    return f"{target.name} {path.relative_to(target.root).as_posix()}"
