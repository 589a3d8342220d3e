"""Options and inputs of several commands.

Paths, quoted globs, URLs and `-` are resolved to existing files.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from anymask.base import AnymaskError, InputError, list_settings, need_packages
from anymask.cli.command import Argument, Group, Settings
from anymask.formats import LAYERS
from anymask.images import VIDEO_SUFFIXES, sample
from anymask.jobs import ImageSettings, MapSettings, ModelSettings, TilingSettings
from anymask.models.rules import DEFAULT_VIDEO_MODEL

MODEL = Settings(ModelSettings, "model options", common=("model",))
IMAGES = Settings(ImageSettings, "input options")
SPLIT = Argument("--split", metavar="NAME", help="split of the dataset, such as val")
OVERLAY = Argument(
    "--no-overlay", dest="overlay", action="store_false",
    help="write only the .json records, without the .png images", rare=True,
)  # fmt: skip

OF_MAPS = ("rasterio", "pyogrio", "shapely")  # packages of the maps extra
_SURE, _MAYBE = LAYERS, (".geojson", ".tif", ".tiff")
SESSION = {"session": "a file next to the first output, deleted when the run is complete"}


def map_options(*, prompts: bool = False, tile: bool = True) -> Group:
    """Return the options for reading and writing maps.

    Args:
        prompts: Whether the command supports prompts.
        tile: Whether to add `--tile`, if the command does not have it already.
    """
    own = [] if prompts else ["crs", "prompts"]
    names = [name for name in MapSettings.__dataclass_fields__ if name not in own]
    tiles = Settings(TilingSettings, only=("tile",), common=("tile",),
                     defaults={"tile": "auto; 1024 pixels for maps"})  # fmt: skip
    return Group(
        "options for maps (GeoTIFF, COG, VRT, JPEG 2000 or a folder of tiles; -o "
        ".gpkg, .fgb, .shp, .geojson or .tif)",
        (Settings(MapSettings, only=names, common=("crs", "prompts")), *[tiles] * tile),
    )


def wants_map(args: argparse.Namespace) -> bool:
    """Return whether a command line processes a map.

    Raises:
        MissingExtra: It does, but the packages are not installed.
        InputError: It does not, but has options of maps.
    """
    if not (is_map := _writes_map(args)) and (given := read_options(args, MapSettings)):
        raise InputError(
            f"{', '.join(map(option_of, given))}: Only for maps. Pass a georeferenced image and -o "
            f"with a name ending in {', '.join((*LAYERS, *_MAYBE[:2]))}."
        )
    return is_map


def _writes_map(args: argparse.Namespace) -> bool:
    """Return whether the outputs are those of a map. Raises MissingExtra.

    They are if `-o` ends in .gpkg, .fgb or .shp, or in .geojson or .tif and the source is
    georeferenced. The CRS of the source is only read with the extra.
    """
    if getattr(args, "prompts", None) is not None:
        need_packages(OF_MAPS, "maps", "--prompts")
    suffixes = {Path(output).suffix.lower() for output in args.outputs}
    if suffixes.intersection(_SURE):
        need_packages(OF_MAPS, "maps", "a map")
        return True
    first = Path(min(glob.glob(args.sources[0]), default=args.sources[0]))  # noqa: PTH207 - of any root
    if not suffixes.intersection(_MAYBE):
        return False
    from anymask.images import is_georeferenced

    if is_georeferenced(first):
        need_packages(OF_MAPS, "maps", "a map")
    elif not first.is_dir() and first.suffix.lower() not in (".vrt", ".jp2", ".j2k"):
        return False
    try:
        from anymask.maps import is_map
    except ImportError:
        return False
    return is_map(first)


def read_images(args: argparse.Namespace) -> ImageSettings:
    """Read and validate the image options. Raises InputError."""
    return ImageSettings(**read_options(args, ImageSettings))


def report_pages(image: Path, say: Callable[[str], None], model: ModelSettings) -> None:
    """Print which page of a multi-page file is used, unless the model uses all as channels."""
    from anymask.images import read_pages
    from anymask.runtime import stated_channels

    pages = read_pages(image)
    if pages.count == 1 or stated_channels(model.model, model.weights):
        return
    position = pages.place(0)
    shown = f" ({position})" if position else ""
    other = f" or {position.lower().replace(' ', '').replace(',', '')}" if position else ""
    say(
        f"{image.name} has {pages.count} pages{pages.axes_in_words()}; using page 0{shown}. "
        f"--page N{other} selects another page, --page all processes all pages."
    )


def option_of(name: str) -> str:
    """Return the default option name of a setting."""
    return f"--{name.replace('_', '-')}"


def read_options(
    args: argparse.Namespace, declared: type, only: Collection[str] = ()
) -> dict[str, Any]:
    """Return the settings that were given on the command line, by name.

    Args:
        only: Names of settings. Defaults to all.
    """
    selected = [setting for setting in list_settings(declared) if not only or setting.name in only]
    given = {
        setting.name: vars(args)[setting.name] for setting in selected if setting.name in vars(args)
    }
    parsed = {setting.name for setting in selected if setting.about.parse}  # None is a value
    return {name: value for name, value in given.items() if value is not None or name in parsed}


def read_count(text: str, least: int = 1) -> int:
    """Parse a whole number of at least `least`, as an argparse type."""
    if text.isdigit() and int(text) >= least:
        return int(text)
    raise argparse.ArgumentTypeError(
        f"Invalid value {text!r}. Expected a whole number of at least {least}."
    )


def read_model(args: argparse.Namespace, **chosen: object) -> ModelSettings:
    """Read the options of `MODEL`, overridden by `chosen`; paths become absolute."""
    from anymask.runtime.open import stated_model

    given = read_options(args, ModelSettings) | chosen
    if given.get("weights") is not None:
        given["weights"] = Path(given["weights"]).expanduser().absolute()
    given.setdefault("model", stated_model(given.get("weights")))
    return ModelSettings(**given)


def read_default_model(args: argparse.Namespace) -> ModelSettings:
    """Like `read_model`; videos, scans and audits default to `DEFAULT_VIDEO_MODEL`."""
    return (
        read_model(args)
        if args.model or args.weights
        else read_model(args, model=DEFAULT_VIDEO_MODEL)
    )


SAMPLE_PREFIX = "sample:"  # prefix of the name of a sample image
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://.+")
_TEXT_DOCUMENT_SUFFIXES = frozenset([".pdf", ".ps", ".eps", ".doc", ".docx", ".ppt", ".pptx"])


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
    if not text.startswith(SAMPLE_PREFIX):
        return text
    name, at, prompt = text.removeprefix(SAMPLE_PREFIX).partition("@")
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
            if word == "-":
                path = aside / "stdin"
                if sys.stdin is None or sys.stdin.isatty():
                    raise InputError("No image was received on standard input. Add < photo.jpg")
                with path.open("wb") as file:
                    shutil.copyfileobj(sys.stdin.buffer, file)
                paths.append(path)
                paths.names[path] = "the image on standard input"
            elif word.startswith(SAMPLE_PREFIX):
                paths.append(sample(word.removeprefix(SAMPLE_PREFIX)))
            elif allow_url and _ADDRESS.fullmatch(word):
                from anymask.images import fetch_image

                folder = aside / str(number)
                folder.mkdir()
                path = folder / (Path(unquote(urlsplit(word).path)).name or "picture")
                path.write_bytes(fetch_image(word))
                paths.append(path)
                paths.names[path] = repr(word)
            else:
                paths += _paths_of(word)
        try:
            yield paths
        except AnymaskError as error:
            error.args = (paths.as_typed(str(error)),)
            raise


def _paths_of(word: str) -> list[Path]:
    """Resolve one path or glob. Raises InputError."""
    suffix = Path(word).suffix.lower()
    if _ADDRESS.fullmatch(word):
        raise InputError(f"URLs are not downloaded by default: {word!r}. Add --allow-url.")
    if suffix in VIDEO_SUFFIXES:
        raise InputError(
            f"{word!r} is a video, not an image. To track objects in it: anymask track "
            f"{word}. To find objects in it: anymask find {word} TEXT. To extract its "
            f"frames: ffmpeg -i {word} frames/%05d.png"
        )
    if suffix in _TEXT_DOCUMENT_SUFFIXES:
        raise InputError(
            f"{word!r} is a document, not an image. Convert its pages to images first."
        )
    path = Path(word)
    if not glob.has_magic(word) or path.exists():
        return [path]
    paths = sorted(Path(name) for name in glob.glob(word, recursive=True))  # noqa: PTH207 - of any root
    if not paths:
        raise InputError(f"No file matches {word!r}. Check the folder and the suffix.")
    return [path for path in paths if not path.is_dir()] or paths


def check_not_address(word: str) -> None:
    """Raise InputError for the URL of a video; videos are never downloaded."""
    if _ADDRESS.fullmatch(word):
        raise InputError(f"Videos are not downloaded: {word!r}. Download it and pass the file.")


def check_own_names(sources: Sequence[Path]) -> None:
    """Raise InputError if results in the current folder would have the same name."""
    from anymask.jobs import own_names

    if not own_names(sources):
        raise InputError("Several folders, or images with the same name, require -o FOLDER.")
