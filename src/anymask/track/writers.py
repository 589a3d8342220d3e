"""Output writers of a video, selected by file name suffix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from anymask.base import InputError, file_suffix
from anymask.masks import colors
from anymask.track.outputs import (
    OUTPUT_VIDEO_SUFFIXES,
    CutoutStyle,
    LineWriter,
    MaskWriter,
    VideoFacts,
    VideoWriter,
    check_video_output,
    cut_objects,
    draw_matte,
    draw_objects,
    palette_writer,
    sav_writer,
)
from anymask.track.tables import STEM_PLACEHOLDER, SequenceWriter, TableWriter, is_sequence


def open_writers(
    paths: Sequence[Path],
    facts: VideoFacts,
    cutout: CutoutStyle | None = None,
    names: Mapping[int, str] | None = None,
) -> list[MaskWriter]:
    """Open a writer for each path, selected by its suffix. See `check_paths`.

    Args:
        cutout: Write videos and image sequences as cut-outs with these settings.
        names: Object number to label, for tables.
    """
    writers: list[MaskWriter] = []
    for path in paths:
        match file_suffix(path):
            case ".json":
                writers.append(sav_writer(path, facts))
            case ".jsonl":
                writers.append(LineWriter(path))
            case ".csv":
                writers.append(TableWriter(path, names))
            case ".png":
                writers.append(SequenceWriter(path, None if cutout is None else cutout.settings))
            case "" if cutout is not None and cutout.folders:
                writers.append(SequenceWriter(path / f"{STEM_PLACEHOLDER}.png", cutout.settings))
            case "":
                writers.append(palette_writer(path, facts))
            case _ if is_matte(path):
                writers.append(VideoWriter(path, facts, draw_matte, "matte"))
            case _ if cutout is not None:
                draw = partial(cut_objects, style=cutout.settings)
                writers.append(VideoWriter(path, facts, draw, cutout.video))
            case _:
                palette = dict(zip(facts.objects, colors(len(facts.objects)), strict=True))
                writers.append(VideoWriter(path, facts, partial(draw_objects, palette=palette)))
    return writers


@contextmanager
def closed_writers() -> Iterator[list[MaskWriter]]:
    """Close the writers that are added to the list at the end; abandon them after an error."""
    writers: list[MaskWriter] = []
    try:
        yield writers
    except BaseException:
        for writer in writers:
            writer.abandon()
        raise
    for writer in writers:
        writer.close()


def is_matte(path: Path) -> bool:
    """Whether a video output is a luma matte, white on black: NAME.mask.mp4."""
    return Path(path.stem).suffix.lower() == ".mask"


def check_paths(paths: Sequence[Path], cutout: CutoutStyle | None = None) -> None:
    """Validate output paths before any file is opened.

    Raises:
        InputError: A suffix is not supported, or no output can contain the cut-outs.
    """
    plain = cutout is not None and not cutout.folders
    if plain and not any(file_suffix(path) in {*OUTPUT_VIDEO_SUFFIXES, ".png"} for path in paths):
        raise InputError(
            f"Option cutout requires a video output, but {paths[0].name!r} was given. "
            "Add a video output, such as -o objects.webm."
        )
    for path in paths:
        ending = file_suffix(path)
        if path.name == "-" or path.name.startswith("-."):
            raise InputError(
                f"Videos cannot be written to standard output ({path.name!r}). Pass a file name, "
                "such as masks.jsonl."
            )
        if ending in OUTPUT_VIDEO_SUFFIXES:
            style = "picture" if cutout is None else cutout.video
            check_video_output(path, "matte" if is_matte(path) else style)
        elif not is_sequence(path) and ending not in ("", ".json", ".jsonl", ".csv"):
            raise InputError(
                f"Unsupported output {str(path)!r}. Use .json (SA-V), .jsonl, .csv, "
                f"NAME_{{n}}.png, {', '.join(sorted(OUTPUT_VIDEO_SUFFIXES))} or a folder."
            )
