"""Inputs of a command: paths, quoted globs, URLs and `-` are resolved to existing files."""

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
from anymask.cli.command import Argument
from anymask.images import VIDEO_SUFFIXES, sample

STDIN = "-"
SAMPLE = "sample:"  # prefix of the name of a sample image
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://.+")
_DOCUMENTS = frozenset([".pdf", ".ps", ".eps", ".doc", ".docx", ".ppt", ".pptx"])


def sources(metavar: str, more: str = "") -> tuple[Argument, Argument]:
    """Return the arguments for input images; `more` describes further ones."""
    return (
        Argument(
            "sources", metavar=metavar, nargs="+", reads=True,
            help="images, a quoted glob such as 'photos/*.jpg', - for standard input, or "
                 f"sample:coffee, a sample image{more}",
        ),
        Argument(
            "--allow-url", action="store_true",
            help="download images that are passed as http or https URLs (off by default)",
        ),
    )  # fmt: skip


def is_video(sources: Sequence[str]) -> bool:
    """Return whether the only source is a video file, by its suffix."""
    return len(sources) == 1 and Path(sources[0]).suffix.lower() in VIDEO_SUFFIXES


def read_example(text: str) -> str:
    """Parse an exemplar such as `sample:cat@click:200,150`, as an argparse type."""
    if not text.startswith(SAMPLE):
        return text
    name, at, prompt = text.removeprefix(SAMPLE).partition("@")
    try:
        return f"{sample(name)}{at}{prompt}"
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


class SourcePaths(list[Path]):
    """Paths of the sources; `as_typed` replaces temporary paths by the user's names."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[Path, str] = {}  # user's names of temporary files

    def as_typed(self, text: str) -> str:
        """Replace temporary paths in a message by the names that the user gave."""
        for path, name in self.names.items():
            text = text.replace(repr(str(path)), name).replace(str(path), name)
        return text


@contextlib.contextmanager
def open_sources(words: Sequence[str], *, allow_url: bool = False) -> Iterator[SourcePaths]:
    """Resolve sources to paths; standard input and downloads are temporary files.

    Raises InputError for URLs (unless allowed), videos, documents, and a glob without matches;
    ImageError if a download fails.
    """
    with contextlib.ExitStack() as stack:
        aside = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="anymask-")))
        paths = SourcePaths()
        for number, word in enumerate(words):
            if word == STDIN:
                path = aside / "stdin"
                if sys.stdin is None or sys.stdin.isatty():
                    raise InputError("No image was received on standard input. Add < photo.jpg")
                with path.open("wb") as file:
                    shutil.copyfileobj(sys.stdin.buffer, file)
                paths.append(path)
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
    """Replace temporary paths in errors by the names that the user gave."""
    try:
        yield
    except AnymaskError as error:
        error.args = (paths.as_typed(str(error)),)
        raise


def _paths_of(word: str) -> list[Path]:
    """Resolve one path or glob. Raises InputError."""
    # Raise InputError for URLs, videos and documents, with the alternative
    suffix = Path(word).suffix.lower()
    if _ADDRESS.fullmatch(word):
        raise InputError(f"URLs are not downloaded by default: {word!r}. Add --allow-url.")
    if suffix in VIDEO_SUFFIXES:
        raise InputError(
            f"{word!r} is a video, not an image. To track objects in it: anymask track "
            f"{word}. To find objects in it: anymask find {word} TEXT. To extract its "
            f"frames: ffmpeg -i {word} frames/%05d.png"
        )
    if suffix in _DOCUMENTS:
        raise InputError(
            f"{word!r} is a document, not an image. Convert its pages to images first."
        )
    path = Path(word)
    if not glob.has_magic(word) or path.exists():
        return [path]
    found = sorted(Path(name) for name in glob.glob(word, recursive=True))  # noqa: PTH207 - of any root
    if not found:
        raise InputError(f"No file matches {word!r}. Check the folder and the suffix.")
    return [one for one in found if not one.is_dir()] or found


def check_not_address(word: str) -> None:
    """Raise InputError for the URL of a video; videos are never downloaded."""
    if _ADDRESS.fullmatch(word):
        raise InputError(f"Videos are not downloaded: {word!r}. Download it and pass the file.")


def _fetch(address: str, folder: Path) -> Path:
    """Download an image to a new folder, keeping its file name."""
    from anymask.images import fetch_picture

    name = Path(unquote(urlsplit(address).path)).name or "picture"
    folder.mkdir()
    path = folder / name
    path.write_bytes(fetch_picture(address))
    return path


def check_own_names(sources: Sequence[Path]) -> None:
    """Raise InputError if results in the current folder would have the same name."""
    from anymask.jobs import own_names

    if not own_names(sources):
        raise InputError("Several folders, or images with the same name, require -o FOLDER.")
