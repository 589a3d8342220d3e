"""Automatic mask generation: find all masks of an image, at once or in tiles, and filter them.

`find_masks` runs all steps: `grid` selects clicks, `search` decodes them, `filter` selects masks.
`tiles` splits large images, `log` resumes an interrupted search, `edges` refines the masks on the
image, and `alike` separates objects of one kind.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from anymask.base import InputError, OnProgress, Progress, UintImage, choose_progress
from anymask.masks import Features, Mask, Tile, check_features, tile_side
from anymask.runtime import EdgeRefining, ImageRuntime
from anymask.segment.everything.edges import refine_record_edges
from anymask.segment.everything.filter import Refine, arrange, best_of, least_objectness
from anymask.segment.everything.log import SearchLog
from anymask.segment.everything.search import find_everything
from anymask.segment.everything.tiles import WindowScanner, find_in_tiles
from anymask.segment.pipeline import encode_image
from anymask.segment.settings import (
    EverythingDict,
    Grid,
    arrangement_of,
    grid_of,
    split_settings,
    wider_grid,
)


class TilingOptions(NamedTuple):
    """Tiling, and the log of a search (`Model.everything`)."""

    tile: Tile = "auto"
    log: SearchLog | None = None


def find_masks(
    runtime: ImageRuntime,
    photo: UintImage | None,
    features: Features | None,
    given: EverythingDict,
    tiling: TilingOptions,
    progress: Progress,
) -> list[Mask]:
    """Implementation of `Model.everything`.

    Args:
        runtime: Runtime of the model.
        photo: Image (H, W, 3), possibly smaller than the image of the features, or None.
        features: Embedding, or None to encode the image.
        given: Settings passed by the user.
        tiling: Tiling and log.
        progress: True for a progress bar, or a callable.

    Raises PromptError if the model does not support points, InputError for invalid settings and for
    settings that require the image.
    """
    of_grid, of_arrangement = split_settings(given)
    grid = grid_of(runtime.family, of_grid)
    wanted = arrangement_of(grid, of_arrangement, least_objectness(runtime.family))
    loose = arrangement_of(grid, of_arrangement)
    relative = grid.mode == "adaptive" and "min_objectness" not in of_arrangement
    if features is not None:
        check_features(features, runtime.spec, runtime.weights_hash)
        if tiling.tile not in ("auto", None):
            raise InputError(
                f"tile={tiling.tile!r} requires the image, but only its embedding was "
                "passed. Pass the image."
            )
    whole = photo if photo is not None and tile_side(tiling.tile, photo.shape[:2]) is None else None
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
    with choose_progress(progress, "everything") as tell:
        every = look(grid, tiling, tell, wanted.min_objectness)
        found = arrange(every, wanted, refine, relative)
        found = found or arrange(best_of(every), loose, refine)
        if not found and (wider := wider_grid(grid, of_grid)):
            again = look(wider, tiling._replace(log=None), tell)
            found = arrange(best_of(again), loose, refine)
    if runtime.spec.classes and found:
        from anymask.segment.labels import label_masks  # few models need it

        if features is None and photo is not None:
            features = encode_image(runtime, photo)
        assert features is not None
        found = label_masks(runtime, features, found)
    return found


def _alike(photo: UintImage | None, refine: Refine | None, masks: list[Mask]) -> list[Mask]:
    """Apply `only_alike` after edge refinement. Raises InputError without an image."""
    from anymask.segment.everything.alike import only_alike  # few calls need it

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
    tiling: TilingOptions,
    tell: OnProgress | None,
    least: float = 0.0,
) -> list[Mask]:
    """Masks found by a grid of clicks.

    Args:
        least: Minimum objectness. Tiles keep all masks, because each may be part of a larger one.
    """
    if features is not None:
        return find_everything(runtime, features, grid, tell, tiling.log, least)
    assert photo is not None
    scanner = WindowScanner(runtime, grid, tiling.log)
    side = tile_side(tiling.tile, photo.shape[:2])
    if side is None:
        return scanner.everything(photo, progress=tell)
    return find_in_tiles(scanner, photo, side, tell)
