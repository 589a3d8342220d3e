"""Finds the masks of everything in a photo, in one look or in tiles, and arranges them.

`find_masks` is the whole of it. What becomes of the masks that were found (`arrange`): holes and
islands; small masks; what is hardly an object; what lies in a better mask, or around one;
duplicates; edges, and one kind of thing; the level; the layout. Each but the edges and the kind,
which need the photo and are handed in, is a function of masks alone: it can be used on any list of
them, from whatever model or file.

Letters: H W a photo, h w a tile, N M pieces of two tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import NamedTuple

import cv2
import numpy as np

from anymask.base import InputError, Progress, UintImage, pick_teller
from anymask.masks import (
    CLEAN,
    Box,
    Features,
    Mask,
    Masks,
    Prompt,
    Tile,
    Window,
    clean_rle,
    enlarged_rle,
    part_tree,
    rle_area,
    rle_in_window,
    rle_intersection,
    rle_iou,
    rle_merge,
    rle_on_photo,
    tile_boxes,
    tile_side,
)
from anymask.runtime import EdgeRefining, ImageRuntime
from anymask.segment.adaptive import SearchLog
from anymask.segment.pipeline import (
    Question,
    check_features,
    decode_prompts,
    encode_image,
    refine_edges,
)
from anymask.segment.search import (
    NEARLY_BEST,
    find_everything,
    least_objectness,
    without_duplicates,
)
from anymask.segment.settings import (
    CONTAINED,
    SURROUNDING,
    Arrangement,
    EverythingDict,
    Grid,
    Level,
    SegmentSettings,
    arrangement_of,
    grid_of,
    split_settings,
    wider_grid,
)

Refine = Callable[[list[Mask]], list[Mask]]
Told = Callable[[int, int], None]

LITTLE = 0.1  # IoU
PART = 0.2  # of the objectness of the mask around it, from which on a contained mask stays
TYPICAL, SHARE, POWER = 10, 0.6, 2.5  # the threshold of `without_unlikely`
AT_ONCE = 64  # masks whose edges are refined: what they are answered with is memory
AGAIN = 0.9  # IoU of a mask and the one that its click brings again
AS_SHOWN = SegmentSettings(
    multimask=True,
    ranking="own",
    max_hole_area=CLEAN,
    min_island_area=CLEAN,
    refine_edges=True,
)


class Looks(NamedTuple):
    """How often the photo is looked at, and where what was found is kept (`Model.everything`)."""

    tile: Tile = "auto"
    log: SearchLog | None = None


def find_masks(
    runtime: ImageRuntime,
    photo: UintImage | None,
    features: Features | None,
    given: EverythingDict,
    looks: Looks,
    progress: Progress,
) -> list[Mask]:
    """What `Model.everything` answers.

    Raises PromptError for a model without clicks, InputError for settings and for what features
    alone cannot do.

    Args:
        photo: (H, W, 3), or smaller where the features say of which size it was; None: features
            only.
        features: None: the photo is encoded where that is needed.
    """
    of_grid, of_arrangement = split_settings(given)
    grid = grid_of(runtime.family, of_grid)
    wanted = arrangement_of(grid, of_arrangement, least_objectness(runtime.family))
    loose = arrangement_of(grid, of_arrangement)
    relative = grid.mode == "adaptive" and "min_objectness" not in of_arrangement
    if features is not None:
        check_features(runtime, features)
        if looks.tile not in ("auto", None):
            raise InputError(
                f"tile={looks.tile!r} requires the image, but only its embedding was "
                "passed. Pass the image."
            )
    whole = photo if photo is not None and tile_side(looks.tile, photo.shape[:2]) is None else None
    once = not grid.crop_n_layers and "point" in runtime.spec.accepts
    if features is None and whole is not None and once:
        features = encode_image(runtime, whole)

    refine, refines = None, wanted.refine_edges
    refines = grid.mode == "adaptive" if refines == "auto" else refines
    if refines and whole is not None and runtime.capability(EdgeRefining) is not None:
        refine = partial(refine_record_edges, runtime, whole, seen=features)
    if wanted.alike:
        refine = partial(_alike, photo, refine)
    look = partial(_look, runtime, photo, features)
    with pick_teller(progress, "everything") as tell:
        every = look(grid, looks, tell, wanted.min_objectness)
        found = arrange(every, wanted, refine, relative)
        found = found or arrange(best_of(every), loose, refine)
        if not found and (wider := wider_grid(grid, of_grid)):
            again = look(wider, looks._replace(log=None), tell)
            found = arrange(best_of(again), loose, refine)
    if runtime.spec.classes and found:
        from anymask.segment.labels import label_masks  # few models need it

        if features is None and photo is not None:
            features = encode_image(runtime, photo)
        assert features is not None
        found = label_masks(runtime, features, found)
    return found


def _alike(photo: UintImage | None, refine: Refine | None, masks: list[Mask]) -> list[Mask]:
    """One kind of thing, after the masks' edges are refined. Raises InputError without a photo."""
    from anymask.segment.alike import only_alike  # few calls need it

    if photo is None:
        raise InputError(
            "alike=True requires the image, but only its embedding was passed. Pass the image."
        )
    return only_alike(photo, masks if refine is None else refine(masks))


def _look(
    runtime: ImageRuntime,
    photo: UintImage | None,
    features: Features | None,
    grid: Grid,
    looks: Looks,
    tell: Told | None,
    least: float = 0.0,
) -> list[Mask]:
    """What a grid of clicks finds.

    Args:
        least: Objectness of masks that are wanted; tiles keep all, as each may be part of a
            larger one.
    """
    if features is not None:
        return find_everything(runtime, features, grid, tell, looks.log, least)
    assert photo is not None
    eye = WindowScanner(runtime, grid, looks.log)
    side = tile_side(looks.tile, photo.shape[:2])
    if side is None:
        return eye.everything(photo, progress=tell)
    return find_in_tiles(eye, photo, side, tell)


# What becomes of the masks.


def arrange(
    records: Sequence[Mask],
    settings: Arrangement,
    refine: Refine | None = None,
    relative: bool = False,
) -> list[Mask]:
    """The masks that the settings ask for; what stays, stays in its order.

    Args:
        refine: Gives the masks that stay other edges.
        relative: Also remove masks that `without_unlikely` removes.
    """
    kept = []
    for record in records:
        rle = clean_rle(record.rle, settings.max_hole_area, settings.min_island_area)
        record = record if rle is record.rle else replace(record, rle=rle)
        if record.area >= settings.min_mask_area and is_likely(record, settings.min_objectness):
            kept.append(record)
    if settings.contained < 1:
        kept = without_contained(kept, settings.contained)
    if settings.iou < 1:
        kept = without_duplicates(kept, settings.iou)
    if relative:
        kept = without_unlikely(kept)
    if refine is not None:
        kept = refine(kept)
    kept = keep_level(kept, settings.granularity)
    if settings.layout == "tree":
        return Masks(kept).tree()
    if settings.layout == "partition":
        return [one for one in Masks(kept).partition() if one.area >= settings.min_mask_area]
    return kept


def keep_level(records: Sequence[Mask], level: Level) -> list[Mask]:
    """The masks of one level, in their order.

    "whole": those that are part of no other; "part": those that have no parts; "all": all.
    """
    if level == "all":
        return list(records)
    tree = part_tree([record.rle for record in records])
    wholes = {place.parent for place in tree}
    return [
        record
        for index, (record, place) in enumerate(zip(records, tree, strict=True))
        if (place.parent is None if level == "whole" else index not in wholes)
    ]


def is_likely(record: Mask, least: float) -> bool:
    """Whether a mask may be shown: one that nobody judged may."""
    return record.objectness is None or record.objectness >= least


def without_contained(records: Sequence[Mask], threshold: float) -> list[Mask]:
    """Of two masks of which one lies in the other by a larger share, the one of higher rank.

    Surroundings (see `SURROUNDING`) are left alone. Where objectness is known, the other mask stays
    too if its objectness is at least `PART` of the better one's: a person on a horse is an object.
    """
    objects = [record for record in records if record.coverage <= SURROUNDING]
    judged = all(record.objectness is not None for record in objects)
    weaker = PART if judged else 1.0
    kept = {id(record) for record in without_duplicates(objects, threshold, "smaller", weaker)}
    return [r for r in records if r.coverage > SURROUNDING or id(r) in kept]


def without_unlikely(records: Sequence[Mask]) -> list[Mask]:
    """The masks whose objectness is high enough beside the best ones of the image.

    The threshold is `SHARE` of the mean objectness of the `TYPICAL` best masks, raised to `POWER`:
    high in an image of clear objects, low in one of many uncertain ones. The three numbers were
    chosen on coco_val for a recall of 0.4 with few masks, and on sets where every object is
    labelled for precision (docs/reference/results.md).
    """
    known = sorted(r.objectness for r in records if r.objectness is not None)
    least = SHARE * float(np.mean(known[-TYPICAL:])) ** POWER if known else 0.0
    return [record for record in records if is_likely(record, least)]


def best_of(records: Sequence[Mask]) -> list[Mask]:
    """Of masks that none of the thresholds chose: the best ones that overlap little."""
    most = max((record.rank for record in records), default=0.0)
    good = [record for record in records if record.rank >= NEARLY_BEST * most]
    return without_duplicates(good, LITTLE)


def split_by_score(
    records: Sequence[Mask], score: float, objectness: float
) -> tuple[list[Mask], list[Mask]]:
    """The masks that are shown by two least numbers, or the best where none is; and the rest.

    None of those that are shown lies in a better one.
    """
    good = [
        record
        for record in records
        if (record.score > score or not score) and is_likely(record, objectness)
    ]
    shown = without_unlikely(without_contained(good, CONTAINED)) or best_of(records)
    rest = [record for record in records if not any(record is one for one in shown)]
    return shown, rest


def refine_record_edges(
    runtime: ImageRuntime,
    photo: UintImage,
    records: Sequence[Mask],
    seen: Features | None = None,
) -> list[Mask]:
    """The masks in their order, each with its edge where the photo has it.

    Masks are run-lengths, and an edge is moved where the logits are undecided: so each is asked for
    with its click once more. A mask that does not come again (it was found in a crop, or changed
    since) stays as it is.

    Args:
        photo: (H, W, 3), or smaller where `seen` says of which size it was.
        seen: The photo's features, where somebody has them.
    """
    kept = list(records)
    asked = [index for index, record in enumerate(kept) if record.points]
    if not asked:
        return kept
    features = encode_image(runtime, photo) if seen is None else seen
    for start in range(0, len(asked), AT_ONCE):
        some = asked[start : start + AT_ONCE]
        prompts = [Prompt.of(points=kept[index].points[:1]) for index in some]
        answers = decode_prompts(runtime, features, prompts, AS_SHOWN)
        for index, prompt, answer in zip(some, prompts, answers, strict=True):
            alike = rle_iou(answer.rles(), [kept[index].rle])[:, 0]
            best = int(alike.argmax())
            if alike[best] < AGAIN:
                continue
            question = Question(runtime, photo, features, prompt, AS_SHOWN)
            rle = refine_edges(answer.picked([best]), question).first.rle()
            if rle_area(rle):
                kept[index] = replace(kept[index], rle=rle)
    return kept


# Tiles of large photos.
#
# A model sees every photo at its own small size, so what is small in a large photo is lost. Here
# the photo is cut into overlapping tiles of one size, each is searched like a photo, and the masks
# are stitched. A look at the whole finds what is larger than a tile.
#
# A mask that reaches a border of its tile where the photo goes on may be cut there. Two such pieces
# of neighbouring tiles are one object when, in the strip that both tiles see, each is the other's
# best match with an IoU of at least `AGREE`. Pieces that hang together are merged. Where at such a
# border the mask is not confirmed by its partners, the merged mask would end in a straight line
# that is no edge of the object: such a one is asked for once more in a window around it, and left
# out where even that ends at a border.
#
# Memory: the photo, one tile, and run-lengths; never a mask of the photo's size.

AGREE = 0.6  # IoU, in the common strip, of two views of one object
CONFIRMED = 0.7  # of a piece's pixels along a cut that its partners must have, too
CELLS = 128  # of a tile: what ends within one cell of a border counts as reaching it
AS_FOUND = SegmentSettings(multimask=True, ranking="own")  # the masks that a grid's clicks find
OVERLAP = 0.25  # of a tile's side, that neighbours share
DUPLICATE = 0.7  # mask IoU from which on two tiles' masks are one object
COARSE_DUPLICATE = 0.5  # the same between a tile's mask and one of the shrunk photo
WINDOW_STEPS = 4  # windows around what was cut begin at quarters of a tile, so that some are shared


def count_looks(tile: Tile, image_hw: tuple[int, int]) -> int:
    """How many pictures are searched: one, or every tile and the whole. Raises InputError."""
    side = tile_side(tile, image_hw)
    return 1 if side is None else len(tile_boxes(image_hw, side, int(side * OVERLAP))) + 1


@dataclass(frozen=True)
class WindowScanner:
    """Finds the masks of one picture: a tile, or the photo shrunk to the size of a tile.

    Attributes:
        log: Keeps what was found, so that a killed search goes on; None: nobody does.
    """

    runtime: ImageRuntime
    settings: Grid
    log: SearchLog | None = None

    def everything(
        self, picture: UintImage, scale: float = 1.0, progress: Told | None = None
    ) -> list[Mask]:
        """All of its masks.

        Args:
            scale: Pixels of the photo along one pixel of the picture: areas are meant on the
                photo.
            progress: Told (clicks done, all clicks) after every batch.
        """
        area = int(self.settings.min_mask_region_area / scale**2)
        settings = replace(self.settings, min_mask_region_area=area)
        return find_everything(self.runtime, picture, settings, progress, self.log)

    def clicks(self, picture: UintImage, clicks: Sequence[tuple[float, float]]) -> list[list[Mask]]:
        """The masks of each click that pass."""
        prompts = [Prompt.of(points=[click]) for click in clicks]
        seen = encode_image(self.runtime, picture)
        answers = decode_prompts(self.runtime, seen, prompts, AS_FOUND)
        return [
            [
                record
                for record in replace(answer, prompt=prompt)
                if record.score > self.settings.score
                and (record.stability or 0.0) >= self.settings.stability
                and record.area
            ]
            for prompt, answer in zip(prompts, answers, strict=True)
        ]


def find_in_tiles(
    eye: WindowScanner, photo: UintImage, side: int, progress: Told | None = None
) -> list[Mask]:
    """Every mask of a photo (H, W, 3), best quality first, each once.

    Args:
        side: Of the tiles, in pixels.
        progress: Told (looks done, all looks) after every tile.
    """
    image_hw = (photo.shape[0], photo.shape[1])
    overlap = int(side * OVERLAP)
    windows = tile_boxes(image_hw, side, overlap)
    pieces: list[Piece] = []
    for number, window in enumerate(windows, start=1):
        records = eye.everything(_pixels(photo, window))
        pieces += [Piece(_on_photo(record, window, image_hw), window) for record in records]
        if progress is not None:
            progress(number, len(windows) + 1)
    objects = stitch(pieces, image_hw)
    whole = [one.record for one in objects if not one.cut]
    whole += _asked_again(eye, photo, [one for one in objects if one.cut], side)
    large = _seen_from_afar(eye, photo, side)
    if progress is not None:
        progress(len(windows) + 1, len(windows) + 1)
    return _once(whole, large)


def _pixels(photo: UintImage, window: Window) -> UintImage:
    x0, y0, x1, y1 = window
    return np.ascontiguousarray(photo[y0:y1, x0:x1])


def _on_photo(record: Mask, window: Window, image_hw: tuple[int, int]) -> Mask:
    """A tile's record as one of the photo."""
    x0, y0 = window[:2]
    left, top, right, bottom = record.crop_box
    return replace(
        record,
        rle=rle_on_photo(record.rle, (x0, y0), image_hw),
        points=tuple((x + x0, y + y0) for x, y in record.points),
        crop_box=(left + x0, top + y0, right + x0, bottom + y0),
    )


def _seen_from_afar(eye: WindowScanner, photo: UintImage, side: int) -> list[Mask]:
    """What a look at the whole photo, shrunk to the size of a tile, finds of half a tile on."""
    height, width = photo.shape[:2]
    scale = max(height, width) / side
    small_hw = (max(1, round(height / scale)), max(1, round(width / scale)))
    small = cv2.resize(photo, (small_hw[1], small_hw[0]), interpolation=cv2.INTER_AREA)
    along_x, along_y = width / small_hw[1], height / small_hw[0]
    found = []
    for record in eye.everything(np.asarray(small, np.uint8), scale):
        x0, y0, x1, y1 = record.box
        if max((x1 - x0 + 1) * along_x, (y1 - y0 + 1) * along_y) < side / 2:
            continue
        enlarged = enlarged_rle(record.rle, (height, width))
        points = tuple((x * along_x, y * along_y) for x, y in record.points)
        whole = (0.0, 0.0, float(width), float(height))
        found.append(replace(record, rle=enlarged, points=points, crop_box=whole))
    return found


def _asked_again(
    eye: WindowScanner, photo: UintImage, cut: Sequence[Stitched], side: int
) -> list[Mask]:
    """Objects that tiles have cut, from windows in which they lie whole."""
    image_hw = (photo.shape[0], photo.shape[1])
    by_window: dict[Window, list[Piece]] = {}
    for one in cut:
        window = _window_around(one.record, side, image_hw)
        if window is not None and one.pieces[0].record.points:
            by_window.setdefault(window, []).append(one.pieces[0])
    found = []
    for window, pieces in by_window.items():
        clicks = [(x - window[0], y - window[1]) for x, y in (p.record.points[0] for p in pieces)]
        answers = eye.clicks(_pixels(photo, window), clicks)
        for piece, answer in zip(pieces, answers, strict=True):
            records = [_on_photo(record, window, image_hw) for record in answer]
            found += _same_whole(records, piece, window, image_hw)
    return found


def _window_around(record: Mask, side: int, image_hw: tuple[int, int]) -> Window | None:
    """A tile with an object in its middle; None where the object fills it."""
    x0, y0, x1, y1 = record.box
    step = max(1, side // WINDOW_STEPS)
    corner = []
    for low, high, length in ((x0, x1, image_hw[1]), (y0, y1, image_hw[0])):
        if high - low >= side - step:
            return None
        start = round(((low + high) / 2 - side / 2) / step) * step
        corner.append(max(0, min(start, length - side)))
    left, top = corner
    return (left, top, min(left + side, image_hw[1]), min(top + side, image_hw[0]))


def _same_whole(
    records: Sequence[Mask], piece: Piece, window: Window, image_hw: tuple[int, int]
) -> list[Mask]:
    """The record, if any, that no border cuts and that shows what the tile showed of the object."""
    uncut = [r for r in records if not cut_bands(r.box, window, image_hw)]
    if not uncut:
        return []
    seen = [rle_in_window(record.rle, piece.window) for record in uncut]
    agreement = rle_iou(seen, [rle_in_window(piece.record.rle, piece.window)])[:, 0]
    best = int(agreement.argmax())
    whole = replace(uncut[best], objectness=piece.record.objectness)
    return [whole] if agreement[best] >= AGREE else []


def _once(sharp: list[Mask], coarse: list[Mask]) -> list[Mask]:
    """All masks without duplicates, best quality first; a tile's mask goes before a coarse one."""
    fine = without_duplicates(sharp, DUPLICATE)
    rough = without_duplicates(coarse, DUPLICATE)
    kept = [*fine, *(record for record in rough if not _is_among(record, fine))]
    return sorted(kept, key=lambda record: -record.rank)


def _is_among(record: Mask, others: Sequence[Mask]) -> bool:
    """Whether one of the others is the same object, drawn more sharply."""
    alike = [
        other.rle
        for other in others
        if COARSE_DUPLICATE * record.area < other.area < record.area / COARSE_DUPLICATE
        and boxes_meet(record.box, other.box)
    ]
    return bool((rle_iou(alike, [record.rle]) > COARSE_DUPLICATE).any())


# Stitching.


@dataclass(frozen=True)
class Piece:
    """A mask that one tile led to; the record speaks of the whole photo.

    Attributes:
        record: Run-lengths of the photo.
        window: The tile.
    """

    record: Mask
    window: Window


@dataclass(frozen=True)
class Stitched:
    """An object of one or more pieces.

    Attributes:
        record: The merged mask; quality and stability are means, weighted by area.
        pieces: What it was merged from, the largest first.
        cut: Whether it ends at a tile's border without another tile's consent.
    """

    record: Mask
    pieces: tuple[Piece, ...]
    cut: bool


def stitch(pieces: Sequence[Piece], image_hw: tuple[int, int]) -> list[Stitched]:
    """Every object once for each tile that saw it whole, and once if tiles saw it in pieces."""
    bands = [cut_bands(piece.record.box, piece.window, image_hw) for piece in pieces]
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


def cut_bands(box: Box, window: Window, image_hw: tuple[int, int]) -> list[Window]:
    """Strips along those borders of a window that a box reaches and beyond which is more photo."""
    (height, width), (x0, y0, x1, y1) = image_hw, window
    near = max(1, max(x1 - x0, y1 - y0) // CELLS)
    left, top, right, bottom = box
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
            [index for index in by_tile[tile] if boxes_meet(pieces[index].record.box, last)]
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
        if back[column] == row and iou[row, column] >= AGREE
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
        records[0],
        rle=rle_merge([record.rle for record in records]),
        score=float(weights @ [record.score for record in records]),
        stability=float(weights @ stable) if len(stable) == len(records) else None,
        points=tuple(point for record in records for point in record.points),
        crop_box=(x0, y0, x1, y1),
    )
    return Stitched(whole, tuple(pieces), cut)
