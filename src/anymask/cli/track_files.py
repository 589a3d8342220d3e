"""Files of `anymask track`: what is written, what stays as it is, and what a run is known by."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from anymask.primitives.errors import InputError


def read_outputs(args: argparse.Namespace, masks: Sequence[Path]) -> list[Path]:
    """The outputs as paths; those that are typed as folders are made.

    masks  the files of the prompts

    Raises InputError for one that the command reads, or names twice.
    """
    from anymask.video.outputs import check_paths

    outputs = [Path(text) for text in args.outputs]
    read = dict(_files_read(args, masks))
    written: dict[str, str] = {}
    for text, path in zip(args.outputs, outputs, strict=True):
        place = os.path.realpath(path)
        if place in read:
            raise InputError(f"the output {text!r} is {read[place]}; choose another name")
        if place in written:
            raise InputError(f"wanted outputs with different names, got {text!r} twice")
        written[place] = text
    for text, path in zip(args.outputs, outputs, strict=True):
        if text.endswith(("/", os.sep)):
            path.mkdir(parents=True, exist_ok=True)
    check_paths(outputs, args.cutout, args.background)
    return outputs


def _files_read(args: argparse.Namespace, masks: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Real places of what the command reads or keeps, and what they are."""
    for path in masks:
        yield os.path.realpath(path), "the mask of a prompt"
    if args.background is not None:
        yield os.path.realpath(args.background), "the picture of the background"
    if args.session is not None:
        yield os.path.realpath(args.session), "the session's file"
    yield os.path.realpath(args.video), "the video itself"


def session_path(output: Path) -> Path:
    """Where an unfinished run is kept: beside its first output."""
    return output.parent / f".{output.name}.session"


def stamp_of(path: Path) -> list[list[object]]:
    """What a file, or the files of a folder, are known by: names, sizes and times."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stats = [(file.name, file.stat()) for file in files if file.exists()]
    return [[name, about.st_size, about.st_mtime_ns] for name, about in stats]


def tell_others(outputs: Sequence[Path], written: Set[str]) -> Iterator[str]:
    """What is said of folders that hold other pictures, as of an earlier run with more frames.

    written  the names of this run's pictures, without their ending
    """
    for folder in outputs:
        others = [one for one in folder.glob("*.png") if one.stem not in written]
        if others:
            yield (
                f"{folder}: {len(others)} pictures in it are not of this run, such as "
                f"{min(others).name}; they were left as they are"
            )
