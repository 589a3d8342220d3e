"""What everything shows by default: recall and precision at IoU .5, counted by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anymask.evaluation.everything import ShownImage, measure_shown, shown_ap
from anymask.evaluation.protocols import NotMeasured
from anymask.evaluation.selection import EvalSettings
from anymask.formats import AnnotatedImage
from anymask.masks import Mask, Masks, ModelSpec, mask_to_rle
from tests.evaluation.small_sets import rectangle
from tests.evaluation.test_average_recall import HW, LARGE, SMALL, Finder, small_set

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
    with pytest.raises(NotMeasured, match="does not support automatic mask"):
        measure_shown(divider, small_set(tmp_path / "set"), EvalSettings(), lambda *n: None)


# By class: two cups and a plate on two photos.

CUP, PLATE, HALF_OF_CUP = (10, 10, 30, 30), (50, 5, 150, 115), (10, 10, 20, 30)


def photo(truth: list[tuple[Any, str]], shown: list[tuple[Any, str | None, float]]) -> ShownImage:
    truths = [Mask(mask_to_rle(rectangle(HW, box)), label) for box, label in truth]
    found = [Mask(mask_to_rle(rectangle(HW, box)), name, score=s) for box, name, s in shown]
    return ShownImage(AnnotatedImage(file_name="a", hw=HW, masks=Masks(truths)), found)


def table_of(images: list[ShownImage]) -> dict[str, tuple[Any, ...]]:
    return {str(row[0]): row[1:] for row in shown_ap(images)[2].rows}


def test_recall_by_class_needs_no_names_and_precision_does() -> None:
    """The plate is found exactly, of the cups one with an IoU of .5: at the first threshold."""
    images = [
        photo([(CUP, "cup"), (PLATE, "plate")], [(PLATE, None, 0.9), (HALF_OF_CUP, None, 0.8)]),
        photo([(CUP, "cup")], [(BESIDE, None, 0.7)]),
    ]
    ap, ap50, _ = shown_ap(images)
    table = table_of(images)
    assert table["plate"][:3] == (1, 1.0, 1.0)
    assert table["cup"][:3] == (2, pytest.approx(0.5 / 10), 0.5)
    assert all(np.isnan(value) for row in table.values() for value in row[3:5])
    # of 3 truths the best mask hits at every threshold, the second at the first alone
    assert ap50.value == pytest.approx(67 / 101)
    assert ap.value == pytest.approx((67 + 9 * 34) / 101 / 10)


def test_precision_and_ap_by_class_count_the_masks_of_that_name() -> None:
    images = [
        photo(
            [(CUP, "cup"), (PLATE, "plate")],
            [(PLATE, "cup", 0.9), (CUP, "cup", 0.8), (PLATE, "plate", 0.7), (BESIDE, "dog", 0.6)],
        ),
        photo([], [(BESIDE, "plate", 0.1)]),
    ]
    table = table_of(images)
    assert table["cup"] == (1, 1.0, 1.0, 0.5, pytest.approx(0.5), 2)
    assert table["plate"] == (1, 1.0, 1.0, 0.5, pytest.approx(1.0), 2)
    assert set(table) == {"cup", "plate"}


def test_pixels_that_do_not_count_and_photos_without_objects_are_no_errors() -> None:
    crowd = Mask(mask_to_rle(rectangle(HW, PLATE)), "plate", crowd=True)
    truth = AnnotatedImage(
        file_name="a", hw=HW, masks=Masks([Mask(mask_to_rle(rectangle(HW, CUP)), "cup"), crowd])
    )
    shown = [Mask(mask_to_rle(rectangle(HW, box)), "cup", score=0.5) for box in (PLATE, CUP)]
    ap, _, table = shown_ap([ShownImage(truth, shown)])
    assert ap.value == pytest.approx(1)
    assert table.rows == (("cup", 1, 1.0, 1.0, 1.0, pytest.approx(1.0), 1),)
    empty = shown_ap([ShownImage(AnnotatedImage(file_name="b", hw=HW), [])])
    assert np.isnan(empty[0].value)
    assert empty[2].rows == ()
