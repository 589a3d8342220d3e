"""Settings of jobs as plain values for worker processes: model, images, tiles, names, outputs.

- Results have the name of the image without suffix, in the same subfolder. The suffix is kept if
  another image of the folder would get the same name.
- Results of several folders, and of images with the same name, are in separate folders.
- Shards depend only on the relative path of the image, so that all machines and later runs agree,
  independent of other files.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from anymask.base import (
    AnymaskError,
    ImageError,
    InputError,
    MissingExtra,
    Setting,
    brief,
    check_settings,
    describe_settings,
    file_sha256,
    page_name,
    refuse_inputs,
)
from anymask.masks import Tile, tile_side
from anymask.models.rules import (
    DEFAULT_IMAGE_MODEL,
    DEFAULT_VIDEO_MODEL,
    MODEL_VARIABLE,
    default_model,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anymask.base import UintImage
    from anymask.images import ImageView
    from anymask.masks import ChannelMix
    from anymask.models.rules import ChosenNames
    from anymask.segment import Model


Page = int | str  # page number, "all", or a position such as "z1c0"
Names = tuple[str, ...] | Path
Ranges = tuple[tuple[float, float] | None, ...]
OWN_NAMES = ".json"  # suffix of files with custom names


@describe_settings
@dataclass(frozen=True)
class ModelSettings:
    """Model, weights and device: the arguments of `anymask.load`."""

    model: Annotated[
        str,
        Setting(
            "model name (see `anymask models list`), or a folder with an exported model; "
            "NAME@768 sets the input size to 768 pixels. The environment variable "
            f"{MODEL_VARIABLE} changes the default for images. Trained weights state their "
            f"model; other --weights are read as {DEFAULT_VIDEO_MODEL}",
            default=f"{DEFAULT_IMAGE_MODEL}; {DEFAULT_VIDEO_MODEL} for videos and scans",
        ),
    ] = field(default_factory=default_model)
    weights: Annotated[
        Path | None,
        Setting(
            "checkpoint file of the model, used instead of the downloaded weights", default="none"
        ),
    ] = None
    device: Annotated[str, Setting("auto, cpu, cuda, cuda:1 or mps")] = "auto"
    precision: Annotated[str, Setting("fp32, bf16 or fp16")] = "fp32"
    runtime: Annotated[str, Setting("auto, onnx or torch")] = "auto"

    def load(self) -> Model:
        """Load the model, to see each image once: it keeps none. Raises as `anymask.load`."""
        import anymask

        model = anymask.load(self.model, self.weights, self.device, self.precision, self.runtime)
        if isinstance(model, anymask.Model):
            model.recent = None
        return model


def model_settings(model: str | ModelSettings | None) -> ModelSettings:
    """Convert a model name or None (default) to a `ModelSettings`.

    Raises:
        InputError: The value has another type.
    """
    if model is None:
        return ModelSettings()
    return model if isinstance(model, ModelSettings) else ModelSettings(model)


def parse_numbers(text: str) -> tuple[float, ...]:
    """Parse numbers separated by commas or spaces. Raises InputError."""
    try:
        return tuple(float(part) for part in text.replace(",", " ").split())
    except ValueError:
        raise InputError(f"Expected comma-separated numbers, got {text!r}.") from None


def parse_bands(text: str) -> tuple[int, ...]:
    """Parse whole numbers separated by commas or spaces.

    Raises:
        InputError: The text is invalid.
    """
    numbers = parse_numbers(text)
    if any(not number.is_integer() for number in numbers):
        raise InputError(f"Invalid bands {text!r}. Band numbers are whole numbers of at least 1.")
    return tuple(int(number) for number in numbers)


def parse_ranges(text: str) -> Ranges:
    """Parse LOW:HIGH, for all bands or comma-separated for each; ":" means the default.

    Raises:
        InputError: The text is invalid.
    """
    try:
        pairs = [part.partition(":") for part in text.replace(",", " ").split()]
        return tuple(
            None if (low, high) == ("", "") else (float(low), float(high)) for low, _, high in pairs
        )
    except ValueError:
        raise InputError(
            f"Expected values such as 200:4000, or 200:4000,:,0:900 for three bands, got {text!r}."
        ) from None


def parse_page(text: str) -> Page:
    """Parse "all", a page number, or a position such as z1c0.

    Raises:
        InputError: The text is invalid.
    """
    if text.isdecimal():
        return int(text)
    check_page(text.lower())
    return text.lower()


def check_page(page: object) -> None:
    """Raise InputError if the value is not a page."""
    if page == "all" or (type(page) is int and page >= 0):
        return
    from anymask.images import parse_position

    try:
        parse_position(str(page))
    except InputError:
        raise InputError(
            f"Expected a page number of at least 0, a position such as z1c0, or all, got {page!r}."
        ) from None


def _check_view(name: str) -> Callable[[object], object]:
    """Create a validator for a field of `ImageView`."""

    def check(value: object) -> None:
        from anymask.images import ImageView

        given: Any = {name: value}
        ImageView.of(**given)

    return check


@describe_settings
@dataclass(frozen=True)
class ImageSettings:
    """Bands, page and value range of images: the arguments of `anymask.load_image`."""

    bands: Annotated[
        tuple[int, ...] | None,
        Setting(
            "one band or channel for a gray image, or three for red, green and blue, "
            "counted from 1 (0: black)",
            default="the image's own colors",
            check=_check_view("bands"),
            metavar="N[,N,N]",
            parse=parse_bands,
        ),
    ] = None
    page: Annotated[
        Page,
        Setting(
            "page of a TIFF or frame of an animation, counted from 0; or a position along "
            "the axes of the file, such as z1c0 (each counted from 0); with `all`, every "
            "page is processed, and the names of the results contain the page number",
            check=check_page,
            metavar="N|z1c0|all",
            parse=parse_page,
        ),
    ] = 0
    stretch: Annotated[
        tuple[float, ...] | None,
        Setting(
            "percentiles of the pixel values that become black and white, for each band, such "
            "as 2,98",
            default="set by the data type; 0.1,99.9 for 16-bit gray",
            check=_check_view("stretch"),
            metavar="LOW,HIGH",
            parse=parse_numbers,
        ),
    ] = None
    ranges: Annotated[
        Ranges | None,
        Setting(
            "pixel values to map to black and white: one pair for all bands, or a pair "
            "for each band, such as 200:4000,:,0:900 (a lone : keeps the default of that band)",
            default="set by the data type",
            check=_check_view("ranges"),
            metavar="LOW:HIGH[,...]",
            parse=parse_ranges,
        ),
    ] = None

    def __post_init__(self) -> None:
        self.view  # noqa: B018  # validates the combination of settings

    @property
    def view(self) -> ImageView:
        """Bands, stretch and ranges, for the first page."""
        from anymask.images import ImageView

        return ImageView.of(self.bands, 0, self.stretch, self.ranges)

    def load(
        self,
        path: Path,
        page: int | None = None,
        channels: ChannelMix | None = None,
        *,
        alpha: bool = False,
    ) -> NDArray[Any]:
        """Load an image as model input: (H, W, 3), or (H, W, C) with `channels`.

        Args:
            page: Page instead of the configured one.
            alpha: Without `channels`, return (H, W, 4) if the image has an alpha channel.

        Raises:
            ImageError: The image cannot be read.
            InputError: The model has its own bands or value range.
        """
        from anymask.images import ImageFile, read_channels

        number = self._page(page)
        if number == "all":
            raise InputError(
                f"A single page of {str(path)!r} is required, but all were "
                "requested. Pass a page number."
            )
        file = ImageFile(path, number, view=self.view)
        try:
            if channels is not None:
                return read_channels(file, channels)
            return file.with_alpha() if alpha else file.read()
        except MissingExtra as error:  # only this file needs it
            raise ImageError(str(error)) from error

    def _page(self, page: int | None) -> Page:
        """`page`, unless the setting is a position such as "z1c0", which may include a band."""
        named = isinstance(self.page, str) and self.page != "all"
        return self.page if page is None or named else page

    def mark(self, page: int | None = None) -> str:
        """Suffix of a file hash that identifies these settings."""
        number = self._page(page)
        plain = (self.bands, number, self.stretch, self.ranges) == (None, 0, None, None)
        ranges = "" if self.ranges is None else f" {self.ranges}"
        return "" if plain else f" {self.bands} {number} {self.stretch}{ranges}"


def parse_tile(text: str) -> Tile:
    """Parse a tile size in pixels, "auto", or "none" (None). Raises InputError."""
    tile: Any = None if text == "none" else int(text) if text.isdecimal() else text
    try:
        check_tile(tile)
    except InputError as error:
        raise InputError(f"Expected auto, none or a tile size in pixels, got {text!r}.") from error
    return cast("Tile", tile)


def check_tile(tile: object) -> None:
    """Raise InputError if the value is not a tile setting."""
    tile_side(cast("Tile", tile), (1, 1))


@describe_settings
@dataclass(frozen=True)
class TilingSettings:
    """Tile settings. Raises InputError if a value is out of range."""

    tile: Annotated[
        Tile,
        Setting(
            "also run on overlapping tiles of this size, in pixels; with `none`, no tiles "
            "are used; with `auto`, images of more than 24 megapixels are divided into "
            "tiles of 2048 pixels (models of cells and roofs: sooner, of their own size)",
            check=check_tile,
            metavar="PIXELS",
            parse=parse_tile,
        ),
    ] = "auto"


def parse_names(text: str) -> Names:
    """Parse "all", comma-separated names, or a file of `anymask names`. Raises InputError."""
    if text.lower().endswith(OWN_NAMES):
        return Path(text).expanduser().absolute()
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    if not words:
        raise InputError(
            f"Expected all, names such as cat,dog,lamp, or a {OWN_NAMES} file, got {text!r}."
        )
    return words


def check_names(names: object) -> None:
    """Raise InputError if the value is not a names setting."""
    listed = isinstance(names, tuple | list) and all(isinstance(name, str) for name in names)
    if names is not None and not isinstance(names, Path) and not (listed and names):
        raise InputError(
            f'Names must be a list of words, ["all"], a path or None, got {str(names)[:60]!r}.'
        )


@describe_settings
@dataclass(frozen=True)
class NamesSettings:
    """Names for masks. Raises InputError if the value is invalid."""

    names: Annotated[
        Names | None,
        Setting(
            "suggest a name for each mask: all (all built-in names), a list such as "
            "cat,dog,lamp, or a file from `anymask names` with your own",
            check=check_names,
            metavar="all|NAME,...|FILE",
            parse=parse_names,
            default="none",
        ),
    ] = None

    @property
    def chosen(self) -> Sequence[str] | Path | None:
        """Argument for `Model.suggest_labels`."""
        return None if self.names in (("all",), ["all"]) else self.names

    def open(self, model: Model) -> ChosenNames | None:
        """Load the names once. Raises ModelError, InputError, DataError."""
        if self.names is None:
            return None
        from anymask.segment import choose_names

        return choose_names(model.runtime, self.chosen)

    def about(self, model: Model) -> dict[str, Any]:
        """Settings that affect records, JSON serializable; empty without names."""
        if self.names is None:
            return {}
        from anymask.segment import naming_network

        about: dict[str, Any] = {"network": naming_network(model.runtime)}
        if isinstance(self.names, Path):
            return {"names": about | {"own": self.names.read_text("utf-8")}}
        return {"names": about | {"words": [*self.names]}}


@describe_settings
@dataclass(frozen=True, kw_only=True)
class MapSettings:
    """Input and output settings of maps (georeferenced images).

    Raises InputError if a value is out of range.
    """

    gsd: Annotated[
        float | None,
        Setting(
            "ground sample distance: process the map at this pixel size in meters",
            gt=0,
            unit="metres",
            default="the resolution of the file",
        ),
    ] = None
    colors: Annotated[
        str,
        Setting(
            'bands that the model encodes: "auto", "rgb", "nir-r-g", "swir-nir-r", "ndvi" or '
            '"ndwi"; with band numbers, for example "nir-r-g=4,1,2"',
            metavar="PRESET",
        ),
    ] = "auto"
    crs: Annotated[
        str | None,
        Setting(
            "CRS of the coordinates in --point, --box and --prompts: EPSG:NUMBER, or "
            '"map" for the CRS of the map',
            default="pixel coordinates; for layers, the CRS of the layer",
            metavar="EPSG:N|map",
        ),
    ] = None
    prompts: Annotated[
        Path | None,
        Setting(
            "layer (.gpkg, .geojson, .fgb, .shp, .kml) with a point or a shape for each object; "
            "the prompt for a shape is its bounding box",
            default="none",
        ),
    ] = None
    simplify: Annotated[
        float | None,
        Setting(
            "tolerance in meters to simplify outlines; with 0, they follow the pixel borders",
            ge=0,
            unit="metres",
            default="one pixel",
        ),
    ] = None
    right_angles: Annotated[
        bool,
        Setting(
            "draw an outline with right angles if it is similar to the mask",
            default="no; with nano-roofs, yes",
        ),
    ] = False
    min_area: Annotated[
        float, Setting("minimum area of an object on the ground", ge=0, unit="m2")
    ] = 0.0


Engine = Literal["processes", "ray"]


@dataclass(frozen=True)
class ImageItem:
    """One image, or one page of it, and its output paths."""

    image: Path  # Image file
    stem: Path  # Output folder and name without suffix
    page: int | None = None  # Page from 0. None: as in the settings of the task.
    named: tuple[tuple[str, Path], ...] = ()  # Other output paths by suffix
    place: Path | None = None  # Path relative to the source folder. None: the file name.
    paged: bool = False  # Whether names of results contain the page

    @property
    def name(self) -> str:
        """Unique name of the image or page in results."""
        name = (self.place or Path(self.image.name)).as_posix()
        return page_name(name, self.page or 0) if self.paged else name

    def output(self, suffix: str) -> Path:
        """Output path with this suffix. Raises InputError if it is the image."""
        path = dict(self.named).get(suffix) or self.stem.with_name(self.stem.name + suffix)
        refuse_inputs(path, self.image)
        return path


class LazyImageFile:
    """An image file, read and decoded on first access.

    Args:
        channels: Channels of the model, if it does not use RGB. This class is the only place where
            such images are read differently.
    """

    def __init__(
        self, item: ImageItem, image_settings: ImageSettings, channels: ChannelMix | None = None
    ) -> None:
        self.path, self.name, self.page = item.image, item.name, item.page
        self.image_settings, self.channels = image_settings, channels

    @cached_property
    def file_hash(self) -> str:
        """Hash of the file and reading options; "" if it cannot be read (`pixels` raises)."""
        try:
            return file_sha256(self.path)[:32] + self.image_settings.mark(self.page)
        except OSError:
            return ""

    @cached_property
    def _read(self) -> NDArray[Any]:  # (H, W, 3 or 4), or (H, W, C)
        return self.image_settings.load(self.path, self.page, self.channels, alpha=True)

    @property
    def pixels(self) -> NDArray[Any]:
        """Model input (H, W, 3), or (H, W, C). Raises ImageError, InputError."""
        return self.shown if self.channels is None else self._read

    @cached_property
    def shown(self) -> UintImage:
        """RGB image (H, W, 3) for overlays."""
        from anymask.images import display_image

        return display_image(self._read, self.channels)

    @property
    def layered(self) -> UintImage:
        """RGB image (H, W, 3), or with its alpha channel (H, W, 4) if it has one."""
        return self.shown if self.channels is not None else self._read

    @cached_property
    def pixels_hash(self) -> str:
        """Hash of the decoded pixels, independent of the lossless file format."""
        from anymask.segment import image_hash

        return image_hash(self.pixels)


def image_paths(source: str | Path | Iterable[str | Path]) -> Path | tuple[Path, ...]:
    """Convert a folder, an image, or several images to paths."""
    return Path(source) if isinstance(source, str | Path) else tuple(map(Path, source))


@brief
@dataclass(frozen=True)
class PlacedImages:
    """Images of a data set from any folders, with relative output paths."""

    name: str  # Name of the data set for messages
    images: tuple[tuple[Path, Path], ...]  # Pairs of image path and relative output path

    def __str__(self) -> str:
        return self.name


def parse_shard(text: str) -> tuple[int, int]:
    """Parse `I/N` to (I, N). Raises InputError."""
    first, _, last = text.partition("/")
    if first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last):
        return int(first), int(last)
    raise InputError(
        f"Invalid part {text!r}. Expected the number of this machine and the number of "
        "machines, such as 1/4 to 4/4."
    )


@brief
@dataclass(frozen=True, kw_only=True)
class FolderJob:
    """Images, output folder and workers of a job. Raises InputError if a value is out of range.

    Attributes:
        source: Folder of images with subfolders, one image, several of both, or a data set.
        output: Output folder.
        workers: Number of worker processes. 0: this process, or with Ray one per CPU.
        engine: "processes" on this machine, or "ray".
        shard: (I, N): process part I of N of the images, to distribute work to machines.
        output_shards: Number of folders to distribute results to, as in SA-1B. 0: one folder.
        page: Page to process, from 0, or its position such as "z1c0". "all": each page, with its
            number in the names of the results.
        beginning: Prefix of output names.
        ending: Text between image name and suffix in output names, such as ".everything".
        named: For a single image: other output paths by suffix.
    """

    source: Path | tuple[Path, ...] | PlacedImages
    output: Path
    workers: Annotated[
        int,
        Setting("number of worker processes; an image that crashes a worker does not stop the "
                "others", default="0, no extra process"),
    ] = 0  # fmt: skip
    engine: Annotated[
        Engine,
        Setting("how workers are started: as processes on this machine, or on a Ray cluster "
                "(RAY_ADDRESS, or a local one; requires the [ray] extra)"),
    ] = "processes"  # fmt: skip
    shard: Annotated[
        tuple[int, int],
        Setting("process part I of N of the images; pass a different I from 1 to N on each machine",
                metavar="I/N", parse=parse_shard, default="all images"),
    ] = (1, 1)  # fmt: skip
    output_shards: Annotated[
        int,
        Setting("distribute the results over K folders named sa_000000, sa_000001, ...; for "
                "example K = number of images / 1000", metavar="K", default="0, one folder"),
    ] = 0  # fmt: skip
    page: Page = 0
    beginning: str = ""
    ending: str = ""
    named: tuple[tuple[str, Path], ...] = ()

    def __post_init__(self) -> None:
        check_settings(self)
        shard: Any = self.shard
        whole = isinstance(shard, tuple) and all(isinstance(number, int) for number in shard)
        if not whole or len(shard) != 2 or not 1 <= shard[0] <= shard[1]:
            raise InputError(f"Invalid shard {shard!r}. Expected (I, N) with I from 1 to N.")

    @property
    def one(self) -> bool:
        """Whether the source is a single image, whose failure is raised."""
        return isinstance(self.source, Path) and not self.source.is_dir() and self.page != "all"

    def item(self) -> ImageItem:
        """The single image."""
        (item,) = self.items()
        return replace(item, named=self.named)

    @property
    def log(self) -> Path:
        """Path of the error log, which exists if images failed. Each shard has its own."""
        part, parts = self.shard
        return self.output / f"errors{f'-{part}-of-{parts}' if parts > 1 else ''}.jsonl"

    def items(self, unreadable: Callable[[OSError], None] | None = None) -> list[ImageItem]:
        """Images or pages of this shard, with output paths.

        Raises InputError if there are no images, or the output folder contains them.

        Args:
            unreadable: Called for each subfolder that cannot be listed. Default: skip them.
        """
        if isinstance(self.source, Path) and not self.source.is_dir():
            return list(self._pages(ImageItem(self.source, self.output / self.source.stem)))
        part, parts = self.shard
        items: list[ImageItem] = []
        for below, group in groupby(self._placed(unreadable), key=lambda pair: pair[1].parent):
            images = {path.name: image for image, path in group}
            for name, short in output_names(list(images)).items():
                path = below / name
                if parts == 1 or place_number(path) % parts == part - 1:
                    shards = self.output_shards
                    folder = f"sa_{place_number(path) % shards:06d}" if shards else ""
                    stem = self.output / folder / below / short
                    items += self._pages(ImageItem(images[name], stem, place=path))
        return items

    def _placed(self, unreadable: Callable[[OSError], None] | None) -> Iterable[tuple[Path, Path]]:
        """Images of all shards with relative paths, one subfolder after the other."""
        if isinstance(self.source, PlacedImages):
            return sorted(self.source.images, key=lambda pair: (pair[1].parent, pair[1]))
        if not isinstance(self.source, Path):
            return sorted(
                _side_by_side(self.source, self.output, unreadable), key=lambda pair: pair[1].parent
            )
        _check_apart(self.source, self.output)
        return _of_folder(self.source, self.output, unreadable)

    def _pages(self, item: ImageItem) -> Iterator[ImageItem]:
        """Yield an item for each page that `page` selects, or one for an image without pages."""
        pages: Sequence[int | None]
        if isinstance(self.page, int):
            pages = [self.page or None]
        else:
            from anymask.images import read_pages, resolve_position

            try:
                if self.page == "all":
                    pages = range(read_pages(item.image).count)
                else:
                    pages = [resolve_position(item.image, self.page)[0] or None]
            except AnymaskError:
                pages = [0 if self.page == "all" else None]  # the reader reports the error
        for page in pages:
            paged = bool(page) or len(pages) > 1
            number = f".page{page}" if paged else ""
            stem = item.stem.with_name(f"{self.beginning}{item.stem.name}{number}{self.ending}")
            yield replace(item, stem=stem, page=page, paged=paged)


def own_names(sources: Sequence[Path]) -> bool:
    """Whether all sources are images with different names."""
    paths = {_absolute(source) for source in sources}
    return len({path.name for path in paths}) == len(paths) and not any(map(Path.is_dir, paths))


def _absolute(path: Path) -> Path:
    """Absolute path without `.` and `..`. Links are not resolved."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - `resolve` follows links


def _side_by_side(
    sources: Sequence[Path], output: Path, unreadable: Callable[[OSError], None] | None
) -> Iterator[tuple[Path, Path]]:
    """Images and folders from any location, with unique relative paths.

    The relative path is the image name, or the folder name and the path in it. If two sources have
    the same name, all paths are relative to the common parent folder.
    """
    kept: dict[Path, Path] = {}
    for source in sources:
        kept.setdefault(_absolute(source), source)
    folders = {path for path in kept if path.is_dir()}
    paths = [path for path in kept if folders.isdisjoint(path.parents)]  # else in a source folder
    base: str | None = None
    if len({path.name for path in paths}) < len(paths):
        try:
            base = os.path.commonpath([path.parent for path in paths])
        except ValueError:
            raise InputError(
                "Images on different drives have the same name, so their results would "
                "overwrite each other. Run the command once per drive."
            ) from None
    for path in paths:
        source, relative = kept[path], path.relative_to(base or path.parent)
        if path not in folders:
            yield source, relative
            continue
        _check_apart(source, output)
        for image, inside in _of_folder(source, output, unreadable):
            yield image, relative / inside


def _check_apart(source: Path, output: Path) -> None:
    """Raise InputError if the output folder contains the images."""
    if output.resolve() in (source.resolve(), *source.resolve().parents):
        raise InputError(
            f"The output folder {str(output)!r} contains the images, so the next run would "
            "read the results as images. Choose another output folder, such as a new folder "
            "next to the images."
        )


def _of_folder(
    source: Path, output: Path, unreadable: Callable[[OSError], None] | None
) -> Iterator[tuple[Path, Path]]:
    """Images of a folder with their relative paths. Raises InputError if there are none."""
    from anymask.images import find_images, suggest_command

    image = None
    for image in find_images(source, leave_out=output, unreadable=unreadable):
        yield image, image.relative_to(source)
    if image is None:
        raise InputError(
            suggest_command(source, "image")
            or f"{str(source)!r} contains no images. Pass a folder with images."
        )


def place_number(place: Path) -> int:
    """64-bit hash of a relative path, the same on every machine."""
    text = unicodedata.normalize("NFC", place.as_posix())  # macOS decomposes accented letters
    return int.from_bytes(hashlib.sha256(os.fsencode(text)).digest()[:8], "big")


def output_names(names: Sequence[str]) -> dict[str, str]:
    """Map the image names of one folder to unique output names."""
    stems = {name: Path(name).stem for name in names}
    shared = Counter(stems.values())
    shared.update(names)  # "a.jpg.png" keeps its suffix if "a.jpg" exists and keeps its own
    return {name: stem if shared[stem] == 1 else name for name, stem in stems.items()}
