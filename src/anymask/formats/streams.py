"""Streaming encoders of videos: SA-V and COCO as one JSON file, DAVIS as a palette PNG per frame.

Each frame is written at once and none is kept in memory. The rows of a JSON file are collected in a
temporary file beside it, because its header, which contains their count, precedes them.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np

from anymask.base import InputError, whole_file
from anymask.formats.annotations import AnnotatedImage
from anymask.formats.coco import ANYMASK_DESCRIPTION, image_row
from anymask.formats.label_images import VOID, encode_palette
from anymask.formats.sav import video_facts
from anymask.masks import UNLABELED, Mask, empty_rle, rle_box_xywh, rle_to_coco

_FAST = 3  # zlib's level of the PNGs of a stream


@dataclass(frozen=True)
class StreamedFrame:
    """A frame of a video with its objects."""

    index: int  # Index in the video, from 0
    seconds: float  # Presentation time in seconds
    stem: str  # File name stem for files of the frame
    name: str  # File of the frame's image; empty for a video file
    # Masks by object number; where they overlap, the higher score is on top
    objects: Mapping[int, Mask]


class _RowFile:
    """Rows of a JSON list, in a temporary file beside the file into which they are copied."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = tempfile.TemporaryFile(  # noqa: SIM115 - closed below
            dir=path.parent, prefix="."
        )
        self.count = 0

    def add(self, row: object) -> None:
        self._file.write((("," if self.count else "") + json.dumps(row)).encode())
        self.count += 1

    def append_to(self, out: BinaryIO, key: str) -> None:
        """Append the key and the list to an open JSON object and delete the temporary file."""
        out.write(f', "{key}": ['.encode())
        self._file.seek(0)
        shutil.copyfileobj(self._file, out)
        out.write(b"]")
        self._file.close()

    def abandon(self) -> None:
        self._file.close()


def _write_document(path: Path, head: Mapping[str, object], lists: Mapping[str, _RowFile]) -> None:
    """Write an object whose last keys are lists collected in files."""
    with whole_file(path) as out:
        out.write(json.dumps(head)[:-1].encode())
        for key, rows in lists.items():
            rows.append_to(out, key)
        out.write(b"}\n")


class SavStream:
    """SA-V's JSON of one video; every frame has a row of all objects.

    Args:
        name: Id of the video.
        hw: Height and width of all frames.
        rate: Frames per second.
        objects: Object numbers.
    """

    def __init__(
        self, path: Path, name: str, hw: tuple[int, int], rate: float, objects: Sequence[int]
    ) -> None:
        self._path, self._name, self._hw, self._rate = path, name, hw, rate
        self._rows, self._seconds = _RowFile(path), 0.0
        self._areas = dict.fromkeys(objects, 0)
        self._first: dict[int, int] = {}

    def add(self, frame: StreamedFrame) -> None:
        """Write one frame; missing frames before it get empty masks."""
        empty = rle_to_coco(empty_rle(self._hw))
        while self._rows.count < frame.index:  # damaged frames: a row is a frame by its index
            self._rows.add([empty] * len(self._areas))
        row = []
        for number in self._areas:
            mask = frame.objects.get(number)
            row.append(empty if mask is None else rle_to_coco(mask.rle))
            if mask is not None and mask.area:
                self._areas[number] += mask.area
                self._first.setdefault(number, self._rows.count)
        self._rows.add(row)
        self._seconds = frame.seconds

    def close(self) -> None:
        """Write the file."""
        count = self._rows.count
        head = video_facts(self._name, self._hw, self._seconds + 1 / self._rate, count) | {
            "video_environment": "",
            "video_split": "",
            "masklet_id": list(self._areas),
            "masklet_num": len(self._areas),
            "masklet_size_abs": [area / max(count, 1) for area in self._areas.values()],
            "masklet_first_appeared_frame": [self._first.get(n, -1) for n in self._areas],
            "masklet_frame_count": [count] * len(self._areas),
            "masklet_type": ["auto"] * len(self._areas),
        }
        _write_document(self._path, head, {"masklet": self._rows})

    def abandon(self) -> None:
        """Delete the draft."""
        self._rows.abandon()


class CocoStream:
    """COCO instances. An image is a frame (`00012.png`), an annotation an object in it: its
    `category_id` is the object's class, its `group_id` the object's number, as in `formats.coco`.

    Args:
        hw: Height and width of all frames.
        objects: Object numbers.
        names: Class of each object; objects without one get the class of unlabeled masks.
    """

    def __init__(
        self, path: Path, hw: tuple[int, int], objects: Sequence[int], names: Mapping[int, str]
    ) -> None:
        self._path, self._hw = path, hw
        self._names = {number: names.get(number) or UNLABELED for number in objects}
        classes = sorted(set(self._names.values()))
        self._ids = {name: number for number, name in enumerate(classes, start=1)}
        self._images, self._rows = _RowFile(path), _RowFile(path)

    def add(self, frame: StreamedFrame) -> None:
        """Write one frame and its visible objects."""
        number = self._images.count + 1
        name = frame.name or f"{frame.stem}.png"
        self._images.add(image_row(number, AnnotatedImage(file_name=name, hw=self._hw)))
        for thing, mask in frame.objects.items():
            if not mask.area:
                continue
            self._rows.add(
                {
                    "id": self._rows.count + 1,
                    "image_id": number,
                    "category_id": self._ids[self._names[thing]],
                    "segmentation": rle_to_coco(mask.rle),
                    "bbox": list(map(int, rle_box_xywh(mask.rle))),
                    "area": mask.area,
                    "iscrowd": 0,
                    "group_id": thing,
                    "score": round(mask.score, 4),
                }
            )

    def close(self) -> None:
        """Write the file."""
        classes = [{"id": number, "name": name} for name, number in self._ids.items()]
        head = {"info": {"description": ANYMASK_DESCRIPTION}, "categories": classes}
        _write_document(self._path, head, {"images": self._images, "annotations": self._rows})

    def abandon(self) -> None:
        """Delete the drafts."""
        self._images.abandon()
        self._rows.abandon()


class PaletteStream:
    """A folder of palette PNGs; where objects overlap, the higher score is on top.

    Raises InputError for numbers beyond a palette.

    Args:
        hw: Height and width of frames without objects.
        objects: Object numbers, which are the values of the PNGs.
    """

    def __init__(self, folder: Path, hw: tuple[int, int], objects: Sequence[int]) -> None:
        if max(objects, default=0) > VOID or min(objects, default=1) < 1:
            raise InputError(
                f"Palette images support object numbers 1 to {VOID}, given: {list(objects)}. "
                "Change them, or write .jsonl."
            )
        self._folder, self._hw = folder, hw
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, frame: StreamedFrame) -> None:
        """Write the PNG of one frame."""
        objects = sorted(frame.objects.items(), key=lambda pair: pair[1].score)
        values = np.zeros(objects[0][1].rle.size if objects else self._hw, np.uint8)
        for number, mask in objects:
            values[mask.mask] = number
        with whole_file(self._folder / f"{frame.stem}.png") as file:
            file.write(encode_palette(values, _FAST))

    def close(self) -> None:
        """Do nothing: all PNGs are written."""

    def abandon(self) -> None:
        """Keep the PNGs that are written."""


FrameEncoder = SavStream | CocoStream | PaletteStream  # frames are added in order
