"""Damaged files of every kind are refused by one of our errors, or read: never by a traceback.

    python -m tests.fuzz.test_damaged_files ROUNDS [FIRST [WORD]]

does the same with many more damaged versions of each file, and prints each traceback once.
"""

import sys
import tempfile
import traceback
import warnings
from collections import Counter
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
    found = {
        f"{target.name}, {path.name}, number {number}: {error!r}"
        for target in targets
        for path, number, error in failures(target, range(ROUNDS))
    }
    assert not found


def failures(target: Target, numbers: range) -> list[tuple[Path, int, Exception]]:
    """Damage each file of a target in so many ways, one at a time, and put it back."""
    found = []
    for path in target.files:
        sound = path.read_bytes()
        name = path.relative_to(target.root).as_posix()
        for number in numbers:
            seed = seed_of(f"{target.name} {name}", number)
            path.write_bytes(mutate(sound, seed, path.suffix in TEXTS))
            try:
                target.use(path)
            except AnymaskError:
                pass
            except Exception as error:
                found.append((path, number, error))
        path.write_bytes(sound)
    return found


def hunt(rounds: int, first: int = 0, word: str = "") -> None:
    """Many rounds; each place that raised is printed once, with how often."""
    warnings.simplefilter("ignore")
    seen: Counter[str] = Counter()
    inputs = 0
    with tempfile.TemporaryDirectory() as folder:
        for target in all_targets(Path(folder) / "all"):
            if word not in target.name:
                continue
            inputs += rounds * len(target.files)
            for path, number, error in failures(target, range(first, first + rounds)):
                frames = traceback.extract_tb(error.__traceback__)
                ours = [one for one in frames if "anymask" in one.filename] or frames
                place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno} {type(error).__name__}"
                if not seen[place]:
                    print(target.name, path.name, number, place, str(error)[:150], flush=True)
                seen[place] += 1
            print(f"{target.name}: done, {inputs} inputs", flush=True)
    print(f"{inputs} inputs, {seen.total()} with a traceback at {len(seen)} places", flush=True)


if __name__ == "__main__":
    hunt(int(sys.argv[1]), *map(int, sys.argv[2:3]), *sys.argv[3:4])
