"""Stitching of tiles: pieces of masks in, whole objects without seams out.

A mask that reaches a border of its tile where the photo goes on may be cut there. Two such pieces
of neighbouring tiles are one object when, in the strip that both tiles see, each is the other's
best match with an IoU of at least `SAME`. Pieces that hang together are merged. Where at such a
border the mask is not confirmed by its partners, the merged mask would end in a straight line that
is no edge of the object: it is set aside.

Letters: N M pieces of two tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from anymask.primitives.layout import with_rle
from anymask.primitives.records import Box, MaskRecord
from anymask.primitives.rle import rle_area, rle_intersection, rle_iou, rle_merge
from anymask.primitives.rle_windows import rle_in_window
from anymask.primitives.tiles import Window

SAME = 0.6  # IoU, in the common strip, of two views of one object
CONFIRMED = 0.7  # of a piece's pixels along a cut that its partners must have, too
CELLS = 128  # of a tile: what ends within one cell of a border counts as reaching it


@dataclass(frozen=True)
class Piece:
    """A mask that one tile led to; the record speaks of the whole photo.

    record  run-lengths of the photo
    window  the tile
    """

    record: MaskRecord
    window: Window


@dataclass(frozen=True)
class Stitched:
    """An object of one or more pieces.

    record  the merged mask; quality and stability are means, weighted by area
    pieces  what it was merged from, the largest first
    cut     whether it ends at a tile's border without another tile's consent
    """

    record: MaskRecord
    pieces: tuple[Piece, ...]
    cut: bool


def stitch(pieces: Sequence[Piece], image_hw: tuple[int, int]) -> list[Stitched]:
    """Every object once for each tile that saw it whole, and once if tiles saw it in pieces."""
    bands = [cut_bands(piece.record.box_xyxy, piece.window, image_hw) for piece in pieces]
    partners = _partners(pieces, [bool(band) for band in bands])
    found = []
    for group in _groups(partners):
        cut = any(
            not _is_confirmed(pieces[index], band, [pieces[other] for other in partners[index]])
            for index in group
            for band in bands[index]
        )
        found.append(_merge([pieces[index] for index in group], cut))
    return found


def cut_bands(box_xyxy: Box, window: Window, image_hw: tuple[int, int]) -> list[Window]:
    """Strips along those borders of a window that a box reaches and beyond which is more photo."""
    (height, width), (x0, y0, x1, y1) = image_hw, window
    near = max(1, max(x1 - x0, y1 - y0) // CELLS)
    left, top, right, bottom = box_xyxy
    sides = (
        (x0 > 0 and left < x0 + near, (x0, y0, x0 + near, y1)),
        (y0 > 0 and top < y0 + near, (x0, y0, x1, y0 + near)),
        (x1 < width and right >= x1 - near, (x1 - near, y0, x1, y1)),
        (y1 < height and bottom >= y1 - near, (x0, y1 - near, x1, y1)),
    )
    return [band for reached, band in sides if reached]


def _partners(pieces: Sequence[Piece], is_cut: Sequence[bool]) -> list[set[int]]:
    """For each piece the pieces of other tiles that are the same object, where either is cut."""
    by_tile: dict[Window, list[int]] = {}
    for index, piece in enumerate(pieces):
        by_tile.setdefault(piece.window, []).append(index)
    partners: list[set[int]] = [set() for _ in pieces]
    for first, second in combinations(by_tile, 2):
        strip = common_window(first, second)
        if strip is None:
            continue
        x0, y0, x1, y1 = strip
        last = (x0, y0, x1 - 1, y1 - 1)
        ours, theirs = (
            [index for index in by_tile[tile] if boxes_meet(pieces[index].record.box_xyxy, last)]
            for tile in (first, second)
        )
        if not any(is_cut[index] for index in (*ours, *theirs)):
            continue
        for ours_place, theirs_place in _best_matches(pieces, ours, theirs, strip):
            if is_cut[ours_place] or is_cut[theirs_place]:
                partners[ours_place].add(theirs_place)
                partners[theirs_place].add(ours_place)
    return partners


def common_window(first: Window, second: Window) -> Window | None:
    """The pixels of two windows that both have; None without any."""
    x0, y0 = max(first[0], second[0]), max(first[1], second[1])
    x1, y1 = min(first[2], second[2]), min(first[3], second[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def boxes_meet(first: Box, second: Box) -> bool:
    """Whether two boxes that name their last pixels have a pixel in common."""
    return (
        first[0] <= second[2]
        and second[0] <= first[2]
        and first[1] <= second[3]
        and second[1] <= first[3]
    )


def _best_matches(
    pieces: Sequence[Piece], ours: list[int], theirs: list[int], strip: Window
) -> list[tuple[int, int]]:
    """Pairs that are each other's best match in the strip, where they overlap enough."""
    if not ours or not theirs:
        return []
    first, second = (
        [rle_in_window(pieces[index].record.rle, strip) for index in side]
        for side in (ours, theirs)
    )
    iou = rle_iou(first, second)  # (N, M)
    best, back = iou.argmax(axis=1), iou.argmax(axis=0)
    return [
        (ours[row], theirs[column])
        for row, column in enumerate(best.tolist())
        if back[column] == row and iou[row, column] >= SAME
    ]


def _groups(partners: Sequence[set[int]]) -> list[list[int]]:
    """Pieces that hang together, each in one group."""
    seen: set[int] = set()
    groups = []
    for start in range(len(partners)):
        if start in seen:
            continue
        group, waiting = [], [start]
        seen.add(start)
        while waiting:
            index = waiting.pop()
            group.append(index)
            waiting += sorted(partners[index] - seen)
            seen |= partners[index]
        groups.append(group)
    return groups


def _is_confirmed(piece: Piece, band: Window, partners: Sequence[Piece]) -> bool:
    """Whether other tiles see the object where this one's border cuts it."""
    cut = rle_in_window(piece.record.rle, band)
    area = rle_area(cut)
    if not area:
        return True
    if not partners:
        return False
    others = rle_merge([rle_in_window(other.record.rle, band) for other in partners])
    return int(rle_intersection([cut], [others])[0, 0]) >= CONFIRMED * area


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
        with_rle(records[0], rle_merge([record.rle for record in records])),
        quality=float(weights @ [record.quality for record in records]),
        stability=float(weights @ stable) if len(stable) == len(records) else None,
        points=tuple(point for record in records for point in record.points),
        crop_box=(x0, y0, x1, y1),
    )
    return Stitched(whole, tuple(pieces), cut)
