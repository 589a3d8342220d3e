"""Edges of everything's masks: a photo and records in, the same objects with finer edges out.

Records are run-lengths, and an edge is moved where the logits are undecided (`edges`): so each mask
is asked for with its click once more. A mask that does not come again (it was found in a crop, or
changed since) stays as it is.

Automatic masks of a photo.

How the photo is searched is `large` and `everything`, what becomes of the masks is `arrangement`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, cast

from anymask.base import InputError, Progress, UintImage, check_keywords, pick_teller
from anymask.images import ImageSource
from anymask.masks import CLEAN, Features, Mask, Masks, Prompt, Tile, rle_area, rle_iou
from anymask.runtime import EdgeRefining, ImageRuntime
from anymask.segment.adaptive import SearchLog
from anymask.segment.generate import find_everything
from anymask.segment.grid import Grid, grid_of, wider_grid
from anymask.segment.objectness import least_objectness
from anymask.segment.pipeline import check_embedding, decode_prompts, encode_image, question_of
from anymask.segment.postprocess import (
    Arrangement,
    EverythingDict,
    arrange,
    arrangement_of,
    best_of,
    split_settings,
)
from anymask.segment.prediction import Prediction
from anymask.segment.requests import (
    SOURCE_WORDS,
    EncodedPhoto,
    Retry,
    SegmentSettings,
    SourceDict,
    check_retry,
    load_shown,
    split_source,
)
from anymask.segment.steps import Question, RetryTime, refine_edges
from anymask.segment.tiles import WindowScanner, count_looks, look_around

AT_ONCE = 64  # masks: what they are answered with is memory
SAME = 0.9  # IoU of a mask and the one that its click brings again
AS_SHOWN = SegmentSettings(
    multimask=True,
    ranking="own",
    max_hole_area=CLEAN,
    min_island_area=CLEAN,
    refine_edges=True,
)


def refine_record_edges(
    runtime: ImageRuntime,
    photo: UintImage,
    records: Sequence[Mask],
    seen: Features | None = None,
) -> list[Mask]:
    """The records in their order, each with its edge where the photo has it.

    photo  (H, W, 3), or smaller where `seen` says of which size it was
    seen   the photo's embedding, where somebody has it
    """
    kept = list(records)
    asked = [index for index, record in enumerate(kept) if record.points]
    if not asked:
        return kept
    embedding = encode_image(runtime, photo) if seen is None else seen
    for start in range(0, len(asked), AT_ONCE):
        some = asked[start : start + AT_ONCE]
        prompts = [Prompt.of(points=kept[index].points[:1]) for index in some]
        answers = decode_prompts(runtime, embedding, prompts, AS_SHOWN)
        for index, prompt, answer in zip(some, prompts, answers, strict=True):
            question = question_of(runtime, photo, embedding, prompt, AS_SHOWN)
            kept[index] = _refined(kept[index], answer, question)
    return kept


def _refined(record: Mask, answer: Prediction, question: Question) -> Mask:
    alike = rle_iou(answer.rles(), [record.rle])[:, 0]  # without a mask of the photo's size
    best = int(alike.argmax())
    if alike[best] < SAME:
        return record
    rle = refine_edges(answer.picked([best]), question).first.rle()
    return replace(record, rle=rle) if rle_area(rle) else record


_WORDS = ("progress", "tile", "retry", *EverythingDict.__optional_keys__)


class Looks(NamedTuple):
    """How often the photo is looked at, and where what was found is kept (`Model.everything`)."""

    tile: Tile = "auto"
    retry: Retry | None = None
    log: SearchLog | None = None


class EverythingKeywords(EverythingDict, SourceDict, total=False):
    """The keyword arguments of `Model.everything` beside the photo."""


def split_everything(given: Mapping[str, Any]) -> tuple[SourceDict, EverythingDict]:
    """What `everything` was given: how the photo is read, and the settings. Raises InputError."""
    source, rest = split_source(given)
    check_keywords(rest, [*sorted(_WORDS), *sorted(SOURCE_WORDS)])
    return source, cast(EverythingDict, rest)


def find_masks(
    runtime: ImageRuntime,
    image: ImageSource | Features | EncodedPhoto,
    given: Mapping[str, Any],
    looks: Looks,
    progress: Progress,
) -> Masks:
    """What `Model.everything` answers. Raises PromptError, InputError and ImageError."""
    check_retry(looks.retry)
    source, rest = split_everything(given)
    of_grid, of_arrangement = split_settings(rest)
    grid = grid_of(runtime.family, of_grid)
    wanted = arrangement_of(grid, of_arrangement, least_objectness(runtime.family))
    loose = arrangement_of(grid, of_arrangement)
    view, shown = _view(runtime, image, source, grid, looks)
    refine = (
        partial(_refine, runtime, view, looks.tile) if _refines(runtime, grid, wanted) else None
    )
    with pick_teller(progress, "everything") as tell:
        every = _look(runtime, view, grid, looks, tell, wanted.min_objectness)
        found = arrange(every, wanted, refine) or arrange(best_of(every), loose, refine)
        if not found and (wider := wider_grid(grid, of_grid)):
            again = _look(runtime, view, wider, looks._replace(log=None), tell)
            found = arrange(best_of(again), loose, refine)
    if runtime.spec.classes:
        from anymask.segment.classes import name_records

        found = name_records(runtime, view.seen or encode_image(runtime, view.whole), found)
    return Masks(found, image_hw=shown.image_hw, picture=shown.picture)


class _View(NamedTuple):
    """What is searched: a photo, or its embedding where that is enough, or both."""

    photo: UintImage | None
    seen: Features | None

    @property
    def whole(self) -> UintImage:
        """The photo, where nothing else was given."""
        assert self.photo is not None
        return self.photo


def _view(
    runtime: ImageRuntime,
    image: ImageSource | Features | EncodedPhoto,
    source: SourceDict,
    grid: Grid,
    looks: Looks,
) -> tuple[_View, Masks]:
    """The photo as it is searched, and the empty list of its masks."""
    given = EncodedPhoto(image) if isinstance(image, Features) else image
    if isinstance(given, EncodedPhoto):
        check_embedding(runtime, given.embedding)
        _check_enough(looks, source)
        shown = Masks(image_hw=given.embedding.image_hw, picture=given.picture)
        return _View(given.photo, given.embedding), shown
    photo, picture = load_shown(given, source, runtime.spec.channels)
    hw = (photo.shape[0], photo.shape[1])
    shown = Masks(image_hw=hw, picture=picture)
    once = count_looks(looks.tile, hw) == 1 and not grid.crop_n_layers and looks.retry is None
    sees = once and "point" in runtime.spec.accepts
    return _View(photo, encode_image(runtime, photo) if sees else None), shown


def _look(
    runtime: ImageRuntime,
    view: _View,
    grid: Grid,
    looks: Looks,
    tell: Callable[[int, int], None] | None,
    least: float = 0.0,
) -> list[Mask]:
    """What a grid of clicks finds.

    least  objectness of masks that are wanted; tiles keep all, as each may be part of a larger one
    """
    if view.seen is not None:
        return find_everything(runtime, view.seen, grid, tell, looks.log, least)
    time = None if looks.retry is None else RetryTime.start(looks.retry)
    return look_around(WindowScanner(runtime, grid, time, looks.log), view.whole, looks.tile, tell)


def _refines(runtime: ImageRuntime, grid: Grid, wanted: Arrangement) -> bool:
    if runtime.capability(EdgeRefining) is None:
        return False
    return grid.mode == "adaptive" if wanted.refine_edges == "auto" else wanted.refine_edges


def _refine(runtime: ImageRuntime, view: _View, tile: Tile, records: list[Mask]) -> list[Mask]:
    """The same objects with other edges, where there is a photo that was looked at as a whole."""
    if view.photo is None or count_looks(tile, view.photo.shape[:2]) > 1 or not records:
        return records
    return refine_record_edges(runtime, view.photo, records, view.seen)


def _check_enough(looks: Looks, source: SourceDict) -> None:
    """Raises InputError for what an embedding alone cannot do."""
    if looks.tile not in ("auto", None) or looks.retry is not None:
        raise InputError(
            f"tiles and retries look at the photo again (tile={looks.tile!r}, "
            f"retry={looks.retry!r}), got only its embedding; pass the photo instead"
        )
    if source:
        raise InputError(
            f"{' and '.join(source)} is about a photo, got its embedding; give it to embed"
        )
