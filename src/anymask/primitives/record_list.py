"""A list of masks of one photo: records in, filtered, nested, drawn and saved records out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from anymask.primitives.draw import colours, overlay
from anymask.primitives.errors import InputError
from anymask.primitives.layout import coverage, nested
from anymask.primitives.masks import mask_nms
from anymask.primitives.records import MaskRecord, OutputMode
from anymask.primitives.storage import write_json, write_whole
from anymask.primitives.types import UintImage


class MaskRecords(list[MaskRecord]):
    """What `Model.everything` answers: an ordinary list of `MaskRecord`, with what users do next.

    Every method leaves the list as it is and answers a new one. Masks stay run-lengths.
    """

    def __repr__(self) -> str:
        if not self:
            return "<MaskRecords: none>"
        height, width = self[0].rle.size
        best = max(record.quality for record in self)
        return (
            f"<MaskRecords: {len(self)} masks of {width}x{height}, best quality {best:.2f}, "
            f"{100 * coverage(self):.0f} % of the photo>"
        )

    def filter(
        self,
        keep: Callable[[MaskRecord], bool] | None = None,
        *,
        min_quality: float = 0.0,
        min_stability: float = 0.0,
        min_area: float = 0,
        label: str | None = None,
    ) -> MaskRecords:
        """The records that reach all of these, in their order.

        keep      tells of a record whether it stays; None: all
        min_area  pixels
        label     only those of this name
        """
        return MaskRecords(
            record
            for record in self
            if record.quality >= min_quality
            and record.stability >= min_stability
            and record.area >= min_area
            and (label is None or record.label == label)
            and (keep is None or keep(record))
        )

    def nms(self, threshold: float = 0.7) -> MaskRecords:
        """Of two masks that overlap with a larger IoU the one of higher quality, best first."""
        if not 0 <= threshold <= 1:
            raise InputError(f"threshold must be an IoU from 0 to 1, got {threshold!r}")
        quality = [record.quality for record in self]
        kept = mask_nms([record.rle for record in self], quality, threshold)
        return MaskRecords(self[index] for index in kept.tolist())

    def tree(self) -> MaskRecords:
        """The same records, each with its `parent` (an index in the list) and its `depth`."""
        return MaskRecords(nested(self))

    def draw(self, image: UintImage, *, alpha: float = 0.45) -> UintImage:  # (H, W, 3)
        """The photo with its masks, at the photo's size; masks are unpacked one after the other.

        Raises InputError where the masks are of another size.
        """
        drawn, palette = image, colours(len(self))
        for index in sorted(range(len(self)), key=lambda index: -self[index].area):
            drawn = overlay(drawn, self[index].mask, alpha=alpha, palette=[palette[index]])
        return drawn

    def to_sa1b(self, output_mode: OutputMode = "coco_rle") -> list[dict[str, Any]]:
        """The SA-1B annotation records, numbered from 1."""
        return [record.to_sa1b(number, output_mode) for number, record in enumerate(self, start=1)]

    def save(self, path: str | Path, image: UintImage | None = None) -> Path:
        """Write one file, whole or not at all: .json (SA-1B), or a picture of `image` with masks.

        Raises InputError for another suffix, or for a picture without `image`.
        """
        target = Path(path)
        if target.suffix.lower() == ".json":
            height, width = self[0].rle.size if self else (0, 0)
            about = {"width": width, "height": height}
            write_json(target, {"image": about, "annotations": self.to_sa1b()})
            return target
        if target.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
            raise InputError(
                f"records are saved as .json, .png, .jpg or .webp, got {target.name!r}; for other "
                "formats save .json and use `anymask convert`"
            )
        if image is None:
            raise InputError(f"{target.name} is a picture of the masks; give image=PHOTO, too")
        drawn = np.ascontiguousarray(self.draw(image)[..., ::-1])
        _, data = cv2.imencode(target.suffix.lower(), drawn)
        write_whole(target, data.tobytes())
        return target
