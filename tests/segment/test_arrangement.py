"""Each step on masks drawn by hand; their order; what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from anymask.base import InputError
from anymask.masks import Mask, mask_to_rle
from anymask.segment import Grid, MaskFilter, split_by_score
from anymask.segment.everything.filter import filter_masks, without_duplicates
from anymask.segment.settings import ADAPTIVE_NMS, mask_filter_of
from tests.formats.truth import box


def record(mask: np.ndarray, quality: float = 0.5) -> Mask:
    return Mask(mask_to_rle(mask), score=quality)


CAR, WHEEL, BOLT = box(2, 2, 20, 15), box(4, 8, 10, 14), box(6, 10, 8, 12)
RECORDS = [record(CAR, 0.7), record(WHEEL, 0.8), record(BOLT, 0.6)]


def test_small_masks_are_dropped_and_small_regions_are_not() -> None:
    speckled = CAR | box(25, 17, 26, 18)
    speckled[5, 5] = False
    records = [record(speckled), record(BOLT)]
    (kept,) = filter_masks(records, MaskFilter(min_mask_area=5))
    np.testing.assert_array_equal(kept.mask, speckled)
    assert [r.area for r in filter_masks(records, MaskFilter(min_mask_area=4))] == [234, 4]


def test_islands_and_holes_are_cleaned_each_for_itself() -> None:
    dotted = CAR | box(25, 17, 26, 18)
    holed = CAR & ~box(5, 5, 6, 6)
    (without_island,) = filter_masks([record(dotted & holed)], MaskFilter(min_island_area=2))
    np.testing.assert_array_equal(without_island.mask, holed & CAR)
    assert without_island.box == (2, 2, 19, 14)
    (without_hole,) = filter_masks([record(holed | (dotted & ~CAR))], MaskFilter(max_hole_area=2))
    np.testing.assert_array_equal(without_hole.mask, dotted)
    assert without_hole.area == dotted.sum()


def test_of_duplicates_the_better_one_stays() -> None:
    shifted = record(box(3, 2, 21, 15), 0.9)
    assert without_duplicates([RECORDS[0], RECORDS[1], shifted], 0.8) == [RECORDS[1], shifted]
    assert without_duplicates([RECORDS[0], shifted], 0.95) == [RECORDS[0], shifted]


def test_a_stray_pixel_does_not_hide_a_duplicate() -> None:
    stray = record(CAR | box(29, 19, 30, 20), 0.6)
    assert filter_masks([RECORDS[0], stray], MaskFilter(nms_iou=0.9)) == RECORDS[:1]


def test_adaptive_mode_drops_what_is_nearly_the_same_and_exact_mode_does_not() -> None:
    adaptive = MaskFilter(
        nms_iou=0.4, max_containment=0.9, min_island_area="5%", max_hole_area="5%"
    )
    assert mask_filter_of(Grid(mode="adaptive"), {}) == adaptive
    assert ADAPTIVE_NMS == 0.4
    assert mask_filter_of(Grid(mode="exact"), {}) == MaskFilter()
    for mode, usual in (("adaptive", adaptive), ("exact", MaskFilter())):
        chosen = mask_filter_of(Grid(mode=mode), {"nms_iou": 0.6, "min_mask_area": 3})
        assert chosen == replace(usual, nms_iou=0.6, min_mask_area=3)


def test_who_asks_for_parts_and_wholes_gets_both() -> None:
    for given in ({"layout": "tree"}, {"granularity": "all"}, {"max_containment": 1.0}):
        chosen = mask_filter_of(Grid(mode="adaptive"), given)
        assert chosen.max_containment == 1
    chosen = mask_filter_of(Grid(mode="adaptive"), {"nms_iou": 0.7})
    assert chosen.max_containment == 0.9


def test_of_a_part_and_its_whole_the_better_one_stays() -> None:
    one = MaskFilter(max_containment=0.9)
    hub = record(box(5, 9, 9, 13), 0.9)
    assert filter_masks([RECORDS[1], RECORDS[2]], one) == [RECORDS[1]]
    assert filter_masks([RECORDS[1], hub], one) == [hub]
    beside = record(box(9, 8, 14, 14), 0.9)  # a sixth of the wheel lies on it
    assert filter_masks([RECORDS[1], beside], one) == [RECORDS[1], beside]
    assert filter_masks(RECORDS, replace(one, max_containment=1.0)) == RECORDS


def test_surroundings_are_no_rivals_of_what_lies_in_them() -> None:
    """The car covers 39 % of the picture."""
    for quality in (0.1, 0.95):
        car = replace(RECORDS[0], score=quality)
        assert filter_masks([car, RECORDS[1]], MaskFilter(max_containment=0.9)) == [car, RECORDS[1]]


def test_what_is_shown_of_everything_lies_in_nothing_better() -> None:
    assert split_by_score(RECORDS, 0.0, 0.0) == ([RECORDS[0], RECORDS[1]], [RECORDS[2]])


def test_masks_that_become_alike_by_cleaning_are_duplicates() -> None:
    dotted = record(BOLT | box(25, 0, 28, 3), 0.4)
    settings = MaskFilter(min_island_area=10, nms_iou=0.9)
    assert len(filter_masks([RECORDS[2], dotted], settings)) == 2  # the larger part stays
    assert filter_masks([RECORDS[0], record(CAR | box(25, 0, 28, 3), 0.4)], settings) == RECORDS[:1]


def test_levels_and_layouts_go_together() -> None:
    alone = record(box(24, 0, 29, 9))
    assert filter_masks([*RECORDS, alone], MaskFilter(granularity="whole")) == [RECORDS[0], alone]
    assert filter_masks([*RECORDS, alone], MaskFilter(granularity="part")) == [RECORDS[2], alone]
    tree = filter_masks(RECORDS, MaskFilter(layout="tree"))
    assert [(r.parent, r.depth) for r in tree] == [(None, 0), (0, 1), (1, 2)]
    whole = filter_masks(RECORDS, MaskFilter(layout="tree", granularity="whole"))
    assert [(r.parent, r.depth) for r in whole] == [(None, 0)]
    shares = filter_masks(RECORDS, MaskFilter(layout="partition"))
    assert [share.area for share in shares] == [234 - 36, 36 - 4, 4]


def test_small_shares_are_dropped() -> None:
    halves = [record(box(0, 0, 5, 9)), record(box(5, 0, 10, 9))]
    rim = record(box(0, 0, 10, 10), 0.9)
    assert filter_masks([rim, *halves], MaskFilter(layout="partition", min_mask_area=11)) == halves


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"nms_iou": -0.1}, "nms_iou must be a number from 0 to 1, got -0.1"),
        ({"min_mask_area": "x"}, "min_mask_area must be a number of pixels, 0 or more, got 'x'"),
        ({"max_hole_area": float("nan")}, "Invalid max_hole_area nan"),
        ({"granularity": "car"}, "granularity must be"),
        ({"layout": "list"}, 'layout must be "flat", "partition" or "tree", got \'list\''),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        MaskFilter(**settings)


# Levels of everything's tree.
