"""Automatic mask generation for large images in overlapping tiles.

All images have the same small size in model space, so small objects in large images are lost. The
image is split into overlapping tiles, each is searched like an image, and the masks are joined by
the rules of `masks/joining.py`. The downscaled image is also searched, for objects larger than a
tile.

A mask at an inner border of its tile may be truncated. If the masks of neighbouring tiles do not
confirm it, the object is prompted again in a window around it, and dropped if that mask also
reaches a border.

Memory: the image, one tile, and run-length encodings; never a mask of the image's size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Protocol

import cv2
import numpy as np

from anymask.base import Floats, InputError, OnProgress, UintImage
from anymask.masks import (
    Box,
    Mask,
    Tile,
    Window,
    enlarged_rle,
    joining,
    rle_area,
    rle_in_window,
    rle_intersection,
    rle_iou,
    rle_merge,
    rle_on_image,
    smallest_side,
    tile_boxes,
    tile_side,
)
from anymask.segment.everything.filter import without_duplicates

TILE_DUPLICATE_IOU = 0.7  # minimum IoU of masks of two tiles that are one object
COARSE_DUPLICATE = 0.5  # the same for a mask of a tile and one of the downscaled image


def count_passes(tile: Tile, image_hw: tuple[int, int], trained_side: int | None = None) -> int:
    """Number of searched images: one, or all tiles and the downscaled image; as `tile_side`.

    For a field model, an upper bound, because the tiles depend on the size of the objects.

    Raises:
        InputError: `tile` is invalid.
    """
    if tile == "auto" and trained_side is not None:
        tile = smallest_side(image_hw, trained_side)
    side = tile_side(tile, image_hw)
    return 1 if side is None else len(tile_boxes(image_hw, side, int(side * joining.OVERLAP))) + 1


def require_image(image: UintImage | None, image_hw: tuple[int, int], what: str) -> UintImage:
    """Return the image. Raises InputError if it is missing or does not have the given size."""
    if image is None or image.shape[:2] != image_hw:
        raise InputError(
            f"{what} requires the image, but only its embedding was passed. Pass the image."
        )
    return image


class TileSearch(Protocol):
    """Search of one tile, or of the downscaled image."""

    def everything(self, image: UintImage, scale: float = 1.0) -> list[Mask]:
        """All masks; areas refer to an image with `scale` times as many pixels along a side."""
        ...

    def clicks(self, image: UintImage, clicks: Sequence[tuple[float, float]]) -> list[list[Mask]]:
        """Masks of each click that pass the thresholds."""
        ...


def find_in_tiles(
    scanner: TileSearch, image: UintImage, side: int, progress: OnProgress | None = None
) -> list[Mask]:
    """All masks of an image (H, W, 3), best first, without duplicates.

    Args:
        scanner: Search of one tile.
        image: Image (H, W, 3).
        side: Side of the tiles in pixels.
        progress: Callable (tiles done, all tiles), called after every tile. Windows around
            truncated objects are added when they are known.
    """
    image_hw = (image.shape[0], image.shape[1])
    windows = tile_boxes(image_hw, side, int(side * joining.OVERLAP))
    tell = progress or (lambda done, total: None)
    pieces: list[Piece] = []
    for number, window in enumerate(windows, start=1):
        records = scanner.everything(_pixels(image, window))
        pieces += [Piece(_on_image(record, window, image_hw), window) for record in records]
        tell(number, len(windows) + 1)
    objects = stitch(pieces, image_hw)
    whole = [stitched.record for stitched in objects if not stitched.cut]
    around: dict[Window, list[Piece]] = {}  # windows that contain truncated objects completely
    for stitched in objects:
        wide = joining.window_with(stitched.record.box, side, image_hw) if stitched.cut else None
        if wide is not None and stitched.pieces[0].record.points:
            around.setdefault(wide, []).append(stitched.pieces[0])
    looks = len(windows) + len(around) + 1
    for number, (window, cut) in enumerate(around.items(), start=len(windows) + 1):
        whole += _reprompt_truncated(scanner, image, window, cut)
        tell(number, looks)
    large = _large_objects_at_low_resolution(scanner, image, side)
    tell(looks, looks)
    return _deduplicate(whole, large)


def _pixels(image: UintImage, window: Window) -> UintImage:
    x0, y0, x1, y1 = window
    return np.ascontiguousarray(image[y0:y1, x0:x1])


def _on_image(record: Mask, window: Window, image_hw: tuple[int, int]) -> Mask:
    """Move a tile's mask to the image."""
    x0, y0 = window[:2]
    left, top, right, bottom = record.crop_box
    return replace(
        record,
        rle=rle_on_image(record.rle, (x0, y0), image_hw),
        points=tuple((x + x0, y + y0) for x, y in record.points),
        crop_box=(left + x0, top + y0, right + x0, bottom + y0),
    )


def _large_objects_at_low_resolution(
    scanner: TileSearch, image: UintImage, side: int
) -> list[Mask]:
    """Masks of at least half a tile in the downscaled image."""
    height, width = image.shape[:2]
    scale = max(height, width) / side
    small_hw = (max(1, round(height / scale)), max(1, round(width / scale)))
    small = cv2.resize(image, (small_hw[1], small_hw[0]), interpolation=cv2.INTER_AREA)
    along_x, along_y = width / small_hw[1], height / small_hw[0]
    masks = []
    for record in scanner.everything(np.asarray(small, np.uint8), scale):
        x0, y0, x1, y1 = record.box
        if max((x1 - x0 + 1) * along_x, (y1 - y0 + 1) * along_y) < side / 2:
            continue
        enlarged = enlarged_rle(record.rle, (height, width))
        points = tuple((x * along_x, y * along_y) for x, y in record.points)
        whole = (0.0, 0.0, float(width), float(height))
        masks.append(replace(record, rle=enlarged, points=points, crop_box=whole))
    return masks


def _reprompt_truncated(
    scanner: TileSearch, image: UintImage, window: Window, cut: Sequence[Piece]
) -> list[Mask]:
    """Predict truncated objects again in a window: masks that it does not cut and that match."""
    image_hw, masks = (image.shape[0], image.shape[1]), list[Mask]()
    clicks = [(x - window[0], y - window[1]) for x, y in (piece.record.points[0] for piece in cut)]
    for piece, answer in zip(cut, scanner.clicks(_pixels(image, window), clicks), strict=True):
        records = [_on_image(record, window, image_hw) for record in answer]
        cut_off = [joining.cut_bands(record.box, window, image_hw) for record in records]
        uncut = [Piece(r, window) for r, bands in zip(records, cut_off, strict=True) if not bands]
        best = joining.whole_of(RLE, piece, piece.window, uncut)
        if best is not None:
            masks.append(replace(uncut[best].record, objectness=piece.record.objectness))
    return masks


def _deduplicate(sharp: list[Mask], coarse: list[Mask]) -> list[Mask]:
    """Remove duplicates, best first; masks of tiles take precedence over coarse ones."""
    fine = without_duplicates(sharp, TILE_DUPLICATE_IOU)
    kept = [*fine]
    for record in without_duplicates(coarse, TILE_DUPLICATE_IOU):
        alike = [
            other.rle
            for other in fine
            if COARSE_DUPLICATE * record.area < other.area < record.area / COARSE_DUPLICATE
            and boxes_meet(record.box, other.box)
        ]
        if not (rle_iou(alike, [record.rle]) > COARSE_DUPLICATE).any():
            kept.append(record)
    return sorted(kept, key=lambda record: -record.rank)


# Stitching.


@dataclass(frozen=True)
class Piece:
    """A mask of one tile, in pixels of the image."""

    record: Mask  # Mask of the image
    window: Window  # The tile


@dataclass(frozen=True)
class Stitched:
    """An object of one or more pieces."""

    record: Mask  # Merged mask. Score and stability are means weighted by area.
    pieces: tuple[Piece, ...]  # Pieces, the largest first
    cut: bool  # Whether it ends at a tile's border without confirmation by another tile


def stitch(pieces: Sequence[Piece], image_hw: tuple[int, int]) -> list[Stitched]:
    """Merge the pieces of each object; complete masks of several tiles stay separate."""
    bands = [joining.cut_bands(piece.record.box, piece.window, image_hw) for piece in pieces]
    groups = _group(pieces, [bool(band) for band in bands])
    objects = []
    for group in groups.of(range(len(pieces))):
        cut = any(
            not joining.is_confirmed(
                RLE,
                pieces[index],
                bands[index],
                [pieces[other] for other in groups.partners.get(index, ())],
            )
            for index in group
        )
        objects.append(_merge([pieces[index] for index in group], cut))
    return objects


class RleOverlap:
    """Overlap of pieces by their run-length encodings."""

    def iou(self, ours: Sequence[Piece], theirs: Sequence[Piece], strip: Window) -> Floats:
        first, second = (
            [rle_in_window(piece.record.rle, strip) for piece in side] for side in (ours, theirs)
        )
        return rle_iou(first, second)

    def covered(
        self, piece: Piece, bands: Sequence[Window], partners: Sequence[Piece]
    ) -> Iterator[tuple[float, float]]:
        for band in bands:
            cut = rle_in_window(piece.record.rle, band)
            both = 0
            if partners and rle_area(cut):
                others = rle_merge([rle_in_window(other.record.rle, band) for other in partners])
                both = int(rle_intersection([cut], [others])[0, 0])
            yield both, rle_area(cut)


RLE = RleOverlap()


def _group(pieces: Sequence[Piece], is_cut: Sequence[bool]) -> joining.Groups:
    """Group pieces of two tiles that are the same object, if either is cut."""
    by_tile: dict[Window, list[int]] = {}
    for index, piece in enumerate(pieces):
        by_tile.setdefault(piece.window, []).append(index)
    groups = joining.Groups()
    for first, second in combinations(by_tile, 2):
        strip = joining.common_window(first, second)
        if strip is None:
            continue
        x0, y0, x1, y1 = strip
        last = (x0, y0, x1 - 1, y1 - 1)
        ours, theirs = (
            [
                (index, pieces[index], is_cut[index])
                for index in by_tile[tile]
                if boxes_meet(pieces[index].record.box, last)
            ]
            for tile in (first, second)
        )
        joining.join_matches(groups, RLE, strip, ours, theirs)
    return groups


def boxes_meet(first: Box, second: Box) -> bool:
    """Whether two boxes with inclusive ends share a pixel."""
    return (
        first[0] <= second[2]
        and second[0] <= first[2]
        and first[1] <= second[3]
        and second[1] <= first[3]
    )


def _merge(pieces: list[Piece], cut: bool) -> Stitched:
    pieces = sorted(pieces, key=lambda piece: -piece.record.area)
    if len(pieces) == 1:
        return Stitched(pieces[0].record, tuple(pieces), cut)
    records = [piece.record for piece in pieces]
    weights = np.array([record.area for record in records]) / sum(r.area for r in records)
    windows = np.array([record.crop_box for record in records])
    x0, y0 = windows[:, :2].min(axis=0).tolist()
    x1, y1 = windows[:, 2:].max(axis=0).tolist()
    stable = [record.stability for record in records if record.stability is not None]
    whole = replace(
        records[0],
        rle=rle_merge([record.rle for record in records]),
        score=float(weights @ [record.score for record in records]),
        stability=float(weights @ stable) if len(stable) == len(records) else None,
        points=tuple(point for record in records for point in record.points),
        crop_box=(x0, y0, x1, y1),
    )
    return Stitched(whole, tuple(pieces), cut)
