"""Mask records: run-lengths, box and scores of one mask in; annotations of SA-1B and COCO out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from anymask.base import BoolArray, DataError, InputError, UintImage, name_all_keywords
from anymask.masks.files import (
    FoundMask,
    mask_picture,
    output_kind,
    shows_photo,
    write_found,
)
from anymask.masks.polygons import SMOOTH, Polygon, rle_to_polygons
from anymask.masks.preview import (
    Picture,
    percent,
    photo_of,
    preview_html,
    preview_png,
    show_picture,
    spare_photo,
    without_held,
)
from anymask.masks.rle import (
    Rle,
    coco_to_rle,
    rle_area,
    rle_box_xywh,
    rle_box_xyxy,
    rle_to_coco,
    rle_to_mask,
)

Box = tuple[float, float, float, float]
OutputMode = Literal["coco_rle", "uncompressed_rle", "binary_mask"]
UNLABELLED = "object"  # the class of a mask without a label, where a format wants one
STABILITY_OFFSET = 1.0  # segment-anything's default, in logits


@name_all_keywords
@dataclass(frozen=True, kw_only=True)
class Mask:
    """One mask of a list, in image pixels.

    rle         the mask
    box    first and last pixel along x and y
    area        object pixels
    score       the model's own number, raw
    stability   IoU of the mask cut a little higher and a little lower, 0..1; None where nobody
                worked it out
    points      the clicks that made it, (x, y) each
    crop_box    the part of the photo that the model saw, x0, y0, x1, y1 (x1 and y1 exclusive)
    objectness  chance that a mask which a person drew overlaps this one with an IoU of .5, 0..1;
                None where nobody judged it
    label       a name, where somebody gave one
    label_probability  of the label, where a model that was tuned on classes gave it
    runner_up   the second-best label and its score, where words were searched for (`Model.find`)
    parent      where masks are a tree: the index, in the same list, of the smallest mask that this
                one is part of; None where it is part of none
    depth       where masks are a tree: how many masks this one lies in; None where they are no tree
    picture     reads the photo, where it is known: it is what `show` and `save` draw on; records of
                different pictures may be equal
    """

    rle: Rle
    box: Box
    area: int
    score: float
    stability: float | None
    points: tuple[tuple[float, float], ...] = ()
    crop_box: Box
    objectness: float | None = None
    label: str | None = None
    parent: int | None = None
    depth: int | None = None
    label_probability: float | None = None
    runner_up: tuple[str, float] | None = None
    picture: Picture | None = field(default=None, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return without_held(vars(self))

    def __repr__(self) -> str:
        height, width = self.rle.size
        name = "" if self.label is None else f", label {self.label!r}"
        return f"<Mask of {width}x{height}: score {self.score:.2f}, {percent(self.coverage)}{name}>"

    def _repr_png_(self) -> bytes:
        return preview_png(self.mask.astype(np.uint8) * np.uint8(255))

    def _repr_html_(self) -> str:
        return preview_html(repr(self), [], self._repr_png_())

    @property
    def coverage(self) -> float:
        """The share of the photo's pixels, 0..1."""
        return self.area / max(1, self.rle.size[0] * self.rle.size[1])

    @property
    def mask(self) -> BoolArray:
        """(H, W) bool, decoded each time: a list of large masks would fill the memory."""
        return rle_to_mask(self.rle)

    def polygons(self, tolerance: float = SMOOTH, min_area: float = 0.0) -> list[Polygon]:
        """The mask's outlines, holes included: smooth, or exact at a tolerance of 0.

        See `mask_to_polygons`.
        """
        return rle_to_polygons(self.rle, tolerance, min_area)

    @property
    def rank(self) -> float:
        """What orders masks of one photo: how likely it is an object, else its score."""
        return self.score if self.objectness is None else self.objectness

    def draw(self, image: UintImage | None = None) -> UintImage:  # (H, W, 3)
        """The photo with this mask. Raises InputError without the photo."""
        drawn: UintImage = mask_picture("overlay", self._found(image, with_photo=True))
        return drawn

    def save(self, path: str | Path, image: UintImage | None = None) -> Path:
        """Write this mask; the end of the name says what, as of a list of one (`Masks`).

        .json SA-1B, .csv measurements, .geojson, .svg, .txt YOLO, .npy (H, W) bool, .mask.png,
        .png .jpg and other pictures the photo with the mask

        image  the photo, where the record does not know it

        Raises InputError for another suffix, a picture of a photo that is not known, the photo.
        """
        target = Path(path)
        kind = output_kind(target, "overlay")
        spare_photo(target, self.picture)
        write_found(target, kind, self._found(image, shows_photo(kind)))
        return target

    def show(self, image: UintImage | None = None) -> None:
        """Open the photo with this mask in the system's viewer of pictures."""
        show_picture(self.draw(image))

    def _found(self, image: UintImage | None, with_photo: bool) -> FoundMask:
        name = Path("photo.jpg" if self.picture is None else self.picture.name)
        photo = photo_of(image, self.picture, self.rle.size) if with_photo else None
        return FoundMask(name, photo, self.mask, self)

    def to_sa1b(
        self, record_id: int | None = None, output_mode: OutputMode = "coco_rle"
    ) -> dict[str, Any]:
        """The annotation record of the SA-1B data set.

        output_mode  what "segmentation" holds, by segment-anything's names: "coco_rle" (ready for
                     JSON), "uncompressed_rle" (its counts as a list), "binary_mask" (H, W) bool

        Boxes become x, y, width, height as segment-anything writes them (last minus first pixel).
        `id`, `stability_score`, `label`, `label_probability`, `runner_up`, `objectness`, `parent`,
        `depth` are left out where there is none; `parent` counts the records of the list from 0.
        Raises InputError for another output_mode.
        """
        x0, y0, x1, y1 = self.crop_box
        record: dict[str, Any] = {} if record_id is None else {"id": record_id}
        record |= {
            "segmentation": self._segmentation(output_mode),
            "area": self.area,
            "bbox": _xywh(self.box),
            "predicted_iou": self.score,
            "point_coords": [list(point) for point in self.points],
            "stability_score": self.stability,
            "crop_box": [x0, y0, x1 - x0, y1 - y0],
        }
        if self.stability is None:
            record.pop("stability_score")
        if self.objectness is not None:
            record["objectness"] = self.objectness
        if self.label is not None:
            record["label"] = self.label
        if self.label_probability is not None:
            record["label_probability"] = self.label_probability
        if self.runner_up is not None:
            record["runner_up"] = list(self.runner_up)
        if self.parent is not None:
            record["parent"] = self.parent
        if self.depth is not None:
            record["depth"] = self.depth
        return record

    def _segmentation(self, output_mode: OutputMode) -> Any:
        match output_mode:
            case "coco_rle":
                return rle_to_coco(self.rle)
            case "uncompressed_rle":
                return {"size": list(self.rle.size), "counts": self.rle.counts.tolist()}
            case "binary_mask":
                return self.mask
        raise InputError(
            f"output_mode must be one of {', '.join(get_args(OutputMode))}, got {output_mode!r}"
        )

    def to_coco(
        self, record_id: int = 1, image_id: int = 1, category_id: int = 1
    ) -> dict[str, Any]:
        """An annotation of COCO with run-lengths; its box counts pixels: x, y, width, height.

        The keys of SA-1B stand beside COCO's own; `score` is the mask's own, as in COCO's results.
        """
        written = self.to_sa1b(record_id)
        # A file has many pictures, a tree only one.
        for key in ("label", "objectness", "parent", "depth"):
            written.pop(key, None)
        if not self.points:
            written.pop("point_coords")
        return written | {
            "image_id": image_id,
            "category_id": category_id,
            "iscrowd": 0,
            "area": rle_area(self.rle),
            "bbox": [float(side) for side in rle_box_xywh(self.rle)],
            "score": self.score,
        }

    @classmethod
    def from_sa1b(cls, record: Any) -> Mask:
        """Read such a record; only `segmentation` must be there.

        The rest is worked out, zero or None.

        Raises DataError on a record without a readable mask or with values of a wrong type.
        """
        if not isinstance(record, Mapping) or "segmentation" not in record:
            raise DataError(
                'an SA-1B record needs the key "segmentation" with run lengths; got '
                f"{str(record)[:80]}"
            )
        rle = coco_to_rle(record["segmentation"])
        crop = record.get("crop_box", [0, 0, rle.size[1], rle.size[0]])
        try:
            return cls(
                rle=rle,
                box=_xyxy(record["bbox"]) if "bbox" in record else _box(rle),
                area=int(record.get("area", rle_area(rle))),
                score=float(record.get("predicted_iou", 0.0)),
                stability=float(record["stability_score"]) if "stability_score" in record else None,
                points=tuple((float(x), float(y)) for x, y in record.get("point_coords") or ()),
                crop_box=_xyxy(crop),
                objectness=_number_or_none(record.get("objectness")),
                label=None if record.get("label") is None else str(record["label"]),
                parent=None if record.get("parent") is None else int(record["parent"]),
                depth=None if record.get("depth") is None else int(record["depth"]),
                label_probability=_number_or_none(record.get("label_probability")),
                runner_up=_label_and_score(record.get("runner_up")),
            )
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(
                f"an SA-1B record has a value of a wrong type ({error}); boxes are [x, y, w, h], "
                "points [[x, y], ...]"
            ) from error


def _label_and_score(value: Any) -> tuple[str, float] | None:
    if value is None:
        return None
    label, score = value
    return str(label), float(score)


def _number_or_none(value: Any) -> float | None:
    return None if value is None else float(value)


def _xywh(box: Box) -> list[float]:
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]


def _xyxy(box_xywh: Any) -> Box:
    x, y, width, height = (float(value) for value in box_xywh)
    return (x, y, x + width, y + height)


def _box(rle: Rle) -> Box:
    x0, y0, x1, y1 = rle_box_xyxy(rle)
    return (float(x0), float(y0), float(x1), float(y1))


def record_from_rle(
    rle: Rle, *, score: float = 0.0, stability: float | None = None, label: str | None = None
) -> Mask:
    """A record of a mask alone; box and area are worked out, the crop is the whole photo."""
    return Mask(
        rle=rle,
        box=_box(rle),
        area=rle_area(rle),
        score=score,
        stability=stability,
        crop_box=(0.0, 0.0, float(rle.size[1]), float(rle.size[0])),
        label=label,
    )
