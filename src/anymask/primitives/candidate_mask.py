"""One mask of an answer: logits or finished pixels in; pixels, outlines, records and files out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from anymask.primitives.keywords import name_all_keywords
from anymask.primitives.mask_files import (
    FoundMask,
    mask_picture,
    output_kind,
    shows_photo,
    write_found,
)
from anymask.primitives.masks import stability_score
from anymask.primitives.polygons import SMOOTH, Polygon, mask_to_polygons
from anymask.primitives.previews import (
    Picture,
    percent,
    photo_of,
    preview_html,
    preview_png,
    show_picture,
    spare_photo,
    without_held,
)
from anymask.primitives.prompts import Prompt
from anymask.primitives.records import STABILITY_OFFSET, Box, MaskRecord, record_from_rle
from anymask.primitives.resize import logits_to_masks, logits_to_rles
from anymask.primitives.rle import Rle, mask_to_rle, rle_area, rle_box_xyxy, rle_to_mask
from anymask.primitives.spec import Geometry
from anymask.primitives.types import BoolArray, FloatArray, UintImage


class PixelsLater:
    """Pixels of a mask that are decided when they are first read, and pickled as run-lengths."""

    def __init__(self, decide: Callable[[], Rle]) -> None:
        self._decide: Callable[[], Rle] | None = decide
        self._rle: Rle | None = None

    @property
    def rle(self) -> Rle:
        """The run-lengths, of the photo's size."""
        decide = self._decide
        if self._rle is None and decide is not None:
            self._rle, self._decide = decide(), None  # the photo is let go with it
        assert self._rle is not None
        return self._rle

    def __reduce__(self) -> tuple[Callable[[Rle], Rle], tuple[Rle]]:
        return replace, (self.rle,)


@name_all_keywords
@dataclass(frozen=True, eq=False)
class Mask:
    """One mask over a photo.

    logits     (h, w) float32, model space: what the decoder answered, and what is fed back to it
    geometry   how the logits lie over the photo
    quality    this mask's own number, raw
    order      its place in the model's own order
    threshold  logits above it are object
    cleaned    (h, w) the logits without small holes and islands, which is what is shown; None: the
               logits are
    finished   run-lengths of the photo's size, or what makes them, where a step decided on pixels
    tidied     whether these are the drawn pixels without small regions: its edge may still move
    label, label_probability  the class and its chance, of a model that was tuned on classes
    picture    reads the photo, where it is known: it is what `show` and `save` draw on
    """

    logits: FloatArray
    geometry: Geometry
    quality: float
    order: int = 0
    threshold: float = 0.0
    cleaned: FloatArray | None = None
    finished: Rle | PixelsLater | None = None
    tidied: bool = False
    label: str | None = None
    label_probability: float | None = None
    picture: Picture | None = None

    def __getstate__(self) -> dict[str, Any]:
        return without_held(vars(self))

    def __repr__(self) -> str:
        height, width = self.geometry.image_hw
        return f"<Mask of {width}x{height}: quality {self.quality:.2f}, {percent(self.coverage)}>"

    def _repr_png_(self) -> bytes:
        return preview_png(self.pixels().view(np.uint8) * np.uint8(255))

    def _repr_html_(self) -> str:
        return preview_html(repr(self), [], self._repr_png_())

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return self.pixels().astype(np.bool_ if dtype is None else dtype, copy=False)

    @property
    def mask(self) -> BoolArray:
        """(H, W) bool, made each time."""
        return self.pixels()

    @property
    def shown_logits(self) -> FloatArray:
        """(h, w) what the mask is drawn from: the clean logits where there are any."""
        return self.logits if self.cleaned is None else self.cleaned

    @property
    def area(self) -> int:
        """Object pixels in the photo."""
        return rle_area(self.rle())

    @property
    def box_xyxy(self) -> Box:
        """First and last pixel along x and y; zeros where the mask is empty."""
        x0, y0, x1, y1 = rle_box_xyxy(self.rle())
        return (float(x0), float(y0), float(x1), float(y1))

    @property
    def coverage(self) -> float:
        """The share of the photo's pixels, 0..1."""
        return self.area / max(1, self.geometry.image_hw[0] * self.geometry.image_hw[1])

    def polygons(self, tolerance: float = SMOOTH, min_area: float = 0.0) -> list[Polygon]:
        """The mask's outlines, holes included: smooth, or exact at a tolerance of 0.

        See `mask_to_polygons`.
        """
        return mask_to_polygons(self.pixels(), tolerance, min_area, smooth=True)

    def to_record(self, prompt: Prompt | None = None, label: str | None = None) -> MaskRecord:
        """The mask with its numbers, and the clicks of the prompt where one is given."""
        stability = float(stability_score(self.shown_logits, self.threshold, STABILITY_OFFSET))
        named, quality = label or self.label, float(self.quality)
        record = record_from_rle(self.rle(), quality=quality, stability=stability, label=named)
        sure = None if label else self.label_probability
        record = replace(record, label_probability=sure, picture=self.picture)
        if prompt is None or prompt.points is None:
            return record
        return replace(record, points=tuple((x, y) for x, y in prompt.points.tolist()))

    def pixels(self) -> BoolArray:  # (H, W)
        """The mask in the photo, made each time."""
        if self.finished is not None:
            return rle_to_mask(self.rle())
        drawn: BoolArray = logits_to_masks(self.shown_logits[None], self.geometry, self.threshold)[
            0
        ]
        return drawn

    def rle(self) -> Rle:
        """The run-lengths of the same pixels."""
        if isinstance(self.finished, PixelsLater):
            return self.finished.rle
        if self.finished is not None:
            return self.finished
        return logits_to_rles(self.shown_logits[None], self.geometry, self.threshold)[0]

    def with_logits(self, logits: FloatArray) -> Mask:
        """The same mask drawn by other logits (h, w), which are fed back as well."""
        return replace(self, logits=logits, cleaned=None, finished=None, tidied=False)

    def with_cleaned(self, logits: FloatArray) -> Mask:
        """The same mask drawn by clean logits (h, w); its own stay what is fed back."""
        return replace(self, cleaned=logits, finished=None, tidied=False)

    def with_pixels(self, pixels: BoolArray, *, tidied: bool = False) -> Mask:
        """The same mask with decided pixels (H, W); the logits stay what is fed back."""
        return replace(self, finished=mask_to_rle(pixels), tidied=tidied)

    def cells(self) -> int:
        """The size of the object in the cells of the logits that are photo."""
        rows, columns = (
            -(-filled * low // self.geometry.side)
            for filled, low in zip(self.geometry.input_hw, self.logits.shape, strict=True)
        )
        return int(np.count_nonzero(self.shown_logits[:rows, :columns] > self.threshold))

    # What users do with a mask.

    def draw(self, image: UintImage | None = None) -> UintImage:  # (H, W, 3)
        """The photo with this mask. Raises InputError without the photo."""
        drawn: UintImage = mask_picture("overlay", self.found(image, with_photo=True))
        return drawn

    def save(self, path: str | Path, image: UintImage | None = None) -> Path:
        """Write this mask, as `Candidates.save` writes the first one, without the prompt.

        Raises InputError for another suffix, a picture of a photo that is not known, the photo.
        """
        target = Path(path)
        kind = output_kind(target)
        spare_photo(target, self.picture)
        write_found(target, kind, self.found(image, shows_photo(kind)))
        return target

    def show(self, image: UintImage | None = None) -> None:
        """Open the photo with this mask in the system's viewer of pictures."""
        show_picture(self.draw(image))

    def found(
        self, image: UintImage | None, with_photo: bool, prompt: Prompt | None = None
    ) -> FoundMask:
        """The mask as files are made of it. Raises InputError without a photo that is needed."""
        name = Path("photo.jpg" if self.picture is None else self.picture.name)
        photo = photo_of(image, self.picture, self.geometry.image_hw) if with_photo else None
        return FoundMask(name, photo, self.pixels(), self.to_record(prompt), prompt)
