"""Automatic masks of a photo: a photo or its embedding and settings in, `MaskRecords` out.

How the photo is searched is `large` and `everything`, what becomes of the masks is `arrangement`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from anymask.data.images import ImageSource
from anymask.data.photo_sources import picture_of
from anymask.data.record_list import MaskRecords
from anymask.predictors.arrangement import (
    Arrangement,
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
from anymask.predictors.pipeline import check_embedding
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


class EverythingKeywords(EverythingDict, SourceDict, total=False):
    """The keyword arguments of `Model.everything` beside the photo."""


def split_everything(given: Mapping[str, Any]) -> tuple[SourceDict, EverythingDict]:
    """What `everything` was given: how the photo is read, and the settings. Raises InputError."""
    source, rest = split_source(given)
    check_keywords(rest, [*sorted(_WORDS), *sorted(SOURCE_WORDS)])
    return source, cast(EverythingDict, rest)


@dataclass(frozen=True)
class Search:
    """One model and all settings of one call.

    grid    of clicks
    wider   a grid for a photo where that finds nothing; None: there is none
    wanted  what becomes of the masks
    loose   the same where the thresholds leave none
    source  how the photo is read
    """

    runtime: ImageRuntime
    grid: Grid
    wider: Grid | None
    wanted: Arrangement
    loose: Arrangement
    source: SourceDict
    tile: Tile
    retry: Retry | None
    log: SearchLog | None

    @classmethod
    def of(
        cls,
        runtime: ImageRuntime,
        given: Mapping[str, Any],
        tile: Tile,
        retry: Retry | None,
        log: SearchLog | None,
    ) -> Search:
        """The settings that were given over the model's own. Raises InputError."""
        check_retry(retry)
        source, rest = split_everything(given)
        of_grid, of_arrangement = split_settings(rest)
        grid = grid_of(runtime.family, of_grid)
        return cls(
            runtime=runtime,
            grid=grid,
            wider=wider_grid(grid, of_grid),
            wanted=arrangement_of(grid, of_arrangement, least_objectness(runtime.family)),
            loose=arrangement_of(grid, of_arrangement),
            source=source,
            tile=tile,
            retry=retry,
            log=log,
        )


def find_masks(search: Search, image: ImageSource | Embedding, progress: Progress) -> MaskRecords:
    """What `Model.everything` answers. Raises PromptError, InputError and ImageError."""
    if isinstance(image, Embedding):
        check_embedding(search.runtime, image)
        _check_enough(search)
        seen: Embedding | UintImage = image
        shown = MaskRecords(image_hw=image.image_hw)
    else:
        seen = load_one(image, search.source)
        hw = (seen.shape[0], seen.shape[1])
        shown = MaskRecords(image_hw=hw, picture=picture_of(image, seen))
    with pick_teller(progress, "everything") as tell:
        every = _look(search, seen, tell)
        found = arrange(every, search.wanted) or arrange(best_of(every), search.loose)
        if not found and search.wider:
            again = replace(search, grid=search.wider, log=None)
            found = arrange(best_of(_look(again, seen, tell)), search.loose)
    shown.extend(found)
    return shown


def _look(
    search: Search, seen: Embedding | UintImage, tell: Callable[[int, int], None] | None
) -> list[MaskRecord]:
    """What a grid of clicks finds."""
    if isinstance(seen, Embedding):
        return find_everything(search.runtime, seen, search.grid, tell, search.log)
    time = None if search.retry is None else RetryTime.start(search.retry)
    scanner = WindowScanner(search.runtime, search.grid, time, search.log)
    return look_around(scanner, seen, search.tile, tell)


def _check_enough(search: Search) -> None:
    """Raises InputError for what an embedding alone cannot do."""
    if search.tile not in ("auto", None) or search.retry is not None:
        raise InputError(
            "tiles and retries look at the photo again "
            f"(tile={search.tile!r}, retry={search.retry!r}), "
            "got only its embedding; pass the photo instead"
        )
    if search.source:
        raise InputError(
            f"{' and '.join(search.source)} is about a photo, got its embedding; give it to embed"
        )
