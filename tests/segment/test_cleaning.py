"""Masks come out clean: small parts and holes go, clicked ones stay, references are untouched."""

from typing import Any

import numpy as np
import pytest

from anymask.base import InputError
from anymask.masks import OPENCV, Geometry, clean_logits
from anymask.segment import Model
from tests.segment.fakes import ColorRuntime, discs

IMAGE, _ = discs((80, 120), [(35, 40, 25), (95, 40, 12)])
IMAGE = IMAGE.copy()
COLOR = IMAGE[40, 20].copy()
IMAGE[36:42, 30:36] = 255  # a hole in the left disc, 2 % of it
IMAGE[2:8, 60:66] = COLOR  # an island of its colour
SPECK, HOLE, ON = (62, 4), (32, 38), (20, 40)


def masks_of(clicks: list[tuple[int, int]], labels: list[int], **settings: Any) -> np.ndarray:
    asked = {"points": clicks, "point_labels": labels, **settings}
    return np.asarray(Model(ColorRuntime()).segment(IMAGE, **asked).masks[0])


def at(mask: np.ndarray, place: tuple[int, int]) -> bool:
    return bool(mask[place[1], place[0]])


def test_one_click_gives_one_whole_part() -> None:
    mask = masks_of([ON], [1])
    assert (at(mask, ON), at(mask, HOLE), at(mask, SPECK)) == (True, True, False)


@pytest.mark.parametrize("settings", [{"multimask": True}, {"multimask": False}])
def test_the_answers_of_the_papers_code_are_untouched(settings: dict[str, bool]) -> None:
    mask = masks_of([ON], [1], **settings)
    assert (at(mask, ON), at(mask, HOLE), at(mask, SPECK)) == (True, False, True)


def test_a_clicked_part_and_a_clicked_hole_stay() -> None:
    mask = masks_of([ON, SPECK, HOLE], [1, 1, 0])
    assert (at(mask, HOLE), at(mask, SPECK)) == (False, True)


@pytest.mark.parametrize(("label", "filled"), [(1, True), (0, False)])
def test_of_clicks_in_a_small_hole_only_a_negative_one_keeps_it(label: int, filled: bool) -> None:
    logits = np.full((8, 8), 3.0, np.float32)
    logits[3:5, 3:5] = -3
    click = np.array([[3.5, 3.5]]), np.array([label])
    cleaned = clean_logits(logits, Geometry((64, 64), (64, 64), 64), click, (0.2, 0.2), 0.0, OPENCV)
    assert (cleaned[3:5, 3:5] > 0).all() == filled


@pytest.mark.parametrize("size", ["10%", 0.1, 200])
def test_a_size_may_be_a_share_or_pixels(size: float | str) -> None:
    mask = masks_of([ON], [1], multimask=False, max_hole_area=size, min_island_area=size)
    assert (at(mask, HOLE), at(mask, SPECK)) == (True, False)


def test_parts_above_the_size_stay() -> None:
    mask = masks_of([ON], [1], max_hole_area="0.1%", min_island_area=3)
    assert (at(mask, HOLE), at(mask, SPECK)) == (False, True)


@pytest.mark.parametrize("size", [-1, "5 apples", "100%", None])
def test_nonsense_is_refused(size: Any) -> None:
    with pytest.raises(InputError, match="Invalid min_island_area"):
        masks_of([ON], [1], min_island_area=size)


def test_cells_beside_the_photo_are_no_part_of_the_mask() -> None:
    """Half of the square is padding, which is neither hole nor island nor the largest part."""
    logits = np.full((8, 8), -1.0, np.float32)
    logits[1:3, 1:7] = 1
    logits[5:, :] = 9  # beside the photo
    place = Geometry((30, 60), (32, 64), 64)
    none = np.zeros((0, 2)), np.zeros(0)
    np.testing.assert_array_equal(
        clean_logits(logits, place, none, (0.2, 0.2), 0.0, OPENCV), logits
    )


def test_what_is_fed_back_is_what_the_model_said_and_only_what_is_shown_is_clean() -> None:
    answer = Model(ColorRuntime()).segment(IMAGE, points=[ON])
    raw = Model(ColorRuntime()).segment(IMAGE, points=[ON], max_hole_area=0, min_island_area=0)
    np.testing.assert_array_equal(answer.logits, raw.logits)
    np.testing.assert_array_equal(raw.shown_logits, raw.logits)
    changed = answer.shown_logits[0] != raw.first.logits
    assert 0 < np.count_nonzero(changed) < 0.05 * changed.size


def test_everything_is_clean_in_adaptive_mode_and_as_found_in_exact_mode() -> None:
    model = Model(ColorRuntime())
    settings = {"grid": 8, "score": 0.0, "stability": 0.0}
    found = {
        mode: [one.mask for one in model.everything(IMAGE, mode=mode, **settings)]
        for mode in ("adaptive", "exact")
    }
    with_speck = {
        mode: any(at(mask, ON) and at(mask, SPECK) for mask in masks)
        for mode, masks in found.items()
    }
    assert with_speck == {"adaptive": False, "exact": True}
