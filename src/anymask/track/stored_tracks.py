"""Reader of existing tracks: .jsonl, SA-V and YouTube-VIS files.

It reads the files that `anymask track` and the page write, so that a run can correct, extend or
convert them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from anymask.base import DataError, InputError, file_suffix, parse_json
from anymask.formats import fields, located, read_json, segmentation_to_rle
from anymask.masks import Rle, coco_to_rle, rle_area
from anymask.track.records import ObjectMask, ObjectState, UncertaintyReason

KINDS = "a .jsonl file of `anymask track`, or a .json file of SA-V or YouTube-VIS"


@dataclass(frozen=True)
class KnownTracks:
    """Masks of existing tracks."""

    masks: dict[int, dict[int, ObjectMask]]  # Object number to frame to mask
    sourced: bool  # Whether frames are source frame numbers; else indices of sampled frames


def read_tracks(path: Path) -> KnownTracks:
    """Read a file of tracks.

    Raises InputError if the format is not supported or there is no object, DataError with file,
    position and reason if it is invalid.

    Args:
        path: .jsonl of `anymask track`, JSON of SA-V (Ravi et al. 2024), or JSON of YouTube-VIS
            with one video.
    """
    if not path.is_file():
        raise InputError(f"The tracks file {str(path)!r} does not exist. Expected {KINDS}.")
    masks: dict[int, dict[int, ObjectMask]] = {}
    lines = file_suffix(path) == ".jsonl"
    with located(path):
        for number, frame, mask in _lines(path) if lines else _document(path):
            if frame in masks.setdefault(number, {}):
                raise DataError(
                    f"Object {number} has two masks on frame {frame}. Remove one of them."
                )
            masks[number][frame] = mask
    if not any(rle_area(mask.rle) for track in masks.values() for mask in track.values()):
        raise InputError(f"{path} has no masks. Expected {KINDS} with at least one non-empty mask.")
    return KnownTracks(masks, lines)


def _lines(path: Path) -> Iterator[tuple[int, int, ObjectMask]]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            with located(f"line {number}"):
                row = parse_json(line, f"line {number}")
                for record in row["objects"]:
                    state, doubts = record.get("state", "visible"), record.get("doubts", ())
                    yield int(record["object"]), int(row["frame"]), ObjectMask(
                        coco_to_rle(record["segmentation"]),
                        fields.as_number(record.get("score", 1), "score"),
                        fields.as_number(record.get("quality", 1), "quality"),
                        state if state in get_args(ObjectState) else "visible",
                        tuple(doubt for doubt in doubts if doubt in get_args(UncertaintyReason)),
                        bool(record.get("prompted", False)),
                    )  # fmt: skip


def _document(path: Path) -> Iterator[tuple[int, int, ObjectMask]]:
    document = read_json(path)
    if isinstance(document, dict) and "masklet" in document:
        numbers = [int(number) for number in document["masklet_id"]]
        for frame, row in enumerate(document["masklet"]):
            for number, coco in zip(numbers, row, strict=True):
                yield number, frame, _plain(coco_to_rle(coco))
    elif isinstance(document, dict) and "videos" in document and "annotations" in document:
        if len(document["videos"]) != 1:
            raise InputError(
                f"The file has {len(document['videos'])} videos, but a file with one video is "
                "required. Split it with `anymask convert`."
            )
        (video,) = document["videos"]
        hw = int(video["height"]), int(video["width"])
        for number, track in enumerate(document["annotations"] or [], start=1):
            for frame, drawn in enumerate(track["segmentations"]):
                if drawn is not None:
                    yield number, frame, _plain(segmentation_to_rle(drawn, hw))
    else:
        raise InputError(f"Unsupported JSON. Expected {KINDS}.")


def _plain(rle: Rle) -> ObjectMask:
    return ObjectMask(rle, 1.0, 1.0, "visible" if rle_area(rle) else "occluded")
