"""Settings of jobs (model, image, tiles, names) as plain values for worker processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from anymask.base import (
    ImageError,
    InputError,
    MissingExtra,
    Setting,
    check_settings,
    describe_settings,
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

    from anymask.images import PictureView
    from anymask.masks import ChannelMix
    from anymask.models.rules import ChosenNames
    from anymask.segment import Model

Page = int | str  # page number, "all", or a position such as "z1c0"
Names = tuple[str, ...] | Path
Ranges = tuple[tuple[float, float] | None, ...]
OWN_NAMES = ".json"  # suffix of files with custom names


@describe_settings
@dataclass(frozen=True)
class ModelChoice:
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

    def __post_init__(self) -> None:
        check_settings(self)

    def load(self) -> Model:
        """Load the model, to see each image once: it keeps none. Raises as `anymask.load`."""
        import anymask

        model = anymask.load(self.model, self.weights, self.device, self.precision, self.runtime)
        if isinstance(model, anymask.Model):
            model.recent = None
        return model


def model_choice(model: str | ModelChoice | None) -> ModelChoice:
    """Convert a model name or None (default) to a `ModelChoice`.

    Raises:
        InputError: The value has another type.
    """
    if model is None:
        return ModelChoice()
    if isinstance(model, ModelChoice):
        return model
    if not isinstance(model, str):
        raise InputError(
            f"Expected a model name or a ModelChoice, got {type(model).__name__}. A loaded "
            "model cannot be sent to worker processes. Pass its name."
        )
    return ModelChoice(model)


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
        pairs = [one.partition(":") for one in text.replace(",", " ").split()]
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
    """Create a validator for a field of `PictureView`."""

    def check(value: object) -> None:
        from anymask.images import PictureView

        given: Any = {name: value}
        PictureView.of(**given)

    return check


@describe_settings
@dataclass(frozen=True)
class PictureChoice:
    """Bands, page and value range of images: the arguments of `anymask.load_image`."""

    bands: Annotated[
        tuple[int, ...] | None,
        Setting(
            (
                "one band or channel for a gray image, or three for red, green and blue, "
                "counted from 1 (0: black)"
            ),
            default="the image's own colors",
            check=_check_view("bands"),
            form="N[,N,N]",
            parse=parse_bands,
        ),
    ] = None
    page: Annotated[
        Page,
        Setting(
            (
                "page of a TIFF or frame of an animation, counted from 0; or a position along "
                "the axes of the file, such as z1c0 (each counted from 0); with `all`, every "
                "page is processed, and the names of the results contain the page number"
            ),
            check=check_page,
            form="N|z1c0|all",
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
            form="LOW,HIGH",
            parse=parse_numbers,
        ),
    ] = None
    ranges: Annotated[
        Ranges | None,
        Setting(
            (
                "pixel values to map to black and white: one pair for all bands, or a pair "
                "for each band, such as 200:4000,:,0:900 (a lone : keeps the default of that band)"
            ),
            default="set by the data type",
            check=_check_view("ranges"),
            form="LOW:HIGH[,...]",
            parse=parse_ranges,
        ),
    ] = None

    def __post_init__(self) -> None:
        check_settings(self)
        self.view  # noqa: B018  # validates the combination of settings

    @property
    def view(self) -> PictureView:
        """Bands, stretch and ranges, for the first page."""
        from anymask.images import PictureView

        return PictureView.of(self.bands, 0, self.stretch, self.ranges)

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
class LookChoice:
    """Tile settings. Raises InputError if a value is out of range."""

    tile: Annotated[
        Tile,
        Setting(
            (
                "also run on overlapping tiles of this size, in pixels; with `none`, no tiles "
                "are used; with `auto`, images of more than 24 megapixels are divided into "
                "tiles of 2048 pixels (models of cells and roofs: sooner, of their own size)"
            ),
            check=check_tile,
            form="PIXELS",
            parse=parse_tile,
        ),
    ] = "auto"

    def __post_init__(self) -> None:
        check_settings(self)


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
    listed = isinstance(names, tuple | list) and all(isinstance(one, str) for one in names)
    if names is not None and not isinstance(names, Path) and not (listed and names):
        raise InputError(
            f'Names must be a list of words, ["all"], a path or None, got {str(names)[:60]!r}.'
        )


@describe_settings
@dataclass(frozen=True)
class NamesChoice:
    """Names for masks. Raises InputError if the value is invalid."""

    names: Annotated[
        Names | None,
        Setting(
            (
                "suggest a name for each mask: all (all built-in names), a list such as "
                "cat,dog,lamp, or a file from `anymask names` with your own"
            ),
            check=check_names,
            form="all|NAME,...|FILE",
            parse=parse_names,
            default="none",
        ),
    ] = None

    def __post_init__(self) -> None:
        check_settings(self)

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

        network = naming_network(model.runtime)
        own = isinstance(self.names, Path)
        names = self.names.read_text("utf-8") if isinstance(self.names, Path) else [*self.names]
        return {"names": {"network": network, "own" if own else "words": names}}


@describe_settings
@dataclass(frozen=True, kw_only=True)
class MapChoice:
    """Input and output settings of maps (georeferenced images).

    Raises InputError if a value is out of range.
    """

    gsd: Annotated[
        float | None,
        Setting(
            "ground sample distance: process the map at this pixel size in meters",
            above=0,
            unit="metres",
            default="the resolution of the file",
        ),
    ] = None
    colours: Annotated[
        str,
        Setting(
            (
                'bands that the model encodes: "auto", "rgb", "nir-r-g", "swir-nir-r", "ndvi" or '
                '"ndwi"; with band numbers, for example "nir-r-g=4,1,2"'
            ),
            form="PRESET",
        ),
    ] = "auto"
    crs: Annotated[
        str | None,
        Setting(
            "CRS of the coordinates in --point, --box and --prompts: EPSG:NUMBER, or "
            '"map" for the CRS of the map',
            default="pixel coordinates; for layers, the CRS of the layer",
            form="EPSG:N|map",
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
            least=0,
            unit="metres",
            default="one pixel",
        ),
    ] = None
    right_angles: Annotated[
        bool, Setting("draw an outline with right angles if it is similar to the mask")
    ] = False
    min_area: Annotated[
        float, Setting("minimum area of an object on the ground", least=0, unit="m2")
    ] = 0.0

    def __post_init__(self) -> None:
        check_settings(self)
