"""Our own sets (`data/sets.py`), which `train` and `eval` read, as one of the formats.

What is written is `masks.jsonl` and `set.json`; the pictures are the user's to put into `images/`.
Masks of a crowd become pixels that count neither as right nor as wrong, one list for the picture.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anymask.data.annotations import (
    AnnotatedImage,
    AnnotatedMask,
    LossReport,
    annotated_mask,
    note_traits,
)
from anymask.data.documents import OutFile, output_stem, to_json
from anymask.data.label_pictures import VOID_LABEL
from anymask.data.outlines import Policy
from anymask.data.sets import INFO_FILE, MASKS_FILE, Sample, load_set
from anymask.primitives.rle import rle_area, rle_merge, rle_to_string

PICTURES = "images"


def read(source: Path, report: LossReport, pictures: Path | None = None) -> list[AnnotatedImage]:
    """Read a set's folder; what does not count is a crowd with the label "void".

    Raises DataError that names file, line and reason.
    """
    _, samples = load_set(source, absent_photos=True)
    return [sample_to_image(sample, source) for sample in samples]


def sample_to_image(sample: Sample, source: Path) -> AnnotatedImage:
    """One sample of the set at `source`; its file name is relative to the folder of pictures."""
    name = sample.image_path.relative_to(source).as_posix().removeprefix(f"{PICTURES}/")
    masks = [
        annotated_mask(rle, label, extra={} if who is None else {"annotator": who})
        for rle, label, who in zip(sample.masks, sample.labels, sample.annotators, strict=True)
    ]
    if sample.ignore is not None:
        masks.append(annotated_mask(sample.ignore, VOID_LABEL, crowd=True))
    return AnnotatedImage(file_name=name, hw=sample.hw, masks=tuple(masks))


def encode(
    images: list[AnnotatedImage], target: Path, report: LossReport, policy: Policy
) -> Iterator[OutFile]:
    """The two files of a set's folder."""
    lines = [to_json(_row(image, report)) for image in images]
    yield target / MASKS_FILE, b"".join(lines)
    yield target / INFO_FILE, (json.dumps({"name": target.name}) + "\n").encode()


def picture_name(file_name: str) -> str:
    """Where a set has the picture of this name."""
    return f"{PICTURES}/{output_stem(file_name).as_posix()}"


def _row(image: AnnotatedImage, report: LossReport) -> dict[str, Any]:
    note_traits(report, image, frozenset({"labels", "crowds", "extras"}))
    crowds = [mask for mask in image.masks if mask.crowd]
    for number, mask in enumerate(image.masks):
        if mask.crowd and (mask.label != VOID_LABEL or len(crowds) > 1):
            reason = "a crowd became pixels that do not count"
            report.add("crowds", image.file_name, number, reason)
    row: dict[str, Any] = {
        "image": picture_name(image.file_name),
        "hw": list(image.hw),
        "masks": [_mask(mask, image, report) for mask in image.masks if not mask.crowd],
    }
    if crowds:
        row["ignore_rle"] = rle_to_string(rle_merge([mask.rle for mask in crowds]))
    return row


def _mask(mask: AnnotatedMask, image: AnnotatedImage, report: LossReport) -> dict[str, Any]:
    written: dict[str, Any] = {"rle": rle_to_string(mask.rle), "area": rle_area(mask.rle)}
    if mask.label is not None:
        written["label"] = mask.label
    if type(mask.extra.get("annotator")) is int:
        written["annotator"] = mask.extra["annotator"]
    if others := sorted(set(mask.extra) - {"annotator"}):
        report.add("extras", image.file_name, None, f"the keys {others} have no place")
    return written
