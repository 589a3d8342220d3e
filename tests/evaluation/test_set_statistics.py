"""What data sets hold, against masks counted by hand."""

import math
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anymask.evaluation import page
from anymask.evaluation.page import heat_map, line_plot
from anymask.evaluation.statistics import (
    Histogram,
    SetStatistics,
    collect_statistics,
    find_duplicates,
    reweight_concavity,
)
from anymask.evaluation.statistics_report import report_statistics
from anymask.formats import AnnotatedImage
from anymask.masks import Mask, empty_rle, mask_to_rle
from tests.evaluation.small_sets import rectangle

HW = (60, 80)


def masked(*boxes: tuple[int, int, int, int], **more: object) -> list[Mask]:
    return [Mask(mask_to_rle(rectangle(HW, box)), **more) for box in boxes]


def picture(*masks: Mask, name: str = "a.jpg") -> AnnotatedImage:
    return AnnotatedImage(file_name=name, hw=HW, masks=masks)


@pytest.fixture
def found() -> SetStatistics:
    """Two pictures: a rectangle twice, a small square over it, an empty mask, a crowd; nothing."""
    twin = masked((10, 20, 50, 50), (10, 20, 50, 50), label="cup")
    small = masked((40, 40, 50, 50), label="spoon")
    crowd = masked((0, 0, 80, 10), crowd=True)
    empty = Mask(empty_rle(HW))
    groups = {"cup": "kitchen"}
    images = [picture(*twin, *small, empty, *crowd), picture(name="b.jpg")]
    return collect_statistics(images, "two", lambda _, mask: groups.get(mask.label or ""))


def test_pictures_masks_and_what_is_wrong_are_counted(found: SetStatistics) -> None:
    assert (found.images, found.bare, found.masks) == (2, 1, 4)
    assert (found.empty, found.crowds, found.pairs, found.paired_images) == (1, 1, 1, 1)
    assert found.per_image_bins().tolist() == [1, 1, 0, 0, 0, 0]
    assert (found.per_image.least, found.per_image.mean, found.per_image.most) == (0, 2, 4)
    assert found.labels == {"cup": 2, "spoon": 1}


def test_sizes_are_relative_to_the_picture(found: SetStatistics) -> None:
    large, small = math.sqrt(1200 / 4800), math.sqrt(100 / 4800)
    assert found.size.mean == pytest.approx((2 * large + small) / 3)
    assert found.coco_sizes.tolist() == [1, 2, 0]
    assert found.megapixels.mean == pytest.approx(0.0048)
    assert found.aspect.most == pytest.approx(math.log2(40 / 30))
    assert found.concavity.most == 0


def test_coverage_counts_a_pixel_once_and_overlap_the_second_time(found: SetStatistics) -> None:
    assert found.coverage.most == pytest.approx(1200 / 4800)
    assert found.coverage.mean == pytest.approx(1200 / 4800 / 2)
    assert found.overlap.mean == 1.0  # 1300 pixels more than once


def test_centres_fall_on_their_place_in_the_picture(found: SetStatistics) -> None:
    rows, columns = np.nonzero(found.centers)
    assert list(zip(rows, columns, strict=True)) == [(18, 12), (24, 18)]  # of 32: 35/60, 30/80; ...
    assert found.centers.max() == 2


def test_groups_count_pictures_and_masks(found: SetStatistics) -> None:
    (name,) = found.groups
    assert (name, found.groups[name].images, found.groups[name].masks) == ("kitchen", 1, 2)


def test_limits_of_coco_are_exclusive_above() -> None:
    sides = [(31, 33), (32, 32), (95, 97), (96, 96)]
    masks = [Mask(mask_to_rle(rectangle((100, 100), (0, 0, *side)))) for side in sides]
    image = AnnotatedImage(file_name="a", hw=(100, 100), masks=tuple(masks))
    assert collect_statistics([image], "a").coco_sizes.tolist() == [1, 2, 1]


def test_only_pairs_over_the_threshold_are_duplicates() -> None:
    rles = [mask.rle for mask in masked((0, 0, 40, 40), (0, 0, 40, 39), (0, 0, 40, 30))]
    assert find_duplicates([*rles, empty_rle(HW), empty_rle(HW)]).tolist() == [[0, 1]]
    assert find_duplicates(rles, 0.7).tolist() == [[0, 1], [0, 2], [1, 2]]


@given(st.lists(st.floats(-0.2, 1.2), min_size=1, max_size=50))
def test_a_tally_is_exact_in_its_mean_and_right_to_a_bin_in_its_quantiles(
    values: list[float],
) -> None:
    tally = Histogram(np.linspace(0, 1, 101))
    tally.add(values[:3])
    tally.add(values[3:])
    assert tally.n == len(values) == tally.counts.sum()
    assert tally.mean == pytest.approx(np.mean(values))
    inside = np.clip(values, 0, 1)
    for q in (0.1, 0.5, 0.9):
        low, high = np.quantile(inside, q, method="lower"), np.quantile(inside, q, method="higher")
        assert min(low, tally.most) - 0.0101 <= tally.quantile(q) <= max(high, tally.least) + 0.0101


def test_concavities_are_compared_at_equal_sizes() -> None:
    first, second = SetStatistics(name="a"), SetStatistics(name="b")
    first.concave_by_size[2, 10], first.concave_by_size[8, 60] = 90, 10
    second.concave_by_size[2, 10], second.concave_by_size[8, 60] = 10, 90
    second.concave_by_size[19, 99] = 50  # no mask of this size in the other
    one, other = reweight_concavity([first, second])
    np.testing.assert_allclose(one, other)
    assert one.sum() == pytest.approx(1)
    assert one[60] == pytest.approx((0.1 + 0.6) / 2 / ((0.1 + 0.6) / 2 + (0.9 + 1 / 15) / 2))


def test_the_three_reports_hold_the_same_numbers(found: SetStatistics) -> None:
    report = report_statistics([found])
    text = str(report)
    assert "| masks | 4 |" in text
    assert "| mask pairs with an IoU above 0.95 | 1 in 1 images |" in text
    assert "| kitchen | 1 | 50.0 % | 2 | 50.0 % | 2.0 | 0.500 |" in text
    (raw,) = report.data["sets"]
    assert (raw["masks"], raw["coco_sizes"]["small"]) == (4, 1)
    assert raw["size"]["n"] == 3
    assert sum(raw["size"]["counts"]) == 3
    assert len(raw["size"]["edges"]) == len(raw["size"]["counts"]) + 1
    page = report_statistics([found, collect_statistics([picture()], "<none>")]).to_html()
    assert "&lt;none&gt;" in page
    assert "<none>" not in page
    assert "http" not in page


def test_plots_are_well_formed_and_their_marks_say_what_they_are() -> None:
    series = [
        page.Series("a & b", np.array([0.25, 0.75])),
        page.Series("<c>", np.array([0.0, 0.0])),
    ]
    lines = ET.fromstring(line_plot([1, 10, 100], series, "x <y>", str, log=True))
    assert [line.findtext("title") for line in lines.iter("polyline")] == ["a & b", "<c>"]
    bars = ET.fromstring(page.bar_plot(["one", "two"], series, "x"))
    assert [bar.findtext("title") for bar in bars.iter("rect")][:2] == [
        "a & b, one: 25 %", "<c>, one: 0 %",
    ]  # fmt: skip
    heights = [float(bar.get("height", "")) for bar in bars.iter("rect")]
    assert heights[2] == pytest.approx(3 * heights[0], abs=0.2)
    cells = ET.fromstring(heat_map([[0, 4], [1, 0]], "places"))
    assert [(cell.get("x"), cell.get("fill-opacity")) for cell in cells] == [
        ("1", "1.000"), ("0", "0.250"),
    ]  # fmt: skip
    assert page.legend(["one"]) == ""
    assert "a &lt; b" in page.legend(["a < b", "c"])
