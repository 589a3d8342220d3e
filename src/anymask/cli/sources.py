"""Inputs of a command: paths, quoted patterns, addresses and `-` in, existing paths out."""

from __future__ import annotations

import argparse
import contextlib
import glob
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from anymask.base import AnymaskError, InputError
from anymask.images import VIDEO_SUFFIXES, sample

STDIN = "-"
SAMPLE = "sample:"  # before the name of a photo of the package
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://.+")
_DOCUMENTS = frozenset([".pdf", ".ps", ".eps", ".doc", ".docx", ".ppt", ".pptx"])


def add_sources(parser: argparse.ArgumentParser, metavar: str, more: str = "") -> None:
    """The photos of a command, one or several."""
    parser.add_argument(
        "sources", metavar=metavar, nargs="+",
        help=("images, a quoted glob such as 'photos/*.jpg', - for standard input, or "
            "sample:coffee, a sample image") + more,
    )  # fmt: skip
    parser.add_argument(
        "--allow-url", action="store_true",
        help="download images that are passed as http or https URLs (off by default)",
    )  # fmt: skip


def read_example(text: str) -> str:
    """An example such as `sample:cat@click:200,150`, as argparse reads an option's value."""
    if not text.startswith(SAMPLE):
        return text
    name, at, prompt = text.removeprefix(SAMPLE).partition("@")
    try:
        return f"{sample(name)}{at}{prompt}"
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


class SourcePaths(list[Path]):
    """The paths of the sources; `as_typed` speaks of them as the user does."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[Path, str] = {}  # of what lies aside, as the user knows it

    def as_typed(self, text: str) -> str:
        """A message that names what the user gave, not the file that holds it meanwhile."""
        for path, name in self.names.items():
            text = text.replace(repr(str(path)), name).replace(str(path), name)
        return text


@contextlib.contextmanager
def open_sources(words: Sequence[str], *, allow_url: bool = False) -> Iterator[SourcePaths]:
    """The paths that the words mean; what came by standard input or from the web lies in a file
    until the end.

    Raises InputError for addresses (unless allowed), videos, documents, and a glob that fits
    nothing; ImageError for an address that gives nothing.
    """
    with contextlib.ExitStack() as stack:
        aside = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="anymask-")))
        paths = SourcePaths()
        for number, word in enumerate(words):
            if word == STDIN:
                paths.append(_read_stdin(aside / "stdin"))
                paths.names[paths[-1]] = "the image on standard input"
            elif word.startswith(SAMPLE):
                paths.append(sample(word.removeprefix(SAMPLE)))
            elif allow_url and _ADDRESS.fullmatch(word):
                paths.append(_fetch(word, aside / str(number)))
                paths.names[paths[-1]] = repr(word)
            else:
                paths += _paths_of(word)
        with _renamed(paths):
            yield paths


@contextlib.contextmanager
def _renamed(paths: SourcePaths) -> Iterator[None]:
    """Errors speak of what the user gave, not of the file that holds it meanwhile."""
    try:
        yield
    except AnymaskError as error:
        error.args = (paths.as_typed(str(error)),)
        raise


def _paths_of(word: str) -> list[Path]:
    """What one word means. Raises InputError."""
    check_kind(word)
    path = Path(word)
    if not glob.has_magic(word) or path.exists():
        return [path]
    found = sorted(Path(name) for name in glob.glob(word, recursive=True))  # noqa: PTH207 - of any root
    if not found:
        raise InputError(f"No file matches {word!r}. Check the folder and the suffix.")
    return [one for one in found if not one.is_dir()] or found


def check_kind(word: str) -> None:
    """Raises InputError for what is no picture by its name, with what to do instead."""
    suffix = Path(word).suffix.lower()
    if _ADDRESS.fullmatch(word):
        raise InputError(
            f"URLs are not downloaded by default: {word!r}. Add --allow-url, or "
            "download the image first."
        )
    if suffix in VIDEO_SUFFIXES:
        raise InputError(
            f"{word!r} is a video, not an image. To track objects in it: anymask track "
            f"{word}. To find objects in it: anymask find {word} TEXT. To extract its "
            f"frames: ffmpeg -i {word} frames/%05d.png"
        )
    if suffix in _DOCUMENTS:
        raise InputError(
            f"{word!r} is a document, not an image. Convert its pages to images, for "
            f"example with pdftoppm -png {word} page, and pass one of them."
        )


def check_not_address(word: str) -> None:
    """Raises InputError for the web address of a video, which no option fetches."""
    if _ADDRESS.fullmatch(word):
        raise InputError(f"Videos are not downloaded: {word!r}. Download it and pass the file.")


def _fetch(address: str, folder: Path) -> Path:
    """The picture of an address in a folder of its own, under its own name."""
    from anymask.images import fetch_picture

    name = Path(unquote(urlsplit(address).path)).name or "picture"
    folder.mkdir()
    path = folder / name
    path.write_bytes(fetch_picture(address))
    return path


def _read_stdin(path: Path) -> Path:
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError(
            "No image was received on standard input, which the argument - reads. Add < photo.jpg"
        )
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path


def check_own_names(sources: Sequence[Path]) -> None:
    """Raises InputError where results in the working folder could not be told apart."""
    from anymask.jobs import own_names

    if not own_names(sources):
        raise InputError(
            "Several folders, or images with the same name, require an output folder. "
            "Add -o FOLDER: the results of each are written to a subfolder."
        )
