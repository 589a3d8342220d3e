"""CVAT: runs inside a box as its SDK has them, and its XML."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given

from anymask.base import DataError
from anymask.formats import AnnotatedImage, LossReport, cvat
from anymask.masks import empty_rle, mask_to_rle, rle_iou
from tests.formats.annotated import written
from tests.masks.strategies import Pixels, masks, quickly


def slow(mask: Pixels) -> list[int]:
    y, x = np.nonzero(mask)
    values = mask[y.min() : y.max() + 1, x.min() : x.max() + 1].ravel().tolist()
    runs, now = [0], False
    for value in values:
        if value != now:
            runs.append(0)
            now = value
        runs[-1] += 1
    return [*runs, int(x.min()), int(y.min()), int(x.max()), int(y.max())]


@quickly
@given(masks())
def test_runs_are_those_of_the_slow_way_and_come_back(mask: Pixels) -> None:
    if not mask.any():
        with pytest.raises(DataError, match="CVAT does not support empty masks"):
            cvat.mask_to_cvat(empty_rle(mask.shape))
        return
    points = cvat.mask_to_cvat(mask_to_rle(mask))
    assert points == slow(mask)
    assert cvat.cvat_to_rle(points, mask.shape) == mask_to_rle(mask)


def read(
    folder: Path, shapes: str, hw: tuple[int, int] = (6, 8)
) -> tuple[AnnotatedImage, LossReport]:
    size = f'width="{hw[1]}" height="{hw[0]}"'
    image = f'<image id="0" name="a.jpg" {size}>{shapes}</image>'
    (folder / "a.xml").write_text(f"<annotations><version>1.1</version>{image}</annotations>")
    report = LossReport()
    (found,) = cvat.read(folder / "a.xml", report)
    return found, report


def test_polygons_and_boxes_are_filled_and_points_reported(tmp_path: Path) -> None:
    image, report = read(
        tmp_path,
        '<polygon label="a" points="1.0,1.0;4.0,1.0;4.0,3.0;1.0,3.0"/>'
        '<box label="b" xtl="1" ytl="1" xbr="4" ybr="3"/><points label="c" points="1,1"/>',
    )
    truth = np.zeros((6, 8), np.bool_)
    truth[1:3, 1:4] = True
    for mask in image.masks:
        np.testing.assert_array_equal(mask.mask, truth)
    assert [str(loss) for loss in report.losses] == [
        f"{tmp_path}/a.xml: image 0: shape 2 (points): shapes of type 'points' have no mask"
    ]


def test_a_box_beyond_the_picture_is_refused_before_its_runs_are_decoded() -> None:
    with pytest.raises(DataError, match="is outside the image"):
        cvat.cvat_to_rle([6_000_000_000, 0, 0, 99_999, 59_999], (4, 6))


def test_shapes_of_one_label_and_group_are_one_object(tmp_path: Path) -> None:
    """As CVAT's COCO export joins them: 16 + 4 pixels of group 1; another label stays apart."""
    box = '<box label="{}" xtl="{}" ytl="0" xbr="{}" ybr="{}" group_id="{}"/>'
    rows = [("a", 0, 4, 4, 1), ("a", 6, 8, 2, 1), ("b", 0, 1, 1, 1), ("a", 0, 1, 1, 0)]
    image, _ = read(tmp_path, "".join(box.format(*row) for row in [*rows, rows[-1]]))
    found = [(mask.label, mask.id, mask.area) for mask in image.masks]
    assert found == [("a", 1, 20), ("b", 1, 1), ("a", None, 1), ("a", None, 1)]
    assert written(tmp_path / "b.xml", [image], "cvat").counts() == {}
    (again,) = cvat.read(tmp_path / "b.xml", LossReport())
    assert again.masks == image.masks


def test_turned_boxes_and_ellipses_are_what_opencv_draws(tmp_path: Path) -> None:
    """Clockwise, as CVAT shows them; the drawn outline of OpenCV is half a pixel wider."""
    image, report = read(
        tmp_path,
        '<ellipse label="a" cx="60.5" cy="40.5" rx="30" ry="12" rotation="30"/>'
        '<box label="b" xtl="30.5" ytl="28.5" xbr="90.5" ybr="52.5" rotation="30"/>',
        (100, 120),
    )
    ellipse, box = np.zeros((2, 100, 120), np.uint8)
    cv2.ellipse(ellipse, (60, 40), (30, 12), 30, 0, 360, 1, -1)
    corners = cv2.boxPoints(((60.0, 40.0), (60.0, 24.0), 30.0))
    cv2.fillConvexPoly(box, corners.round().astype(np.int32), 1)
    for mask, drawn in zip(image.masks, (ellipse, box), strict=True):
        assert rle_iou([mask.rle], [mask_to_rle(drawn)])[0, 0] > 0.93
    assert not report
