"""Automatic masks of a photo: a photo or its embedding and settings in, `MaskRecords` out.

How the photo is searched is `large` and `everything`, what becomes of the masks is `arrangement`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

from anymask.data.images import ImageSource
from anymask.data.photo_sources import picture_of
from anymask.data.record_list import MaskRecords
from anymask.predictors.arrangement import (
    EverythingDict,
    arrange,
    arrangement_of,
    best_of,
    split_settings,
)
from anymask.predictors.everything import find_everything
from anymask.predictors.grid import Grid, grid_of, wider_grid
from anymask.predictors.keywords import SOURCE_WORDS, SourceDict, check_keywords, split_source
from anymask.predictors.large import WindowScanner, look_around
from anymask.predictors.objectness import least_objectness
from anymask.predictors.pipeline import check_embedding, embed_image
from anymask.predictors.question import RetryTime
from anymask.predictors.requests import load_one
from anymask.predictors.search_log import SearchLog
from anymask.predictors.settings import Retry, check_retry
from anymask.primitives.errors import InputError
from anymask.primitives.progress import Progress, pick_teller
from anymask.primitives.records import MaskRecord
from anymask.primitives.tiles import Tile
from anymask.primitives.types import Embedding, UintImage
from anymask.runtimes.protocol import ImageRuntime

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
    image: ImageSource | Embedding,
    given: Mapping[str, Any],
    looks: Looks,
    progress: Progress,
) -> MaskRecords:
    """What `Model.everything` answers. Raises PromptError, InputError and ImageError."""
    check_retry(looks.retry)
    source, rest = split_everything(given)
    of_grid, of_arrangement = split_settings(rest)
    grid = grid_of(runtime.family, of_grid)
    wanted = arrangement_of(grid, of_arrangement, least_objectness(runtime.family))
    loose = arrangement_of(grid, of_arrangement)
    if isinstance(image, Embedding):
        check_embedding(runtime, image)
        _check_enough(looks, source)
        seen: Embedding | UintImage = image
        shown = MaskRecords(image_hw=image.image_hw)
    else:
        mix = runtime.spec.channels
        seen = load_one(image, source, mix)
        hw = (seen.shape[0], seen.shape[1])
        shown = MaskRecords(image_hw=hw, picture=picture_of(image if mix is None else seen, seen))
    with pick_teller(progress, "everything") as tell:
        every = _look(runtime, seen, grid, looks, tell)
        found = arrange(every, wanted) or arrange(best_of(every), loose)
        if not found and (wider := wider_grid(grid, of_grid)):
            again = _look(runtime, seen, wider, looks._replace(log=None), tell)
            found = arrange(best_of(again), loose)
    if runtime.spec.classes:
        from anymask.predictors.classes import name_records

        whole = seen if isinstance(seen, Embedding) else embed_image(runtime, seen)
        found = name_records(runtime, whole, found)
    shown.extend(found)
    return shown


def _look(
    runtime: ImageRuntime,
    seen: Embedding | UintImage,
    grid: Grid,
    looks: Looks,
    tell: Callable[[int, int], None] | None,
) -> list[MaskRecord]:
    """What a grid of clicks finds."""
    if isinstance(seen, Embedding):
        return find_everything(runtime, seen, grid, tell, looks.log)
    time = None if looks.retry is None else RetryTime.start(looks.retry)
    return look_around(WindowScanner(runtime, grid, time, looks.log), seen, looks.tile, tell)


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
