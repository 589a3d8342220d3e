"""COCO writer of a followed video: tracked frames in, one JSON of instances out.

An image of the JSON is a frame (`00012.png`), an annotation an object on it: its `category_id` is
the object's name, its `group_id` the object's number, as in `data.coco`. Rows go to files beside
it, which become its middle, so that no frame is held.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from anymask.primitives.records import UNLABELLED
from anymask.primitives.rle import rle_box_xyxy, rle_to_coco
from anymask.primitives.storage import whole_file
from anymask.video.outputs import Picture, VideoFacts, copy_rows
from anymask.video.records import ObjectMask, TrackedFrame


class CocoWriter:
    """.json; see `outputs.MaskWriter`.

    names  object -> its class; objects without one are called as masks without a label are
    """

    def __init__(self, path: Path, facts: VideoFacts, names: Mapping[int, str]) -> None:
        self.path, self.facts = path, facts
        path.parent.mkdir(parents=True, exist_ok=True)
        self._names = {number: names.get(number) or UNLABELLED for number in facts.objects}
        classes = sorted(set(self._names.values()))
        self._ids = {name: place for place, name in enumerate(classes, start=1)}
        self._images = path.with_name(f".{path.name}.images")
        self._rows = path.with_name(f".{path.name}.rows")
        self._files: tuple[IO[str], IO[str]] = (
            self._images.open("w", encoding="utf-8"), self._rows.open("w", encoding="utf-8"),
        )  # fmt: skip
        self._count, self._written = 0, 0

    def write(self, frame: TrackedFrame, picture: Picture) -> None:
        """See `MaskWriter`."""
        self._count += 1
        height, width = self.facts.hw
        image = {"id": self._count, "file_name": frame.name or f"{frame.stem}.png",
                 "height": height, "width": width}  # fmt: skip
        self._files[0].write(("," if self._count > 1 else "") + json.dumps(image))
        for number, one in frame.objects.items():
            if one.area:
                row = self._row(number, one)
                self._files[1].write(("," if self._written > 1 else "") + json.dumps(row))

    def _row(self, number: int, one: ObjectMask) -> dict[str, object]:
        self._written += 1
        x0, y0, x1, y1 = rle_box_xyxy(one.rle)
        return {
            "id": self._written,
            "image_id": self._count,
            "category_id": self._ids[self._names[number]],
            "segmentation": rle_to_coco(one.rle),
            "bbox": [int(x0), int(y0), int(x1 - x0 + 1), int(y1 - y0 + 1)],
            "area": one.area,
            "iscrowd": 0,
            "group_id": number,
            "score": round(one.score, 4),
        }

    def close(self) -> None:
        """See `MaskWriter`."""
        for file in self._files:
            file.close()
        classes = [{"id": number, "name": name} for name, number in self._ids.items()]
        about = {"info": {"description": "written by anymask"}, "categories": classes}
        with whole_file(self.path) as out:
            out.write(json.dumps(about)[:-1].encode())
            for key, rows in (("images", self._images), ("annotations", self._rows)):
                out.write(f', "{key}": ['.encode())
                copy_rows(rows, out)
                out.write(b"]")
            out.write(b"}\n")
        self._images.unlink()
        self._rows.unlink()

    def abandon(self) -> None:
        """See `MaskWriter`."""
        for file in self._files:
            file.close()
        self._images.unlink()
        self._rows.unlink()
