"""One mask with its attributes (`Mask`), and the masks of one image (`Masks`).

Masks stay run-length encoded until pixels are required: 400 decoded masks of 12 megapixels take
4.8 GB.

Letters: N masks, H W the image.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, cast, get_args, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from anymask.base import (
    BoolArray,
    DataError,
    FloatArray,
    Floats,
    InputError,
    UintImage,
    brief,
    check_number,
    explain_keywords,
    parse_json,
    preview_html,
    refuse_inputs,
    refuse_text,
)
from anymask.masks.binary import mask_nms
from anymask.masks.images import (
    LazyImage,
    counted,
    image_of,
    percent,
    preview_of,
    preview_png,
    same_image,
    show_image,
    without_pixels,
)
from anymask.masks.polygons import TOLERANCE, Polygon, rle_to_polygons
from anymask.masks.rle import (
    Rle,
    coco_to_rle,
    rle_area,
    rle_box_xywh,
    rle_box_xyxy,
    rle_merge,
    rle_to_coco,
    rle_to_mask,
)

if TYPE_CHECKING:
    from anymask.formats import LossReport, Policy

Box = tuple[float, float, float, float]
OutputMode = Literal["coco_rle", "uncompressed_rle", "binary_mask"]
UNLABELED = "object"  # class of a mask without a label in formats that require one
WHOLE_IMAGE: Box = (0.0, 0.0, 0.0, 0.0)  # as a crop: the whole image
STABILITY_OFFSET = 1.0  # segment-anything's default, in logits
_MAX_SHOWN = 20  # masks that a notebook lists below the image


@brief
@dataclass(frozen=True)
class Origin:
    """The model that predicted a mask."""

    model: str  # Name of the model
    weights: str = ""  # Hash of the weights, or ""
    licence: str = ""  # Licence of the weights, and of the data of fine-tuned weights, or ""
    data: str = ""  # Training data and its terms as text, or ""

    def to_json(self) -> dict[str, str]:
        """JSON record without unknown values."""
        return {name: value for name, value in asdict(self).items() if value}

    @classmethod
    def from_json(cls, record: object) -> Origin | None:
        """Read a record of `to_json`, or return None for anything else."""
        if not isinstance(record, Mapping) or not isinstance(record.get("model"), str):
            return None
        terms = {key: str(record.get(key, "")) for key in ("weights", "licence", "data")}
        return cls(record["model"], **terms)


@explain_keywords
@dataclass(frozen=True)
class Mask:
    """One mask in image pixels, from a model, a person or a file.

    Attributes:
        rle: Run-length encoding of the mask.
        label: Class or name of the object, or None.
        score: Confidence score of the model, 0 if unknown.
        id: Number of the object in the image or video, or None.
        stability: IoU of the masks at a higher and a lower threshold, 0..1, or None.
        points: Clicks (x, y) from which the mask was predicted.
        crop_box: Encoded region x0, y0, x1, y1 (exclusive end). Defaults to the whole image.
        objectness: Probability that an annotated mask has an IoU of 0.5 with this mask, or None.
        label_probability: Probability of the label, or None.
        runner_up: Second-best label and its score, set by `Model.find`.
        parent: In a tree, the index of the smallest mask that contains this one, or None.
        depth: In a tree, the number of masks that contain this one, or None.
        crowd: True for several objects in one mask (COCO's iscrowd) and for ignored pixels.
        annotator: Number of the person who drew the mask, or None.
        drawn_box: Box (x0, y0, x1, y1) that was annotated with the mask, or None.
        extra: Other keys of the record in the source format.
        source_image: Function that reads the image for `show` and `save`. Not used in comparisons.
        origin: Model that predicted the mask, or None. Not used in comparisons.
    """

    rle: Rle
    label: str | None = None
    score: float = field(default=0.0, kw_only=True)
    id: int | None = field(default=None, kw_only=True)
    stability: float | None = field(default=None, kw_only=True)
    points: tuple[tuple[float, float], ...] = field(default=(), kw_only=True)
    crop_box: Box = field(default=WHOLE_IMAGE, kw_only=True)
    objectness: float | None = field(default=None, kw_only=True)
    label_probability: float | None = field(default=None, kw_only=True)
    runner_up: tuple[str, float] | None = field(default=None, kw_only=True)
    parent: int | None = field(default=None, kw_only=True)
    depth: int | None = field(default=None, kw_only=True)
    crowd: bool = field(default=False, kw_only=True)
    annotator: int | None = field(default=None, kw_only=True)
    drawn_box: Box | None = field(default=None, kw_only=True)
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False, kw_only=True)
    source_image: LazyImage | None = field(default=None, compare=False, kw_only=True)
    origin: Origin | None = field(default=None, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.crop_box == WHOLE_IMAGE:
            height, width = self.rle.size
            object.__setattr__(self, "crop_box", (0.0, 0.0, float(width), float(height)))

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"source_image": without_pixels(self.source_image)}

    def __repr__(self) -> str:
        height, width = self.rle.size
        name = "" if self.label is None else f", label {self.label!r}"
        return f"<Mask of {width}x{height}: score {self.score:.2f}, {percent(self.coverage)}{name}>"

    def _repr_png_(self) -> bytes:
        return preview_png(self.mask.astype(np.uint8) * np.uint8(255))

    def _repr_html_(self) -> str:
        return preview_html(repr(self), [], self._repr_png_())

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return self.mask.astype(np.bool_ if dtype is None else dtype, copy=False)

    @cached_property
    def box(self) -> Box:
        """First and last pixel along x and y; zeros if the mask is empty. See also `xyxy`."""
        x0, y0, x1, y1 = rle_box_xyxy(self.rle)
        return (float(x0), float(y0), float(x1), float(y1))

    @property
    def xyxy(self) -> Box:
        """Edges x0, y0, x1, y1 of the mask in pixels, for `box=` of `segment`; zeros if empty."""
        x, y, width, height = rle_box_xywh(self.rle)
        return (float(x), float(y), float(x + width), float(y + height))

    @cached_property
    def area(self) -> int:
        """Number of object pixels."""
        return rle_area(self.rle)

    @property
    def coverage(self) -> float:
        """Share of the image's pixels, 0..1."""
        return self.area / max(1, self.rle.size[0] * self.rle.size[1])

    @property
    def mask(self) -> BoolArray:
        """Decoded mask (H, W) bool. Not cached, to limit the memory of lists of large masks."""
        return rle_to_mask(self.rle)

    def polygons(self, tolerance: float = TOLERANCE, min_area: float = 0.0) -> list[Polygon]:
        """Outlines of the mask with holes: smooth, or exact at a tolerance of 0.

        See also `mask_to_polygons`.
        """
        return rle_to_polygons(self.rle, tolerance, min_area)

    @property
    def rank(self) -> float:
        """Sort key of masks of one image: the objectness if known, else the score."""
        return self.score if self.objectness is None else self.objectness

    def draw(self, image: UintImage | None = None) -> UintImage:  # (H, W, 3)
        """Draw this mask on the image. Raises InputError if no image is known."""
        return Masks([self], source_image=self.source_image).draw(image)

    def save(self, path: str | Path, image: UintImage | None = None) -> Path:
        """Write this mask to a file. The suffix selects the format.

        .png, .webp, .tif: cut-out. .jpg, .overlay.png: image with the mask. .mask.png: binary mask.
        .json, .csv, .svg, .geojson, .txt (YOLO), .npy (H, W) bool.

        Args:
            image: Image, if the mask has no reference to it.

        Raises:
            InputError: The suffix is unknown, or the format requires an image.
        """
        from anymask.formats import save_masks

        masks = Masks([self], source_image=self.source_image)
        return save_masks(masks, Path(path), image, plain="cutout", one=True)

    def show(self, image: UintImage | None = None) -> None:
        """Open the image with this mask in the system's image viewer."""
        show_image(self.draw(image))

    def to_sa1b(
        self, record_id: int | None = None, output_mode: OutputMode = "coco_rle"
    ) -> dict[str, Any]:
        """Return the annotation record in SA-1B format.

        Boxes are x, y, width, height as in segment-anything (last minus first pixel). Optional keys
        such as `id`, `label` and `parent` are omitted if they have no value. `parent` is an index
        into the list; in files it is the id of that record.

        Args:
            output_mode: Form of "segmentation" as in segment-anything: "coco_rle",
                "uncompressed_rle" (a list of counts) or "binary_mask" (H, W) bool.
        """
        match output_mode:
            case "coco_rle":
                segmentation: Any = rle_to_coco(self.rle)
            case "uncompressed_rle":
                segmentation = {"size": list(self.rle.size), "counts": self.rle.counts.tolist()}
            case "binary_mask":
                segmentation = self.mask
            case _:
                raise InputError(
                    f"Unknown output_mode {output_mode!r}. Use {', '.join(get_args(OutputMode))}."
                )
        (x0, y0, x1, y1), (left, top, right, bottom) = self.box, self.crop_box
        record: dict[str, Any] = {
            "id": record_id,
            "segmentation": segmentation,
            "area": self.area,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "predicted_iou": self.score,
            "point_coords": [list(point) for point in self.points],
            "stability_score": self.stability,
            "crop_box": [left, top, right - left, bottom - top],
            "objectness": self.objectness,
            "label": self.label,
            "label_probability": self.label_probability,
            "runner_up": None if self.runner_up is None else list(self.runner_up),
            "parent": self.parent,
            "depth": self.depth,
            "group_id": self.id,
            "iscrowd": int(self.crowd) or None,
        }
        return {key: value for key, value in record.items() if value is not None}

    def to_coco(
        self, record_id: int = 1, image_id: int = 1, category_id: int = 1
    ) -> dict[str, Any]:
        """Return a COCO annotation with RLE, the box in x, y, width, height, and the SA-1B keys."""
        written = self.to_sa1b(record_id)
        # A tree refers to masks of one image, but a file has many images.
        for key in ("label", "parent", "depth"):
            written.pop(key, None)
        if not self.points:
            written.pop("point_coords")
        return written | {
            "image_id": image_id,
            "category_id": category_id,
            "iscrowd": int(self.crowd),
            "bbox": [float(side) for side in rle_box_xywh(self.rle)],
            "score": self.score,
        }

    @classmethod
    def from_sa1b(cls, record: Any) -> Mask:
        """Read a record in SA-1B format. Only `segmentation` is required.

        Box and area are computed from the mask. Raises DataError if the mask or a value is invalid.
        """
        if not isinstance(record, Mapping) or "segmentation" not in record:
            raise DataError(f'Invalid SA-1B record {str(record)[:60]}: "segmentation" is missing.')
        rle = coco_to_rle(record["segmentation"])

        def read_key(key: str, kind: Callable[[Any], Any], absent: Any = None) -> Any:
            value = record.get(key, _ABSENT)
            if value is _ABSENT or (value is None and key not in _NOT_NULL_KEYS):
                return absent
            try:
                return kind(value)
            except (TypeError, ValueError, OverflowError):
                raise DataError(
                    f"Invalid value {str(value)[:60]!r} of `{key}`. Expected finite numbers "
                    "(boxes are [x, y, w, h], points [[x, y], ...])."
                ) from None

        x, y, width, height = read_key(
            "crop_box", _box_xywh, (0.0, 0.0, *map(float, rle.size[::-1]))
        )
        return cls(
            rle=rle,
            label=read_key("label", str),
            score=read_key("predicted_iou", _finite, 0.0),
            id=read_key("group_id", int),
            stability=read_key("stability_score", _finite),
            points=read_key(
                "point_coords", lambda value: tuple((_finite(x), _finite(y)) for x, y in value), ()
            ),
            crop_box=(x, y, x + width, y + height),
            objectness=read_key("objectness", _finite),
            label_probability=read_key("label_probability", _finite),
            runner_up=read_key("runner_up", _label_and_score),
            parent=read_key("parent", int),
            depth=read_key("depth", int),
            crowd=read_key("iscrowd", bool, False),
        )


_ABSENT = object()
_NOT_NULL_KEYS = ("crop_box", "predicted_iou", "stability_score")  # keys that do not allow null


def _finite(value: Any) -> float:
    if not math.isfinite(number := float(value)):
        raise ValueError
    return number


def _box_xywh(value: Any) -> Box:
    x, y, width, height = map(_finite, value)
    return x, y, width, height


def _label_and_score(value: Any) -> tuple[str, float]:
    label, score = value
    return str(label), _finite(score)


@explain_keywords
class Masks(list[Mask]):
    """The masks of one image: a list of `Mask` with methods to filter, convert and save masks.

    Filters and conversions return a new list. `+` joins two lists of the same image.

    Attributes:
        image_hw: (H, W) of the image. Defaults to the size of the first mask.
    """

    def __init__(
        self,
        masks: Iterable[Mask] = (),
        *,
        image_hw: tuple[int, int] | None = None,
        source_image: LazyImage | None = None,
        origin: Origin | None = None,
    ) -> None:
        if origin is not None:
            masks = (m if m.origin is not None else replace(m, origin=origin) for m in masks)
        if source_image is not None:
            masks = (
                m if m.source_image is not None else replace(m, source_image=source_image)
                for m in masks
            )
        super().__init__(masks)
        self._image_hw, self.source_image = image_hw, source_image

    def __repr__(self) -> str:
        if not self:
            return "<Masks: none>"
        height, width = self[0].rle.size
        return (
            f"<Masks: {counted(len(self), 'mask')} of {width}x{height}, best score "
            f"{self.best.score:.2f}, {100 * self.coverage:.0f} % of the image>"
        )

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"source_image": without_pixels(self.source_image)}

    @overload
    def __getitem__(self, index: SupportsIndex) -> Mask: ...  # type: ignore[overload-overlap]  # no array is one

    @overload
    def __getitem__(self, index: slice | list[bool] | BoolArray) -> Masks: ...

    def __getitem__(self, index: SupportsIndex | slice | list[bool] | BoolArray) -> Mask | Masks:
        """One mask by index, or several by a slice or one boolean per mask, as in NumPy."""
        if isinstance(index, slice):
            return self._with(super().__getitem__(index))
        if isinstance(index, list | np.ndarray):
            if len(index) != len(self) or np.asarray(index).dtype != np.bool_:
                raise InputError(
                    f"Invalid index with {len(index)} values of type {np.asarray(index).dtype} for "
                    f"{len(self)} masks. Pass one boolean per mask, such as masks.scores > 0.5."
                )
            return self._with(mask for mask, kept in zip(self, index, strict=True) if kept)
        return super().__getitem__(index)

    # `list.__add__` accepts items of any type; this one only masks.
    def __add__(self, other: Any) -> Masks:  # type: ignore[override]
        """Concatenate. Raises InputError if the images differ in size."""
        return self._joined(other, [*self, *other]) if isinstance(other, list) else NotImplemented

    def __radd__(self, other: Any) -> Masks:
        return self._joined(other, [*other, *self]) if isinstance(other, list) else NotImplemented

    def __mul__(self, times: SupportsIndex) -> Masks:
        return self._with(super().__mul__(times))

    __rmul__ = __mul__

    def copy(self) -> Masks:
        """Shallow copy of the list."""
        return self._with(self)

    __copy__ = copy

    def _joined(self, other: list[Any], masks: list[Mask]) -> Masks:
        if strange := [value for value in other if not isinstance(value, Mask)]:
            raise InputError(
                f"Only Mask objects can be joined, but {strange[0]!r} was passed. Omit it."
            )
        lists = [self, other if isinstance(other, Masks) else Masks(other)]
        sizes = {mask.rle.size for mask in masks}
        sizes |= {group._image_hw for group in lists if group._image_hw is not None}
        if len(sizes) > 1:
            raise InputError(
                f"Cannot join masks of different images: {' and '.join(map(str, sorted(sizes)))} "
                "(height, width). Keep one list per image."
            )
        images: list[LazyImage] = []
        for image in [group.source_image for group in lists]:
            if image is not None and not any(same_image(image, earlier) for earlier in images):
                images.append(image)
        return Masks(
            masks,
            image_hw=next(iter(sizes), None),
            source_image=images[0] if len(images) == 1 else None,
        )

    def _with(self, masks: Iterable[Mask]) -> Masks:
        """Other masks of the same image."""
        return Masks(masks, image_hw=self._image_hw, source_image=self.source_image)

    @property
    def image_hw(self) -> tuple[int, int]:
        """Size (H, W) of the image. Raises InputError for an empty list without `image_hw`."""
        if self._image_hw is not None:
            return self._image_hw
        if not self:
            raise InputError("An empty list of masks has no size. Pass image_hw=(H, W).")
        return self[0].rle.size

    @property
    def image_name(self) -> str:
        """File name of the image, or "photo.jpg" if unknown."""
        return "photo.jpg" if self.source_image is None else self.source_image.name

    # The masks as arrays.

    @property
    def masks(self) -> BoolArray:  # (N, H, W)
        """All masks as pixels, N * H * W bytes. Not cached."""
        stack = np.zeros((len(self), *self.image_hw), np.bool_)
        for plane, mask in zip(stack, self, strict=True):
            plane[:] = mask.mask
        return stack

    @property
    def boxes(self) -> Floats:  # (N, 4)
        """Boxes x0, y0, x1, y1 of the first and last pixel along x and y."""
        return np.array([mask.box for mask in self], np.float64).reshape(-1, 4)

    @property
    def xyxy(self) -> Floats:  # (N, 4)
        """Edges x0, y0, x1, y1 of the masks in pixels, for `boxes=` of `segment`."""
        return np.array([mask.xyxy for mask in self], np.float64).reshape(-1, 4)

    @property
    def scores(self) -> FloatArray:  # (N,)
        """Scores of the masks."""
        return np.array([mask.score for mask in self], np.float32)

    @property
    def areas(self) -> NDArray[np.int64]:  # (N,)
        """Number of object pixels of each mask."""
        return np.array([mask.area for mask in self], np.int64)

    @property
    def labels(self) -> list[str | None]:
        """Labels of the masks, or None for masks without one."""
        return [mask.label for mask in self]

    @property
    def ids(self) -> list[int | None]:
        """Object numbers of the masks, or None for masks without one."""
        return [mask.id for mask in self]

    @property
    def coverage(self) -> float:
        """Share of the image's pixels in at least one mask, 0..1."""
        if not self:
            return 0.0
        union = rle_merge([mask.rle for mask in self])
        return rle_area(union) / max(1, union.size[0] * union.size[1])

    @property
    def best(self) -> Mask:
        """Mask with the highest score. Raises InputError if the list is empty."""
        if not self:
            raise InputError("An empty list of masks has no best mask. Check len() first.")
        return max(self, key=lambda mask: mask.score)

    # Derived lists for the same image.

    def filter(
        self,
        keep: Callable[[Mask], bool] | None = None,
        *,
        min_score: float = 0.0,
        min_stability: float = 0.0,
        min_area: float = 0,
        label: str | None = None,
    ) -> Masks:
        """Return the masks that satisfy all conditions, in the same order.

        Args:
            keep: Function that returns whether a mask is kept.
            min_area: Smallest area in pixels.
            label: Only masks with this label.
        """
        limits = {"min_score": min_score, "min_stability": min_stability, "min_area": min_area}
        for name, limit in limits.items():
            check_number(name, limit)
        if not isinstance(label, str | None):
            raise InputError(f"label must be text or None, got {label!r}.")
        return self._with(
            mask
            for mask in self
            if mask.score >= min_score
            and (mask.stability or 0.0) >= min_stability
            and mask.area >= min_area
            and (label is None or mask.label == label)
            and (keep is None or keep(mask))
        )

    def nms(self, threshold: float = 0.7) -> Masks:
        """Remove masks that overlap a mask of higher score with a larger IoU; best first."""
        check_number("threshold", threshold, 0, 1)
        kept = mask_nms([mask.rle for mask in self], [mask.score for mask in self], threshold)
        return self._with(self[index] for index in kept.tolist())

    def merge(self, *others: Iterable[Mask], threshold: float = 0.7) -> Masks:
        """Join lists of masks of the same image and remove duplicates by `nms`."""
        return self._with([*self, *(mask for other in others for mask in other)]).nms(threshold)

    def union(self, label: str | None = None) -> Mask:
        """Return the union of all masks, with the scores of the best one.

        Raises InputError if the list is empty.
        """
        whole = rle_merge([mask.rle for mask in self]) if self else self.best.rle
        return replace(self.best, rle=whole, label=label, points=(), parent=None, depth=None)

    def tree(self) -> Masks:
        """Set `parent` (an index into the list) and `depth` of each mask."""
        from anymask.masks.relations import part_tree

        places = part_tree([mask.rle for mask in self])
        return self._with(
            replace(mask, parent=node.parent, depth=node.depth)
            for mask, node in zip(self, places, strict=True)
        )

    def partition(self) -> Masks:
        """Make the masks disjoint, with the same union and order (see `masks.relations`)."""
        from anymask.masks.relations import divide, parts_first

        rles = [mask.rle for mask in self]
        shares = divide(rles, parts_first(rles, [mask.score for mask in self]))
        return self._with(
            replace(mask, rle=rle) for mask, rle in zip(self, shares, strict=True) if rle_area(rle)
        )

    # Images.

    def draw(
        self, image: UintImage | None = None, *, alpha: float = 0.45
    ) -> UintImage:  # (H, W, 3)
        """Draw the masks on the image and return it at the same size.

        Args:
            image: Image, if the masks have no reference to it.

        Raises:
            InputError: The masks have another size, or no image is known.
        """
        from anymask.masks.draw import draw_crops
        from anymask.masks.rle import rle_crop

        check_number("alpha", alpha, 0, 1)
        if not self and self._image_hw is None and image is not None:
            return image
        pixels = image_of(image, self.source_image, self.image_hw)
        if any(mask.rle.size != pixels.shape[:2] for mask in self):
            raise InputError(
                f"The masks differ in size from the image {pixels.shape[:2]}. Resize them."
            )
        crops = [rle_crop(mask.rle) for mask in self]
        return draw_crops(pixels, [(crop, box[:2]) for crop, box in crops], alpha)

    def show(self, image: UintImage | None = None) -> None:
        """Open the image with its masks in the system's image viewer."""
        show_image(self.draw(image))

    def _repr_png_(self) -> bytes | None:
        return None if self.source_image is None else preview_of(self.draw)

    def _repr_html_(self) -> str:
        rows = [repr(mask) for mask in self[:_MAX_SHOWN]]
        rows += [f"and {len(self) - _MAX_SHOWN} more"] if len(self) > _MAX_SHOWN else []
        return preview_html(repr(self), rows, self._repr_png_())

    # Files. `formats` is a layer above this package, so it is imported on use.

    def save(self, path: str | Path, image: UintImage | None = None) -> Path:
        """Write one file atomically. The suffix selects the format.

        .json SA-1B, .csv measurements, .geojson, .svg, .xml CVAT, .txt YOLO, .npy (N, H, W) bool;
        image suffixes: the image with its masks. Use `write` for all other formats.

        Args:
            image: Image, if the masks have no reference to it.

        Raises:
            InputError: The suffix is unknown, or the format requires an image.
        """
        from anymask.formats import save_masks

        return save_masks(self, Path(path), image)

    def write(
        self, target: str | Path, format: str | None = None, policy: Policy | None = None
    ) -> LossReport:
        """Write a file or folder in any format of `anymask convert`, and report what was lost.

        Args:
            format: Name of the format. Defaults to that of the suffix (.json is coco).
            policy: Treatment of holes and parts, and tolerance of polygons.
        """
        from anymask.formats import AnnotatedImage, format_of_target, write_annotations

        refuse_inputs(Path(target), getattr(self.source_image, "path", None))
        format = format_of_target(Path(target)) if format is None else format
        return write_annotations([AnnotatedImage.of(self)], target, format, policy)

    def encode(self, format: str, policy: Policy | None = None) -> dict[str, bytes]:
        """Encode the files of `write` in memory, by file name."""
        from anymask.formats import encode_masks

        return encode_masks(self, format, policy)

    def to_sa1b(self, output_mode: OutputMode = "coco_rle") -> list[dict[str, Any]]:
        """The SA-1B annotation records, numbered from 1."""
        from anymask.masks.relations import parents_to_ids

        return parents_to_ids(
            [mask.to_sa1b(n, output_mode) for n, mask in enumerate(self, start=1)]
        )

    def to_coco(self, polygons: bool = False, tolerance: float = TOLERANCE) -> dict[str, Any]:
        """Return a COCO document for this image, with RLE or polygons.

        Args:
            tolerance: Largest deviation of a polygon from the mask's outline, in pixels.
        """
        return self._document("coco", tolerance, polygons)

    def to_labelme(self, polygons: bool = False, tolerance: float = TOLERANCE) -> dict[str, Any]:
        """Return a labelme document with masks or polygons."""
        return self._document("labelme", tolerance, polygons)

    def to_label_studio(
        self, polygons: bool = False, tolerance: float = TOLERANCE
    ) -> list[dict[str, Any]]:
        """Return Label Studio tasks, with brushes or polygons as predictions."""
        return cast(list[dict[str, Any]], self._document("label-studio", tolerance, polygons))

    def to_geojson(self, tolerance: float = TOLERANCE) -> dict[str, Any]:
        """Return a FeatureCollection in image pixels."""
        return self._document("geojson", tolerance)

    def to_cvat(self) -> str:
        """Return XML in the format CVAT for images 1.1."""
        return self._text("cvat", TOLERANCE)

    def to_svg(self, tolerance: float = TOLERANCE) -> str:
        """Return an SVG image with one path per mask."""
        return self._text("svg", tolerance)

    def to_yolo(self, tolerance: float = TOLERANCE) -> str:
        """Return the lines of a YOLO-seg label file: class and corners, normalized to 0..1."""
        return self._text("yolo", tolerance)

    def to_csv(self) -> str:
        """Return a CSV table of measurements, one row per mask (`masks.measure`)."""
        return self._text("csv", TOLERANCE)

    def _text(self, format: str, tolerance: float) -> str:
        from anymask.formats import Policy, document_of

        return document_of(self, format, Policy(tolerance=tolerance)).decode()

    def _document(self, format: str, tolerance: float, polygons: bool = False) -> dict[str, Any]:
        refuse_text("True or False", polygons=polygons)
        format = f"{format}-polygon" if polygons else format
        document: dict[str, Any] = parse_json(self._text(format, tolerance), format)
        return document

    # Other packages.

    def to_pipeline(self) -> dict[str, Any]:
        """Return the output of transformers' pipeline("mask-generation"): `masks` and `scores`.

        `masks` is a list of (H, W) bool arrays, `scores` (N,) float32, in the order of the list.
        """
        return {"masks": [mask.mask for mask in self], "scores": self.scores}

    def to_supervision(self) -> Any:
        """Return a `supervision.Detections`. All masks are decoded: N * H * W bytes.

        Boxes are x0, y0, x1, y1 of the first and last pixel, as in supervision's `mask_to_xyxy`.
        Class ids number the labels in alphabetical order; `data["class_name"]` holds the names.

        Raises:
            InputError: supervision is not installed, or sizes differ.
        """
        peer = _import_peer("supervision")
        sizes = {mask.rle.size for mask in self} | {self.image_hw}
        if len(sizes) != 1:
            raise InputError(
                f"The masks have different sizes: {sorted(sizes)}. Pass masks of one image."
            )
        names = [mask.label or UNLABELED for mask in self]
        classes = sorted(set(names))
        return peer.Detections(
            xyxy=self.boxes,
            mask=self.masks,
            confidence=np.array([mask.score for mask in self], np.float64),
            class_id=np.array([classes.index(name) for name in names], np.int64),
            data={"class_name": np.array(names, np.str_)},
        )

    def to_dataframe(self) -> Any:
        """Return a `pandas.DataFrame` with one row per mask, without the pixels.

        Columns: label, score, stability, area, coverage (0..1), x0, y0, x1, y1, parent, depth,
        and the fields of `masks.measure.Measurements`. If the image is known, the columns of
        `formats.csv_table.columns_of` follow (c0_mean, ..., diameter_scaled, ...). The column types
        (`masks.measure.TABLE_TYPES`) are always the same; unknown values are None, NaN or NA.

        Raises:
            InputError: pandas is not installed.
        """
        from anymask.formats import image_columns
        from anymask.masks.measure import TABLE_TYPES, measure_mask

        peer = _import_peer("pandas")
        rows, more = [], image_columns(self)
        for mask in self:
            x0, y0, x1, y1 = mask.box
            measured = vars(measure_mask(mask.rle))
            known = {"score": mask.score, "area": mask.area, "coverage": mask.coverage}
            known |= {"x0": x0, "y0": y0, "x1": x1, "y1": y1}
            rows.append(vars(mask) | measured | known)
        return peer.DataFrame(
            {
                name: peer.Series([row[name] for row in rows], dtype=kind)
                for name, kind in TABLE_TYPES.items()
            }
            | {
                name: peer.Series(
                    [row[name] for row in more],
                    dtype="object" if isinstance(value, str) else "float64",
                )
                for name, value in (more[0] if more else {}).items()
            }
        )


def _import_peer(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"This method requires the package {name!r}. Install it with: pip install {name}"
        ) from error
