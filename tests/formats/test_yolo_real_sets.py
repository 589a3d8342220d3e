"""YOLO-seg and back with masks that people drew: what is kept, what is lost, and what is told.

Parts and holes are counted by scipy's labelling, not by our outlines. A part is what hangs together
by edges, a hole what a part cuts off from the outside, where corners are no way through.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from anymask.formats import AnnotatedImage, LossReport, Policy, read_annotations, write_annotations
from anymask.masks import Mask, mask_to_rle, rle_box_xyxy, rle_iou, rle_to_mask

Pixels = NDArray[np.bool_]
SETS = {"coco_val": 5, "camvid_driving": 4}  # objects with labels; regions full of holes, without
EDGES = ndimage.generate_binary_structure(2, 1)


@cache
def truth_of(folder: Path) -> list[AnnotatedImage]:
    """Every fifth or fourth photo of a set."""
    images, report = read_annotations(folder, "set")
    assert not report
    return images[:: SETS[folder.name]]


@pytest.fixture(params=SETS)
def real_set(request: pytest.FixtureRequest, shared: Path) -> Path:
    return shared / "data" / "eval" / request.param


def there_and_back(
    folder: Path, out: Path, policy: Policy
) -> tuple[LossReport, dict[str, list[Mask]]]:
    """The writer's report, and the masks that are read again by their picture."""
    report = write_annotations(truth_of(folder), out, "yolo", policy)
    found, told = read_annotations(out, "yolo", folder / "images")
    assert not told
    assert {image.file_name for image in found} == {image.file_name for image in truth_of(folder)}
    return report, {image.file_name: list(image.masks) for image in found}


def every_mask(folder: Path) -> Iterator[tuple[str, int, Mask, Pixels]]:
    for image in truth_of(folder):
        for number, mask in enumerate(image.masks):
            yield image.file_name, number, mask, rle_to_mask(mask.rle)


def parts_of(mask: Pixels) -> list[tuple[tuple[slice, slice], Pixels]]:
    """The box of each part, and its pixels there."""
    labeled, _ = ndimage.label(mask)
    boxes = ndimage.find_objects(labeled)
    return [(box, labeled[box] == part) for part, box in enumerate(boxes, start=1)]


def told(report: LossReport, kind: str) -> dict[tuple[str, int | None], str]:
    return {(loss.image, loss.mask): loss.reason for loss in report.losses if loss.kind == kind}


def test_bridges_keep_every_pixel_and_the_report_names_every_hole_and_part(
    real_set: Path, tmp_path: Path
) -> None:
    report, found = there_and_back(real_set, tmp_path, Policy(tolerance=0))
    holes, parts, bare = {}, {}, {}
    for name, number, mask, pixels in every_mask(real_set):
        again = found[name][number]
        assert again.rle == mask.rle, (name, number)
        assert again.label == (mask.label or "object")
        rings = [part for _, part in parts_of(pixels)]
        if count := sum(int(ndimage.label(~np.pad(part, 1))[1]) - 1 for part in rings):
            holes[name, number] = f"{count} hole{'s' * (count > 1)} bridged"
        if len(rings) > 1:
            parts[name, number] = f"its {len(rings)} parts were joined by bridges"
        if mask.label is None:
            bare[name, number] = 1
    assert min(len(holes), len(parts)) > 3
    assert told(report, "holes") == holes
    assert told(report, "parts") == parts
    assert set(told(report, "labels")) == set(bare)
    assert set(report.counts()) <= {"holes", "parts", "labels"}


def test_filled_holes_and_split_parts_lose_what_the_report_says(
    real_set: Path, tmp_path: Path
) -> None:
    """A mask that is kept has an IoU of its area over that of its filled parts, exactly."""
    report, found = there_and_back(
        real_set, tmp_path, Policy(tolerance=0, holes="drop", parts="split")
    )
    changed = told(report, "pixels")
    for name, number, mask, pixels in every_mask(real_set):
        filled, union = [], np.zeros_like(pixels)
        for box, part in parts_of(pixels):
            whole = np.zeros_like(pixels)
            whole[box] = ndimage.binary_fill_holes(part, EDGES)
            union |= whole
            filled.append(mask_to_rle(whole).counts.tobytes())
        mine, found[name] = found[name][: len(filled)], found[name][len(filled) :]
        assert sorted(one.rle.counts.tobytes() for one in mine) == sorted(filled), (name, number)
        assert ((name, number) in changed) == bool((union != pixels).any())
        if (name, number) in changed:
            iou = mask.area / union.sum()
            text = f"the outline covers {union.sum()} pixels instead of {mask.area}, IoU {iou:.4f}"
            assert changed[name, number] == text
    assert not any(found.values())
    assert changed


def test_a_tolerance_moves_outlines_by_no_more(real_set: Path, tmp_path: Path) -> None:
    """Pixels change within the tolerance of the outline; what is left bounds the IoU.

    A smooth outline runs within a quarter of a pixel's diagonal of the border of a pixel of the
    other side, whose centre is half a diagonal away at most.
    """
    tolerance = 1.0
    report, found = there_and_back(real_set, tmp_path, Policy(tolerance=tolerance))
    changed = told(report, "pixels")
    for name, number, mask, pixels in every_mask(real_set):
        again = found[name][number].rle
        changes = int((rle_to_mask(again) ^ pixels).sum())
        x0, y0, x1, y1 = rle_box_xyxy(mask.rle)
        box = slice(max(0, y0 - 2), y1 + 3), slice(max(0, x0 - 2), x1 + 3)
        pixels, differs = pixels[box], rle_to_mask(again)[box] ^ pixels[box]
        near = ndimage.distance_transform_edt(np.pad(pixels, 1))[1:-1, 1:-1]
        far = ndimage.distance_transform_edt(~pixels)
        band = (near + far) <= tolerance + 0.75 * np.sqrt(2)
        assert (differs & band).sum() == changes, (name, number)
        iou = float(rle_iou([mask.rle], [again])[0, 0])
        assert iou >= (pixels & ~band).sum() / (pixels | band).sum()
        if differs.any():
            assert float(changed[name, number].split()[-1]) == pytest.approx(iou, abs=5.1e-5)
    assert len(changed) > 60
