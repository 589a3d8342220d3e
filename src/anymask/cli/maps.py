"""Maps on the command line: reading, segmentation and reports."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from anymask.base import InputError, ProgressBar, say
from anymask.cli.options import open_sources, read_images, read_model, read_options
from anymask.jobs import MapSettings, TilingSettings
from anymask.masks import counted, percent
from anymask.models.rules import FIELD_MODELS

if TYPE_CHECKING:
    from anymask.cli.prompts import Kind
    from anymask.jobs import EverythingTask, FindTask
    from anymask.maps import MapReport, Scene
    from anymask.masks import Prompt

MAX_TOLD = 100  # maximum number of listed prompts without a mask
_, ROOFS = FIELD_MODELS  # bundled models of cells and of buildings
MIN_OBJECT_SIDE = 32  # side in input pixels; nine of ten objects that `nano-roofs` finds are larger
HOUSE = 10.0  # side of a small house in meters
MIN_COVERAGE, COARSE_COVERAGE = 0.05, 0.5  # of a map, and of one that is too coarse for houses


def read_map(args: argparse.Namespace, **usual: Any) -> MapSettings:
    """Read the map options, with other defaults. Raises InputError."""
    return MapSettings(**usual | read_options(args, MapSettings))


@contextlib.contextmanager
def open_scene(
    args: argparse.Namespace, sources: Sequence[str], settings: MapSettings
) -> Iterator[Scene]:
    """Open the map of a command line. Raises InputError or ImageError."""
    from anymask.maps import open_map

    image_settings = read_images(args)
    with (
        open_sources(sources, allow_url=getattr(args, "allow_url", False)) as paths,
        open_map(
            paths, colors=settings.colors, bands=image_settings.bands,
            stretch=image_settings.stretch,
            ranges=image_settings.ranges, gsd=settings.gsd,
        ) as scene,
    ):  # fmt: skip
        yield scene


def search_map(args: argparse.Namespace, task: EverythingTask | FindTask) -> None:
    """Segment everything, or what matches a text or exemplar prompt, on a map."""
    from anymask.maps import TileProcessor

    with open_scene(args, args.sources, read_map(args)) as scene:
        work = task.open()
        phrases = getattr(task, "phrases", None)
        processor = TileProcessor(
            scene,
            work.model,
            work.segment_tile,
            about=work.about,
            prompt=", ".join(phrase.prompt for phrase in phrases or ())
            or ("everything" if phrases is None else "similar to an exemplar"),
            tile=TilingSettings(**read_options(args, TilingSettings, ("tile",))).tile,
            nested=bool({"granularity", "layout"} & set(getattr(task, "arrangement", ()))),
        )
        roofs = work.model.name == ROOFS
        report = write_survey(args, scene, processor, read_map(args, right_angles=roofs))
        # Name what may find more, if the objects cover little of the map for its resolution
        side = min(processor.side, max(scene.image_hw)) / work.model.spec.image_side
        pixel = max(scene.ground) * side  # meters per pixel of the model's input
        smallest = MIN_OBJECT_SIDE * pixel
        if report.coverage < (COARSE_COVERAGE if smallest > HOUSE else MIN_COVERAGE):
            other = "--detector or --like, " * (phrases is not None)
            other += f"anymask everything --model {ROOFS} for buildings, " * (not roofs)
            say(
                f"The {counted(report.objects, 'object')} cover {percent(report.coverage)} of the "
                f"map. At {pixel:.2g} m per pixel of the model's input, most objects smaller than "
                f"{smallest:.2g} m are missed. To find more, use {other}a smaller --tile, or a "
                f"point or box for each object: anymask segment {args.sources[0]} --prompts "
                "LAYER.gpkg -o objects.gpkg"
            )


def segment_map(args: argparse.Namespace, given: dict[str, Any]) -> None:
    """Segment prompts on a map, from the command line and a layer. Raises AnymaskError.

    Args:
        given: Settings of `Model.segment`.
    """
    from anymask.maps import PromptProcessor

    settings = read_map(args)
    with open_scene(args, args.sources, settings) as scene:
        prompts = read_map_prompts(args, scene, settings)
        model = read_model(args).load()
        tile = TilingSettings(**read_options(args, TilingSettings, ("tile",))).tile
        processor = PromptProcessor(scene, model, prompts, tile=tile, settings=given)
        write_survey(args, scene, processor, settings)


def read_map_prompts(args: argparse.Namespace, scene: Scene, settings: MapSettings) -> list[Prompt]:
    """Read prompts of command line and layer, in pixels of the scene. Raises PromptError."""
    from anymask.cli.prompts import parts_by_object
    from anymask.cli.prompts import read_prompts as read_words
    from anymask.maps import on_the_map, placed_prompt, read_prompts

    def place(kind: Kind, values: list[Any]) -> Any:
        given = (None, None, values) if kind == "box" else (values, None, None)
        prompt = placed_prompt(scene, settings.crs, *given)
        placed = prompt.points if prompt.box is None else prompt.box
        assert placed is not None
        return placed.reshape(np.shape(values))

    prompts = []
    if args.parts or settings.prompts is None:
        if any(kind == "mask" for kind, _ in args.parts):
            raise InputError("--mask does not support maps. Pass points or boxes.")
        for prompt, parts in zip(
            read_words(args.parts, place), parts_by_object(args.parts), strict=True
        ):
            words = (f"{'point' if kind == 'negative' else kind} {text}" for kind, text in parts)
            prompts.append(replace(prompt, source="; ".join(words)))
        prompts = on_the_map(prompts, scene, "the command line")
    if settings.prompts is not None:
        prompts += read_prompts(settings.prompts, scene, settings.crs)
    return prompts


def write_survey(
    args: argparse.Namespace, scene: Scene, processor: Any, settings: MapSettings
) -> MapReport:
    """Process all windows and report the results. Raises AnymaskError."""
    from anymask.maps import segment_tiles

    with ProgressBar("prompts" if processor.prompts else "windows", None) as bar:
        report = segment_tiles(
            scene, processor, args.outputs, simplify=settings.simplify, min_area=settings.min_area,
            right_angles=settings.right_angles, progress=bar.update,
        )  # fmt: skip
    objects, windows = counted(report.objects, "object"), counted(report.windows, "window")
    for output in args.outputs:
        say(f"wrote {output}: {objects} from {windows}")
    if report.left_out:
        say(
            f"{report.left_out} objects were omitted because they are larger than a "
            "tile. To include them, pass a larger --tile or a coarser --gsd."
        )
    if report.without:
        say(
            f"Prompts without a mask: {len(report.without)}"
            + f", of which {MAX_TOLD} are listed" * (len(report.without) > MAX_TOLD)
        )
    for text, reason in report.without[:MAX_TOLD]:
        say(f"  {text}: {reason}")
    return report
