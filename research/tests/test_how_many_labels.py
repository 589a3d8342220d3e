"""The recipe that says how many labels one needs writes sets that the fine-tuning reads."""

from pathlib import Path

import pytest

from anymask.formats import load_set, read
from tests.scripts import loaded_script
from tests.training.small_data import write_sets

RECIPES = Path(__file__).parents[2] / "research"


def test_a_subset_has_its_own_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with loaded_script(RECIPES / "how_many_labels.py") as recipe:
        pass
    (name, *_) = sorted(path.parent for path in write_sets(tmp_path / "data").rglob("masks.jsonl"))
    images = load_set(name)[1][:2]
    recipe.write_subset(images, tmp_path / "some")
    stream = read(tmp_path / "some")
    again = [*stream]
    assert [one.rles for one in again] == [one.rles for one in images]
    for one, image in zip(again, images, strict=True):
        assert stream.image_path(one).read_bytes() == image.content()
