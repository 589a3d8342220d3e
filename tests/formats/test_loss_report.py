"""Loss reports are complete: what a source holds has arrived in the target, or the report names it.

Every reader with every writer: sources are files as other tools write them (`traits`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anymask.formats import AnnotatedImage, convert, find_format, read, write_annotations
from anymask.formats.registry import FORMATS, WRITABLE_FORMATS
from anymask.masks import Mask, Masks, mask_to_rle
from tests.formats.traits import SOURCES, photo, text_of

IDS_IN_PIXELS = ("davis", "label-png", "label-tif", "sav", "cellpose")

ON_BOTH_LEVELS = ("attributes", "description", "meta", "flags", "ids")  # of images and of masks


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("to", WRITABLE_FORMATS)
def test_what_is_lost_is_named(source: str, to: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path, traits = SOURCES[source](tmp_path / "in")
    photo(tmp_path / "in")
    target = tmp_path / "out" / ("o" + find_format(to).ending)
    target.parent.mkdir()
    if to == "imagej":
        pytest.importorskip("roifile")
    report = convert(path, target, to)
    text = text_of(target)
    told = "\n".join(report.lines())
    for name, shows in traits.items():
        arrived = re.search(shows, text, re.DOTALL) is not None
        if name == "ids" and to in IDS_IN_PIXELS:
            arrived = True
        named = re.search(rf"(^|[\s,:`(]){name}([\s,:`()]|$)", told, re.MULTILINE) is not None
        assert arrived or named, f"{name} is neither in the target nor in the report:\n{told}"
        if name not in ON_BOTH_LEVELS:
            assert not (arrived and re.search(rf"\b(?<!_){name} \(", told)), (
                f"{name} arrived, yet called lost:\n{told}"
            )


FIELDS: dict[str, tuple[str, Any]] = {  # of a mask: what a report calls it, a value
    "label": ("labels", "boat"),
    "score": ("scores", 0.625),
    "id": ("ids", 41),
    "stability": ("stability", 0.75),
    "points": ("clicks", ((7.0, 8.0),)),
    "crop_box": ("crops", (3.0, 2.0, 54.0, 44.0)),
    "objectness": ("objectness", 0.8125),
    "label_probability": ("label_probability", 0.9375),
    "runner_up": ("runner_up", ("dinghy", 0.25)),
    "depth": ("trees", 0),
    "crowd": ("crowds", True),
    "annotator": ("annotator", 7),
    "extra": ("hull", {"hull": "clinker", "occluded": True}),
}


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("field", FIELDS)
def test_a_field_comes_back_or_is_named(field: str, to: str, tmp_path: Path) -> None:
    if to == "imagej":
        pytest.importorskip("roifile")
    pixels = np.zeros((60, 100), np.bool_)
    pixels[5:15, 5:15] = True
    name, value = FIELDS[field]
    mask = Mask(mask_to_rle(pixels), **{field: value})
    image = AnnotatedImage(file_name="00000.jpg", hw=(60, 100), masks=Masks([mask]))
    target = tmp_path / ("o" + find_format(to).ending)
    report = write_annotations([image], target, to)
    photo(tmp_path / "images", "00000.jpg")
    found = [
        mask
        for image in read(target, to, tmp_path / "images", crowd="ignore")
        for mask in image.masks
    ]
    arrived = bool(found) and getattr(found[0], field) == value
    named = {loss.kind for loss in report.losses} | {loss.name for loss in report.losses}
    assert arrived or name in named, report.losses
