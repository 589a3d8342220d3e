"""What everything shows by default: recall and precision at IoU .5, counted by hand."""

from pathlib import Path

import pytest

from anymask.evaluation import EvalSettings, NotMeasured, measure_shown
from anymask.masks import ModelSpec
from tests.evaluation.test_average_recall import LARGE, SMALL, Finder, small_set

BESIDE = (100, 60, 159, 119)


def measured(finder: Finder, folder: Path, limit: int | None = None) -> dict[str, float]:
    settings = EvalSettings() if limit is None else EvalSettings(limit=limit)
    result = measure_shown(finder, small_set(folder), settings, lambda *n: None)
    return {figure.name: figure.value for figure in result.figures}


def test_an_object_is_found_once_and_everything_else_that_is_shown_is_wrong(tmp_path: Path) -> None:
    """Of 3 objects on 2 photos, the two large ones are found; 3 masks are shown on each photo."""
    found = measured(Finder([LARGE, LARGE, BESIDE]), tmp_path / "set")
    assert found["recall .5"] == pytest.approx(2 / 3)
    assert found["precision .5"] == pytest.approx(2 / 6)
    assert found["masks a photo"] == 3


def test_it_is_asked_without_settings_as_users_ask(tmp_path: Path) -> None:
    finder = Finder([SMALL, LARGE])
    assert measured(finder, tmp_path / "set")["recall .5"] == 1
    assert finder.asked == {}


def test_a_photo_counts_with_all_its_objects_even_under_a_limit(tmp_path: Path) -> None:
    found = measured(Finder([SMALL, LARGE]), tmp_path / "set", limit=1)
    assert found["precision .5"] in (0.5, 1.0)  # of the photo with one object, or with both
    assert found["recall .5"] == 1


def test_what_only_divides_a_photo_shows_nothing(tmp_path: Path) -> None:
    divider = Finder([LARGE])
    divider.spec = ModelSpec(name="divider", accepts=frozenset())
    with pytest.raises(NotMeasured, match="it shows nothing by itself"):
        measure_shown(divider, small_set(tmp_path / "set"), EvalSettings(), lambda *n: None)
