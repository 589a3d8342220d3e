"""Outputs as they are typed: refused, before any work, where the suffix says another kind."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from anymask.base import InputError, file_suffix, is_folder, near_suffix
from anymask.formats import DOCUMENTS
from anymask.masks import picture_format

# Options of every command that write one file of one kind.
_OF_OPTION = {
    "json": (".json",),
    "html": (".html", ".htm"),
    "markdown": (".md", ".markdown"),
    "fit": (".json",),
}
_WRITTEN = ("outputs", "target")  # arguments that name other files to write
# Of files that are no pictures or outlines, but no folder is called so by intention.
_OF_FILES = (
    *(".bin", ".csv", ".gz", ".h5", ".htm", ".html", ".jsonl", ".md", ".mp4", ".npz", ".onnx"),
    *(".pdf", ".pt", ".pth", ".safetensors", ".sqlite", ".tar", ".tgz", ".tsv", ".xml", ".zip"),
)


def new_folder(output: str) -> Path:
    """A folder to write, as argparse reads it: refuses what is called as files are."""
    suffix = file_suffix(output)
    if _is_of_files(suffix):
        raise argparse.ArgumentTypeError(
            f"wanted a folder to write, got {output!r}, the name of a file; leave out {suffix}, "
            f"or write {output}/"
        )
    return Path(output)


def check_suffix(output: str, written: tuple[str, ...], remedy: str = "") -> None:
    """Refuse a suffix that is neither written nor part of a folder's name. Raises InputError.

    written  the suffixes of the files that there are
    remedy   what else can be done for such a file
    """
    suffix = file_suffix(output)
    if not suffix or suffix in written:
        return
    near = near_suffix(suffix, written)
    guess = f"did you mean {Path(output).with_suffix(near)}? " if near else ""
    raise InputError(
        f"wanted a folder, or a file that ends in {_one_of(written)}, got {output!r}; "
        f"{remedy}{guess}{output}/ would be a folder"
    )


def check_file_options(args: argparse.Namespace) -> None:
    """Refuse files of one kind that are called as another kind, or as a folder. Raises InputError,
    before any work."""
    for name in ("output", "outputs", "sources"):
        given = getattr(args, name, None)
        if given == "" or (isinstance(given, list) and "" in given):
            what = "a photo" if name == "sources" else "-o"
            raise InputError(f"{what} needs a name, got an empty text; write one, or leave it out")
    for name, suffixes in _OF_OPTION.items():
        given = getattr(args, name, None)
        if not isinstance(given, str | Path):
            continue
        if str(given) == "-":
            raise InputError(
                f"--{name} is written to a file, got '-'; name one, such as report{suffixes[0]}"
            )
        if is_folder(str(given)):
            raise InputError(
                f"--{name} names a file, {str(given)!r} is a folder; add a name, such as "
                f"{Path(given, 'report' + suffixes[0])}"
            )
        suffix = file_suffix(str(given))
        if suffix not in suffixes and _is_of_files(suffix):
            raise InputError(
                f"--{name} writes a file that ends in {suffixes[0]}, got {str(given)!r}; did you "
                f"mean {Path(given).with_suffix(suffixes[0])}?"
            )


def check_inputs_stay(args: argparse.Namespace) -> None:
    """Refuse a report over what the same command reads or writes. Raises InputError, before any
    work."""
    files = [
        (name, value, os.path.realpath(value))
        for name, given in vars(args).items()
        for value in (given if isinstance(given, list | tuple) else [given])
        if isinstance(value, str | Path) and "\0" not in str(value)
    ]
    for option, value, place in files:
        if option not in (*_OF_OPTION, "output"):
            continue
        for name, _, other in files:
            if name == option or place != other:
                continue
            if name in _WRITTEN or Path(other).is_file():
                what = f"--{option}" if option in _OF_OPTION else "the output"
                raise InputError(
                    f"{what} {str(value)!r} is a file that this command reads or writes already; "
                    "choose another name"
                )


def _is_of_files(suffix: str) -> bool:
    """Whether files of a known kind end so."""
    known = suffix in _OF_FILES or suffix in DOCUMENTS
    return known or bool(suffix and picture_format(suffix))


def _one_of(suffixes: tuple[str, ...]) -> str:
    *first, last = suffixes
    return f"{', '.join(first)} or {last}" if first else last
