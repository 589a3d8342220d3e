"""Segment a map tile by tile, join the results and write them; a killed run is resumed.

`segment_tiles` runs one processor on each tile: everything or text prompts (`TileProcessor`),
prompts (`prompting.PromptProcessor`) or changes between two dates (`change.ChangeProcessor`).

Letters: H W the scene, h w a window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import shapely

from anymask.base import InputError, OnProgress, Progress, UintImage, choose_progress
from anymask.maps.joining import (
    group_fragments,
    join_fragments,
    last_pixels,
    merge_objects,
    merged_parts,
)
from anymask.maps.layers import check_map_outputs, corners_of, write_objects
from anymask.maps.scene import Scene
from anymask.maps.shapes import GroundArea, drawn_shape, outline_of
from anymask.maps.tile_store import (
    Fragment,
    MapObject,
    TileStore,
    bounds_of,
    key_of,
    open_worksheet,
)
from anymask.masks import Mask, Prompt, Tile, Window, joining, tile_boxes
from anymask.models.rules import field_rules
from anymask.segment import Model

DEFAULT_TILE_SIDE = 1024  # default tile size in pixels
DEFAULT_SIDES = 64, 4096  # smallest and largest default
GROUND = 0.25  # minimum share of a map of an object that is its background


class WindowProcessor(Protocol):
    """Interface of detectors that process the windows of a map.

    Attributes:
        about: Settings that affect results.
        joins: Whether windows are overlapping tiles, whose results are merged.
        nested: Whether to keep parts inside larger objects.
        by_label: Whether masks with different labels are different objects.
        prompts: Prompts to segment, if any.
        tell: Called by `detect` with the number of finished prompts, and the total.
    """

    about: dict[str, Any]
    tell: OnProgress | None
    joins: bool
    nested: bool
    by_label: bool

    @property
    def prompts(self) -> Sequence[Prompt]: ...

    def windows(self) -> list[Window]:
        """Windows to process."""
        ...

    def detect(self, window: Window) -> list[Fragment]:
        """Detect the objects of a window."""
        ...

    def again(self, window: Window, pieces: Sequence[Fragment]) -> list[list[Fragment]]:
        """Predict masks for the points of fragments in another window; all candidates of each."""
        ...


class MapReport(NamedTuple):
    """Result of `segment_tiles`."""

    objects: int  # Number of objects written
    left_out: int  # Number of cut objects that no window contains and whose parts do not match
    windows: int  # Number of windows processed, in this run and before
    # Prompts without an object in the output (`Prompt.source`), and the reason
    without: tuple[tuple[str, str], ...] = ()
    # Area of the objects as a share of the map, without those that cover more than a quarter of it,
    # such as the ground
    coverage: float = 0.0


def segment_tiles(
    scene: Scene,
    processor: WindowProcessor,
    outputs: Sequence[str | Path],
    *,
    simplify: float | None = None,
    right_angles: bool = False,
    min_area: float = 0.0,
    progress: Progress = None,
) -> MapReport:
    """Segment all windows of a map, merge the results and write them.

    An interrupted run resumes after the last finished window. Its work file is next to the first
    output until everything is written.

    Args:
        outputs: One or more of .gpkg, .fgb, .shp, .geojson (WGS 84), or .tif (labels).
        simplify: Maximum displacement of simplified outlines in meters. None: one pixel. 0: off.
        right_angles: Give outlines right angles where possible, for example of buildings.
        min_area: Minimum object area in square meters.
        progress: Called with the number of finished windows, or of prompts, and the total.

    Raises:
        InputError: An output is invalid, or another process writes it.
        ImageError: The map cannot be read.
    """
    tolerance = max(scene.ground) if simplify is None else simplify
    if tolerance < 0 or min_area < 0:
        raise InputError(f"Invalid simplify={simplify}, min_area={min_area}. Use 0 or more.")
    paths = [Path(output) for output in outputs]
    check_map_outputs(paths)
    windows = processor.windows()
    about = {"scene": scene.about, "processor": processor.about}
    with open_worksheet(paths[0], about) as work, choose_progress(progress, "windows") as tell:
        processor.tell = tell
        for done, window in enumerate(windows, start=1):
            if not work.is_finished(key_of(window)):
                work.keep(key_of(window), processor.detect(window))
            if tell is not None and not processor.prompts:
                tell(done, len(windows))
        work.clear_objects()
        left_out = 0
        if processor.joins:
            left_out = _join(scene, processor, work, windows, tell)
            merge_objects(work, processor.nested, processor.by_label)
        else:
            # Convert each fragment to an object.
            for window in windows:
                work.add_objects(_object_of(part, f"{part.id}") for part in work.fragments(window))
            with work.base:
                for map_object in work.best_first():
                    work.mark_kept(map_object)
        objects, coverage = _finish(scene, work, tolerance, right_angles, min_area)
        without = prompts_without(scene, processor.prompts, work)
        for path in paths:
            write_objects(path, scene, work, getattr(processor, "sources", {}))
    return MapReport(objects, left_out, len(windows), without, coverage)


def _join(
    scene: Scene,
    processor: WindowProcessor,
    work: TileStore,
    windows: list[Window],
    tell: OnProgress | None,
) -> int:
    """Merge fragments to objects and predict cut ones again. Returns how many are left out."""
    groups = group_fragments(work, windows, processor.by_label)
    cut = join_fragments(work, groups, windows, scene.image_hw)
    side = max(max(x1 - x0, y1 - y0) for x0, y0, x1, y1 in windows)
    by_window: dict[Window, list[int]] = {}
    for number in cut:
        window = joining.window_with(work.fragment(number).bounds, side, scene.image_hw)
        if window is not None:
            by_window.setdefault(window, []).append(number)
    total = len(windows) + len(by_window)
    for done, (window, numbers) in enumerate(by_window.items(), start=len(windows) + 1):
        key = f"again {key_of(window)}"
        if not work.is_finished(key):
            pieces = [work.fragment(number) for number in numbers]
            answers = processor.again(window, pieces)
            merged = [merged_parts(*pair) for pair in zip(pieces, answers, strict=True)]
            work.keep(
                key,
                [
                    replace(fragment, parent=piece.id)
                    for fragment, piece in zip(merged, pieces, strict=True)
                    if fragment is not None
                ],
            )
        if tell is not None:
            tell(done, total)
    whole = list(work.reprompted())
    work.add_objects(_object_of(fragment, f"again {fragment.id}") for fragment in whole)
    return len(cut) - len(whole)


def _object_of(one: Fragment, window: str) -> MapObject:
    return MapObject(
        one.outline, one.score, one.rank, one.label, one.prompt,
        frozenset({window.replace(" ", "-")}),
    )  # fmt: skip


def _finish(
    scene: Scene, work: TileStore, tolerance: float, right_angles: bool, min_area: float
) -> tuple[int, float]:
    """Compute the final shapes, in reading order. Returns their number and coverage."""
    area_of, number, coverage = GroundArea(scene), 0, 0.0
    whole = math.prod((*scene.image_hw, *scene.ground))
    with work.base:
        for map_object in work.in_reading_order():
            shape = drawn_shape(map_object.outline, scene.ground, tolerance, right_angles)
            if shape.is_empty:
                continue
            area = area_of(shape)
            if area >= min_area:
                number += 1
                coverage += area / whole if area < GROUND * whole else 0
                work.finish(replace(map_object, shape=shape, area=area, number=number))
    return number, coverage


def prompts_without(
    scene: Scene, prompts: Sequence[Prompt], work: TileStore
) -> tuple[tuple[str, str], ...]:
    """Prompts that have no object in the output, each with the reason."""
    answered, written = work.prompts_of("fragment"), work.prompts_of("object")
    without = []
    for prompt in prompts:
        text = str(prompt.source)
        if written[text]:
            written[text] -= 1
            answered[text] -= 1
        elif answered[text]:
            answered[text] -= 1
            without.append(
                (text, "its mask is smaller than --min-area or vanishes with --simplify")
            )
        elif not has_data(scene, prompt):
            without.append((text, "the map has no data at this location"))
        else:
            without.append((text, "the model found no object at this location"))
    return tuple(without)


def has_data(scene: Scene, prompt: Prompt) -> bool:
    """Whether the map has a valid pixel at a point, or in a box."""
    height, width = scene.image_hw
    corners = corners_of(prompt)
    for first, last in [corners] if prompt.box is not None else zip(corners, corners, strict=True):
        x0, y0 = np.clip(np.floor(first), 0, (width - 1, height - 1)).astype(int).tolist()
        x1, y1 = np.clip(np.ceil(last), (x0 + 1, y0 + 1), (width, height)).astype(int).tolist()
        size = min(y1 - y0, DEFAULT_TILE_SIDE), min(x1 - x0, DEFAULT_TILE_SIDE)
        if scene.read_scaled((x0, y0, x1, y1), size)[1].any():
            return True
    return False


# Detectors.


class TileProcessor:
    """Automatic masks or text prompts, in overlapping tiles.

    Args:
        find: Function that returns the masks of a tile (h, w, 3), as `Model.everything` or
            `Model.find`.
        about: Settings that affect results, except the model.
        prompt: Value of the attribute `prompt` in the output.
        tile: Tile size in scene pixels. "auto": DEFAULT_TILE_SIDE, or that in which a
            model for one field finds its objects (`FieldRules`). None: the whole map at once.
    """

    joins = True
    by_label = True
    prompts: Sequence[Prompt] = ()
    tell: OnProgress | None = None

    def __init__(
        self,
        scene: Scene,
        model: Model,
        find: Callable[[UintImage], Sequence[Mask]],
        *,
        about: dict[str, Any] | None = None,
        prompt: str = "everything",
        tile: Tile = "auto",
        nested: bool = False,
    ) -> None:
        self.scene, self.model, self.find = scene, model, find
        self.prompt, self.nested = prompt, nested
        rules = field_rules(model.name)
        usual = (
            np.clip(rules.ground / max(scene.ground), *DEFAULT_SIDES)
            if rules.ground
            else rules.side or DEFAULT_TILE_SIDE
        )
        self.side = pick_side(int(usual) if tile == "auto" else tile, scene.image_hw)
        self.about: dict[str, Any] = {
            "model": model_about(model),
            "find": about,
            "prompt": prompt,
            "side": self.side,
        }

    def windows(self) -> list[Window]:
        return tile_boxes(self.scene.image_hw, self.side, int(self.side * joining.OVERLAP))

    def detect(self, window: Window) -> list[Fragment]:
        image, valid = self.scene.read(window)
        if not valid.any():
            return []
        return Cutting(window, self.scene.image_hw, self.prompt).fragments(self.find(image), valid)

    def again(self, window: Window, pieces: Sequence[Fragment]) -> list[list[Fragment]]:
        image, valid = self.scene.read(window)
        return reprompt(self.model, image, pieces, Cutting(window, self.scene.image_hw), valid)


class Cutting(NamedTuple):
    """Conversion of the masks of a window to fragments."""

    window: Window
    image_hw: tuple[int, int]
    prompt: str = ""

    def fragments(self, masks: Sequence[Mask], valid: Any) -> list[Fragment]:
        """Fragments of the masks on valid pixels of the map."""
        fragments = []
        for mask in masks:
            outline = outline_of(mask.rle, valid, self.window)
            if outline is None:
                continue
            if mask.points:
                x, y = mask.points[0][0] + self.window[0], mask.points[0][1] + self.window[1]
            else:
                x, y = shapely.get_coordinates(shapely.point_on_surface(outline))[0].tolist()
            box = last_pixels(bounds_of(outline))
            cut = bool(joining.cut_bands(box, self.window, self.image_hw))
            about = mask.score, mask.rank, mask.label, self.prompt, (x, y)
            fragments.append(Fragment(self.window, outline, cut, *about))
        return fragments


def reprompt(
    model: Model, image: UintImage, pieces: Sequence[Fragment], cutting: Cutting, valid: Any
) -> list[list[Fragment]]:
    """Predict all candidate masks of a window for the points of fragments."""
    x0, y0 = cutting.window[:2]
    prompts = [Prompt.of(points=[(piece.click[0] - x0, piece.click[1] - y0)]) for piece in pieces]
    answers = model.segment(model.encode(image), prompts=prompts, multimask=True)
    return [cutting.fragments(list(answer), valid) for answer in answers]


def pick_side(tile: Tile, image_hw: tuple[int, int]) -> int:
    """Tile size in pixels. Raises InputError if it is too small."""
    if tile is None:
        return max(image_hw)
    side = DEFAULT_TILE_SIDE if tile == "auto" else int(tile)
    if side < 64:
        raise InputError(f"Invalid tile {tile}. Use 64 pixels or more.")
    return side


def model_about(model: Model) -> dict[str, str]:
    """Name and weights of the model. Raises InputError if it is not for RGB images."""
    if model.spec.channels is not None:
        raise InputError(
            f"{model.name} was trained on images with other bands, but maps are passed "
            "to models as three colors. Choose another model."
        )
    return {"name": model.name, "weights": model.runtime.weights_hash}
