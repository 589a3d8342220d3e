"""Automatic masks of large photos: a photo in tiles and as a whole in, merged records out.

A model sees every photo at its own small size, so what is small in a large photo is lost. Here the
photo is cut into overlapping tiles of one size, each is searched like a photo, and the masks are
stitched (`stitching`). A look at the whole finds what is larger than a tile. What tiles have cut,
and no other tile confirms, is asked for once more in a window around it, and left out where even
that ends at a border.

Memory: the photo, one tile, and run-lengths; never a mask of the photo's size.

Letters: H W the photo, h w a tile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from anymask.predictors.arrangement import without_duplicates
from anymask.predictors.everything import find_everything
from anymask.predictors.grid import Grid
from anymask.predictors.pipeline import decode_prompts, embed_image, question_of
from anymask.predictors.question import RetryTime
from anymask.predictors.retry import agree, best_in_time, most_like
from anymask.predictors.search_log import SearchLog
from anymask.predictors.settings import SegmentSettings
from anymask.predictors.stitching import SAME, Piece, Stitched, boxes_meet, cut_bands, stitch
from anymask.primitives.layout import with_rle
from anymask.primitives.masks import stability_score
from anymask.primitives.prompts import Prompt
from anymask.primitives.records import (
    STABILITY_OFFSET,
    MaskRecord,
    record_from_rle,
)
from anymask.primitives.rle import rle_iou, rle_to_mask
from anymask.primitives.rle_windows import enlarged_rle, rle_in_window, rle_on_photo
from anymask.primitives.tiles import Tile, Window, tile_boxes, tile_side
from anymask.primitives.types import Embedding, UintImage
from anymask.runtimes.protocol import ImageRuntime

Told = Callable[[int, int], None]

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

    time  for masks of low quality; None: they stay as they are
    log   keeps what was found, so that a killed search goes on; None: nobody does
    """

    runtime: ImageRuntime
    settings: Grid
    time: RetryTime | None = None
    log: SearchLog | None = None

    def everything(
        self, picture: UintImage, scale: float = 1.0, progress: Told | None = None
    ) -> list[MaskRecord]:
        """All of its masks.

        scale     pixels of the photo along one pixel of the picture: areas are meant on the photo
        progress  told (clicks done, all clicks) after every batch
        """
        area = int(self.settings.min_mask_region_area / scale**2)
        settings = replace(self.settings, min_mask_region_area=area)
        found = find_everything(self.runtime, picture, settings, progress, self.log)
        if self.time is None:
            return found
        better = better_records(self.runtime, picture, found, self.time)
        return sorted(better, key=lambda record: -record.rank)

    def clicks(
        self, picture: UintImage, clicks: Sequence[tuple[float, float]]
    ) -> list[list[MaskRecord]]:
        """The masks of each click that pass."""
        prompts = [Prompt.of(points=[click]) for click in clicks]
        seen = embed_image(self.runtime, picture)
        answers = decode_prompts(self.runtime, seen, prompts, AS_FOUND)
        return [
            [
                record
                for record in answer.to_records(prompt)
                if record.quality > self.settings.pred_iou_thresh
                and (record.stability or 0.0) >= self.settings.stability_score_thresh
                and record.area
            ]
            for prompt, answer in zip(prompts, answers, strict=True)
        ]


def look_around(
    eye: WindowScanner, photo: UintImage, tile: Tile, progress: Told | None = None
) -> list[MaskRecord]:
    """Every mask of a photo (H, W, 3), in one look or in tiles. Raises InputError for `tile`."""
    side = tile_side(tile, (photo.shape[0], photo.shape[1]))
    if side is None:
        return eye.everything(photo, progress=progress)
    return find_in_tiles(eye, photo, side, progress)


def find_in_tiles(
    eye: WindowScanner, photo: UintImage, side: int, progress: Told | None = None
) -> list[MaskRecord]:
    """Every mask of a photo (H, W, 3), best quality first, each once.

    side      of the tiles, in pixels
    progress  told (looks done, all looks) after every tile
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


def _on_photo(record: MaskRecord, window: Window, image_hw: tuple[int, int]) -> MaskRecord:
    """A tile's record as one of the photo."""
    x0, y0 = window[:2]
    left, top, right, bottom = record.crop_box
    return replace(
        with_rle(record, rle_on_photo(record.rle, (x0, y0), image_hw)),
        points=tuple((x + x0, y + y0) for x, y in record.points),
        crop_box=(left + x0, top + y0, right + x0, bottom + y0),
    )


def _seen_from_afar(eye: WindowScanner, photo: UintImage, side: int) -> list[MaskRecord]:
    """What a look at the whole photo, shrunk to the size of a tile, finds of half a tile on."""
    height, width = photo.shape[:2]
    scale = max(height, width) / side
    small_hw = (max(1, round(height / scale)), max(1, round(width / scale)))
    small = cv2.resize(photo, (small_hw[1], small_hw[0]), interpolation=cv2.INTER_AREA)
    along_x, along_y = width / small_hw[1], height / small_hw[0]
    found = []
    for record in eye.everything(np.asarray(small, np.uint8), scale):
        x0, y0, x1, y1 = record.box_xyxy
        if max((x1 - x0 + 1) * along_x, (y1 - y0 + 1) * along_y) < side / 2:
            continue
        enlarged = with_rle(record, enlarged_rle(record.rle, (height, width)))
        points = tuple((x * along_x, y * along_y) for x, y in record.points)
        found.append(replace(enlarged, points=points, crop_box=(0.0, 0.0, width, height)))
    return found


def _asked_again(
    eye: WindowScanner, photo: UintImage, cut: Sequence[Stitched], side: int
) -> list[MaskRecord]:
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


def _window_around(record: MaskRecord, side: int, image_hw: tuple[int, int]) -> Window | None:
    """A tile with an object in its middle; None where the object fills it."""
    x0, y0, x1, y1 = record.box_xyxy
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
    records: Sequence[MaskRecord], piece: Piece, window: Window, image_hw: tuple[int, int]
) -> list[MaskRecord]:
    """The record, if any, that no border cuts and that shows what the tile showed of the object."""
    uncut = [r for r in records if not cut_bands(r.box_xyxy, window, image_hw)]
    if not uncut:
        return []
    seen = [rle_in_window(record.rle, piece.window) for record in uncut]
    agreement = rle_iou(seen, [rle_in_window(piece.record.rle, piece.window)])[:, 0]
    best = int(agreement.argmax())
    whole = replace(uncut[best], objectness=piece.record.objectness)
    return [whole] if agreement[best] >= SAME else []


def _once(sharp: list[MaskRecord], coarse: list[MaskRecord]) -> list[MaskRecord]:
    """All masks without duplicates, best quality first; a tile's mask goes before a coarse one."""
    fine = without_duplicates(sharp, DUPLICATE)
    rough = without_duplicates(coarse, DUPLICATE)
    kept = [*fine, *(record for record in rough if not _is_among(record, fine))]
    return sorted(kept, key=lambda record: -record.rank)


def _is_among(record: MaskRecord, others: Sequence[MaskRecord]) -> bool:
    """Whether one of the others is the same object, drawn more sharply."""
    alike = [
        other.rle
        for other in others
        if COARSE_DUPLICATE * record.area < other.area < record.area / COARSE_DUPLICATE
        and boxes_meet(record.box_xyxy, other.box_xyxy)
    ]
    return bool((rle_iou(alike, [record.rle]) > COARSE_DUPLICATE).any())


def better_records(
    runtime: ImageRuntime, photo: UintImage, records: Sequence[MaskRecord], time: RetryTime
) -> list[MaskRecord]:
    """Everything's masks of one photo, those of low quality asked for again, the largest first.

    Each is asked for with its first click, and stays the same object. The order is that of the
    records; a mask that could not be made better stays as it is.
    """
    kept = list(records)
    largest_first = sorted(range(len(kept)), key=lambda index: -kept[index].area)
    poor = [i for i in largest_first if kept[i].points and time.wants(kept[i].quality)]
    if not poor:
        return kept
    embedding = embed_image(runtime, photo)
    for index in poor:
        if time.wants(kept[index].quality):
            kept[index] = _better_record(runtime, photo, embedding, kept[index], time)
    return kept


def _better_record(
    runtime: ImageRuntime,
    photo: UintImage,
    embedding: Embedding,
    record: MaskRecord,
    time: RetryTime,
) -> MaskRecord:
    prompt = Prompt.of(points=record.points[:1])
    like = rle_to_mask(record.rle)
    (answer,) = decode_prompts(runtime, embedding, [prompt], AS_FOUND)
    first = most_like(answer, like)
    if not agree(first.masks[0], like):
        return record
    question = question_of(runtime, photo, embedding, prompt, AS_FOUND, time)
    best = best_in_time(question, first, time, like)
    if best is first or best.first.quality <= record.quality:
        return record
    stability = stability_score(best.first.shown_logits, best.threshold, STABILITY_OFFSET)
    fresh = record_from_rle(
        best.first.rle(), quality=best.first.quality, stability=float(stability)
    )
    return replace(
        fresh,
        points=record.points,
        crop_box=record.crop_box,
        objectness=record.objectness,
        label=record.label,
    )
