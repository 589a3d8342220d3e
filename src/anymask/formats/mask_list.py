"""A list of masks of one photo: records in, filtered, nested, drawn and saved records out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, SupportsIndex, overload

import numpy as np

from anymask.base import (
    BoolArray,
    InputError,
    UintImage,
    parse_json,
    whole_file,
    write_json,
    write_whole,
)
from anymask.formats.annotations import AnnotatedImage, LossReport, record_to_mask
from anymask.formats.outlines import Policy
from anymask.masks import (
    SMOOTH,
    Mask,
    OutputMode,
    Picture,
    colours,
    counted,
    coverage,
    mask_nms,
    nested,
    overlay,
    photo_of,
    picture_format,
    preview_html,
    preview_of,
    rle_merge,
    rle_to_mask,
    same_picture,
    save_picture,
    show_picture,
    spare_photo,
    table_row,
    to_csv,
    to_dataframe,
    to_supervision,
    with_rle,
    without_held,
)

_SHOWN = 20  # records that a notebook lists below the picture


class Masks(list[Mask]):
    """What `Model.everything` answers: an ordinary list of `Mask`, with what users do next.

    Every method leaves the list as it is and answers a new one. Masks stay run-lengths. `+` joins
    lists of one photo; where each knows another photo of the same size, their sum knows none.

    image_hw  (H, W) of the photo; that of the first record when left out
    picture   reads the photo, where it is known: it is what `show` and `save` draw on; records that
              know none get it
    """

    def __init__(
        self,
        records: Iterable[Mask] = (),
        *,
        image_hw: tuple[int, int] | None = None,
        picture: Picture | None = None,
    ) -> None:
        if picture is not None:
            records = (r if r.picture is not None else replace(r, picture=picture) for r in records)
        super().__init__(records)
        self._image_hw, self.picture = image_hw, picture

    def __repr__(self) -> str:
        if not self:
            return "<Masks: none>"
        height, width = self[0].rle.size
        best = max(record.score for record in self)
        return (
            f"<Masks: {counted(len(self), 'mask')} of {width}x{height}, "
            f"best quality {best:.2f}, {100 * coverage(self):.0f} % of the photo>"
        )

    def __getstate__(self) -> dict[str, Any]:
        return without_held(vars(self))

    @overload
    def __getitem__(self, index: SupportsIndex) -> Mask: ...

    @overload
    def __getitem__(self, index: slice) -> Masks: ...

    def __getitem__(self, index: SupportsIndex | slice) -> Mask | Masks:
        if isinstance(index, slice):
            return self._with(super().__getitem__(index))
        return super().__getitem__(index)

    # A list's `+` is typed for items of any kind; this one takes records alone.
    def __add__(self, other: Any) -> Masks:  # type: ignore[override]
        """All records of both. Raises InputError where their photos are of other sizes."""
        return self._joined(other, [*self, *other]) if isinstance(other, list) else NotImplemented

    def __radd__(self, other: Any) -> Masks:
        return self._joined(other, [*other, *self]) if isinstance(other, list) else NotImplemented

    def __mul__(self, times: SupportsIndex) -> Masks:
        return self._with(super().__mul__(times))

    __rmul__ = __mul__

    def copy(self) -> Masks:
        """The same records in a list of their own."""
        return self._with(self)

    __copy__ = copy

    def _joined(self, other: list[Any], records: list[Mask]) -> Masks:
        strange = [one for one in other if not isinstance(one, Mask)]
        if strange:
            raise InputError(f"wanted records to join, got {strange[0]!r}; give `Mask`s")
        lists = [self, other if isinstance(other, Masks) else Masks(other)]
        sizes = {record.rle.size for record in records}
        sizes |= {one._image_hw for one in lists if one._image_hw is not None}
        if len(sizes) > 1:
            raise InputError(
                "wanted masks of one photo to join, got masks of "
                f"{' and '.join(map(str, sorted(sizes)))} (height, width); keep a list for each"
            )
        known: list[Picture] = []
        for picture in [one.picture for one in lists]:
            if picture is not None and not any(same_picture(picture, one) for one in known):
                known.append(picture)
        return Masks(
            records,
            image_hw=next(iter(sizes), None),
            picture=known[0] if len(known) == 1 else None,
        )

    def _with(self, records: Iterable[Mask]) -> Masks:
        """Other records of the same photo."""
        return Masks(records, image_hw=self._image_hw, picture=self.picture)

    @property
    def image_hw(self) -> tuple[int, int]:
        """(H, W) of the photo. Raises InputError for an empty list that does not know it."""
        if self._image_hw is not None:
            return self._image_hw
        if not self:
            raise InputError("an empty list of masks has no size; give image_hw=(H, W) with it")
        return self[0].rle.size

    @property
    def coverage(self) -> float:
        """The share of the photo's pixels, 0..1, that lie in at least one mask."""
        return coverage(self)

    @property
    def best(self) -> Mask:
        """The record of the highest quality. Raises InputError for an empty list."""
        if not self:
            raise InputError("an empty list of masks has no best one; look at len() first")
        return max(self, key=lambda record: record.score)

    def filter(
        self,
        keep: Callable[[Mask], bool] | None = None,
        *,
        min_quality: float = 0.0,
        min_stability: float = 0.0,
        min_area: float = 0,
        label: str | None = None,
    ) -> Masks:
        """The records that reach all of these, in their order.

        keep      tells of a record whether it stays; None: all
        min_area  pixels
        label     only those of this name
        """
        return self._with(
            record
            for record in self
            if record.score >= min_quality
            and (record.stability or 0.0) >= min_stability
            and record.area >= min_area
            and (label is None or record.label == label)
            and (keep is None or keep(record))
        )

    def nms(self, threshold: float = 0.7) -> Masks:
        """Of two masks that overlap with a larger IoU the one of higher quality, best first."""
        if not 0 <= threshold <= 1:
            raise InputError(f"threshold must be an IoU from 0 to 1, got {threshold!r}")
        quality = [record.score for record in self]
        kept = mask_nms([record.rle for record in self], quality, threshold)
        return self._with(self[index] for index in kept.tolist())

    def merge(self, *others: Iterable[Mask], threshold: float = 0.7) -> Masks:
        """The masks of this and other lists of the same photo, each once (see `nms`)."""
        return self._with([*self, *(record for other in others for record in other)]).nms(threshold)

    def union(self, label: str | None = None) -> Mask:
        """One record of all pixels of any mask, with the best one's numbers.

        Raises InputError for an empty list.
        """
        whole = with_rle(self.best, rle_merge([record.rle for record in self]))
        return replace(whole, label=label, points=(), parent=None, depth=None)

    def tree(self) -> Masks:
        """The same records, each with its `parent` (an index in the list) and its `depth`."""
        return self._with(nested(self))

    def masks(self) -> BoolArray:  # (N, H, W)
        """All masks in pixels: N * H * W bytes."""
        stack = np.zeros((len(self), *self.image_hw), np.bool_)
        for plane, record in zip(stack, self, strict=True):
            plane[:] = rle_to_mask(record.rle)
        return stack

    # Pictures.

    def draw(
        self, image: UintImage | None = None, *, alpha: float = 0.45
    ) -> UintImage:  # (H, W, 3)
        """The photo with its masks, at the photo's size; masks are unpacked one after the other.

        image  the photo, where the list does not know it

        Raises InputError where the masks are of another size, or no photo is known.
        """
        if not self and self._image_hw is None and image is not None:
            return image
        drawn, palette = photo_of(image, self.picture, self.image_hw), colours(len(self))
        for index in sorted(range(len(self)), key=lambda index: -self[index].area):
            drawn = overlay(drawn, self[index].mask, alpha=alpha, palette=[palette[index]])
        return drawn

    def show(self, image: UintImage | None = None) -> None:
        """Open the photo with its masks in the system's viewer of pictures."""
        show_picture(self.draw(image))

    def _repr_png_(self) -> bytes | None:
        return None if self.picture is None else preview_of(self.draw)

    def _repr_html_(self) -> str:
        rows = [repr(record) for record in self[:_SHOWN]]
        rows += [f"and {len(self) - _SHOWN} more"] if len(self) > _SHOWN else []
        return preview_html(repr(self), rows, self._repr_png_())

    def save(self, path: str | Path, image: UintImage | None = None) -> Path:
        """Write one file, whole or not at all, by the end of its name.

        .json SA-1B, .csv as `to_csv`, .geojson, .svg, .xml CVAT, .txt YOLO, .npy (N, H, W) bool;
        any picture: the photo with its masks. `write` takes all other formats by name.

        image  the photo, where the list does not know it

        Raises InputError for another suffix, a picture where no photo is known, or the photo.
        """
        target = Path(path)
        spare_photo(target, self.picture)
        suffix = target.suffix.lower()
        if suffix == ".json":
            write_json(target, {"image": self._about(), "annotations": self.to_sa1b()})
        elif suffix == ".csv":
            write_whole(target, self.to_csv().encode())
        elif suffix == ".txt":
            write_whole(target, self.to_yolo().encode())
        elif suffix == ".npy":
            with whole_file(target) as file:
                np.save(file, self.masks())
        elif picture_format(suffix) is not None:
            drawn = self.draw(image)
            with whole_file(target) as file:
                save_picture(file, drawn, suffix)
        elif (name := _format_of(suffix)) is not None:
            self.write(target, name)
        else:
            raise InputError(
                "records are saved as .json, .csv, .geojson, .svg, .xml, .txt, .npy, .png, .jpg or "
                f"another picture, got {target.name!r}; for other formats: write(path, format)"
            )
        return target

    # Formats.

    def write(
        self, target: str | Path, form: str | None = None, policy: Policy | None = None
    ) -> LossReport:
        """Write a file or a folder in any format of `anymask convert`, and tell what was lost.

        form    sa1b, coco, coco-polygon, labelme, label-studio, cvat, yolo, geojson, svg, ...;
                None: as the suffix or the folder's name says (.json is coco)
        policy  what becomes of holes and parts, and the tolerance of outlines

        Raises InputError for an unknown format, DataError where it cannot hold the masks.
        """
        from anymask.formats.registry import format_of_target, write_annotations  # 40 ms to load

        spare_photo(Path(target), self.picture)
        form = format_of_target(Path(target)) if form is None else form
        return write_annotations([self._annotated()], target, form, policy)

    def encode(self, form: str, policy: Policy | None = None) -> dict[str, bytes]:
        """The files that `write` would write, by their names."""
        from anymask.formats.registry import encode_annotations, find_format

        target = Path("masks" + find_format(form).ending)
        files = encode_annotations([self._annotated()], target, form, LossReport(), policy)
        return {_inside(path, target): data for path, data in files}

    def to_sa1b(self, output_mode: OutputMode = "coco_rle") -> list[dict[str, Any]]:
        """The SA-1B annotation records, numbered from 1."""
        return [record.to_sa1b(number, output_mode) for number, record in enumerate(self, start=1)]

    def to_coco(self, polygons: bool = False, tolerance: float = SMOOTH) -> dict[str, Any]:
        """A COCO document of this photo, with run-lengths or with polygons.

        tolerance  here and below: pixels by which an outline may move to follow the edge; 0: along
                   the pixels. Masks that are no outlines have none
        """
        return self._mapping("coco-polygon" if polygons else "coco", tolerance)

    def to_labelme(self, polygons: bool = False, tolerance: float = SMOOTH) -> dict[str, Any]:
        """A labelme document with masks or with polygons."""
        return self._mapping("labelme-polygon" if polygons else "labelme", tolerance)

    def to_label_studio(
        self, polygons: bool = False, tolerance: float = SMOOTH
    ) -> list[dict[str, Any]]:
        """Label Studio's tasks, with brushes or polygons as predictions."""
        form = "label-studio-polygon" if polygons else "label-studio"
        tasks: list[dict[str, Any]] = parse_json(self._text(form, tolerance), "the tasks")
        return tasks

    def to_geojson(self, tolerance: float = SMOOTH) -> dict[str, Any]:
        """A FeatureCollection in pixels of the photo."""
        return self._mapping("geojson", tolerance, ".geojson")

    def to_cvat(self) -> str:
        """CVAT for images 1.1, XML."""
        return self._text("cvat", suffix=".xml")

    def to_svg(self, tolerance: float = SMOOTH) -> str:
        """An SVG picture, a path a mask."""
        return self._text("svg", tolerance, ".svg")

    def to_yolo(self, tolerance: float = SMOOTH) -> str:
        """The lines of a YOLO-seg label file: class and corners, from 0 to 1.

        tolerance  pixels by which an outline may move to follow the edge; 0: along the pixels
        """
        files = self.encode("yolo", Policy(tolerance=tolerance))
        return "".join(data.decode() for name, data in files.items() if name.endswith(".txt"))

    def to_csv(self) -> str:
        """A table of measurements, a row a mask (`masks.measure`)."""
        return to_csv(table_row(self._name, n, one.rle, one) for n, one in enumerate(self, start=1))

    def to_supervision(self) -> Any:
        """A `supervision.Detections`. Raises InputError where supervision is not installed."""
        return to_supervision(self, self.image_hw)

    def to_dataframe(self) -> Any:
        """A `pandas.DataFrame`, a row a mask. Raises InputError where pandas is not installed."""
        return to_dataframe(self)

    def to_pipeline(self) -> dict[str, Any]:
        """As transformers' pipeline("mask-generation") answers: `masks` and `scores`.

        `masks` is a list of (H, W) bool arrays, `scores` (N,) float32, in the order of the list.
        """
        scores = np.array([record.score for record in self], np.float32)
        return {"masks": [record.mask for record in self], "scores": scores}

    def _about(self) -> dict[str, int | str]:
        known = bool(self) or self._image_hw is not None
        height, width = self.image_hw if known else (0, 0)
        return {"image_id": 1, "width": width, "height": height, "file_name": self._name}

    @property
    def _name(self) -> str:
        return "photo.jpg" if self.picture is None else self.picture.name

    def _annotated(self) -> AnnotatedImage:
        masks = tuple(record_to_mask(record) for record in self)
        return AnnotatedImage(file_name=self._name, hw=self.image_hw, masks=masks)

    def _mapping(self, form: str, tolerance: float, suffix: str = ".json") -> dict[str, Any]:
        document: dict[str, Any] = parse_json(self._text(form, tolerance, suffix), form)
        return document

    def _text(self, form: str, tolerance: float = SMOOTH, suffix: str = ".json") -> str:
        files = self.encode(form, Policy(tolerance=tolerance))
        return next(data.decode() for name, data in files.items() if name.endswith(suffix))


def _inside(path: Path, target: Path) -> str:
    """A file's name relative to the folder that is written, or its own."""
    inside = path.is_relative_to(target) and path != target
    return path.relative_to(target).as_posix() if inside else path.name


def _format_of(suffix: str) -> str | None:
    """The format of one file of this suffix."""
    from anymask.formats.registry import find_format, format_of_suffix

    name = format_of_suffix(suffix)
    return None if name is None or find_format(name).kind == "folder" else name
