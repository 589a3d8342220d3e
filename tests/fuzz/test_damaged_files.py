"""Damaged files of every kind are refused by one of our errors, or read: never by a traceback.

    python -m tests.fuzz.hunt 10000

does the same with many more inputs, in processes with bounded memory and time.
"""

import warnings

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


def failures(targets: list[Target], numbers: range) -> set[str]:
    """Damage each file in so many ways, one at a time, and put it back; errors other than ours."""
    found = set()
    for target, path in ((one, path) for one in targets for path in one.files):
        sound, name = path.read_bytes(), path.relative_to(target.root).as_posix()
        for number in numbers:
            seed = seed_of(f"{target.name} {name}", number)
            path.write_bytes(mutate(sound, seed, path.suffix in TEXTS))
            try:
                target.use(path)
            except AnymaskError:
                pass
            except Exception as error:
                found.add(f"{target.name}, {name}, number {number}: {error!r}")
        path.write_bytes(sound)
    return found
