"""Read images: files, URLs, bytes, Pillow images and arrays become (H, W, 3) uint8 RGB.

Letters: H W the image, C channels.

- Files, bytes and Pillow images are rotated by their EXIF tag, like in every viewer; coordinates
  refer to the upright image. Arrays have no tag and are not rotated.
- Gray becomes three equal channels. Transparency is composited on white. Of several frames or pages
  the first one is read by default. Colors with an ICC profile are converted to sRGB; CMYK and other
  color spaces without a profile are converted by Pillow.
- Number types other than uint8 are converted to 8 bits as described in `images/decoding.py`; 16-bit
  colors and multi-band TIFF are read as described in `images/tiff.py`.
- URLs are opened only with `allow_url=True`. No other code in the package opens third-party URLs.

An image of 100 megapixels takes 300 MB. The conversions process strips, so no float copy of the
whole image is created, and no copy besides the one that Pillow decodes into.
"""

from __future__ import annotations

import contextlib
import glob
import io
import math
import os
import re
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, UnidentifiedImageError

from anymask.base import ImageError, InputError, UintImage, refuse_text
from anymask.images.decoding import (
    AS_IT_IS,
    NO_ALPHA,
    AnyRanges,
    ImageView,
    ToSrgb,
    array_to_image,
    check_size,
    decoding,
    flatten,
    is_tiff,
    open_file,
    open_header,
    put_alpha,
    strips,
    to_srgb,
    unidentified,
)
from anymask.images.microscopes import (
    MICROSCOPES,
    is_microscope,
    open_microscope,
    read_microscope_page,
)
from anymask.images.tiff import (
    count_tiff_pages,
    deep_gray,
    is_georeferenced,
    is_image,
    needs_tifffile,
    no_such_page,
    read_deep_colors,
    read_tiff,
    tiff_axes,
    tiff_facts,
    tiff_hw,
)
from anymask.masks import MAX_PIXELS, ChannelMix, ImageInMemory, LazyImage

ImageSource = str | Path | bytes | bytearray | memoryview | BinaryIO | Image.Image | ArrayLike

SUFFIXES = frozenset(  # suffixes of images that `find_images` lists
    [".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif"]
) | {".tiff", ".webp", ".heic", ".heif", *MICROSCOPES}

VIDEO_SUFFIXES = frozenset(
    [".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp"]
)

# Camera raw files; many are TIFFs whose first image is only a thumbnail.
_RAW_SUFFIXES = frozenset(
    [".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".iiq", ".nef", ".nrw", ".orf", ".pef"]
) | {".raf", ".rw2", ".srw"}

_ORIENTATION = 0x0112  # the EXIF tag
_PHOTOMETRIC = 262  # a tag of TIFF 6.0
_WHITE_16 = 65535

SAMPLES = ("cat", "coffee", "dog", "rocket", "truck")
_SAMPLE_FOLDER = Path(__file__).parents[1] / "assets" / "photos"
_PATTERN = "*?["  # characters that make a path a pattern

MAX_DOWNLOAD_BYTES = 100_000_000  # size limit of a downloaded file
_AGENT = "anymask (https://pypi.org/project/anymask)"  # some servers reject Python's default


def load_image(
    source: ImageSource,
    *,
    bands: int | Sequence[int] | None = None,
    page: int | str = 0,
    stretch: Sequence[float] | None = None,
    ranges: AnyRanges | None = None,
    bgr: bool = False,
    allow_url: bool = False,
    alpha: bool = False,
) -> UintImage:  # -> (H, W, 3), or (H, W, 4) with alpha=True
    """Read an image as an upright array (H, W, 3) uint8 RGB.

    Args:
        source: Path, bytes, open binary file, Pillow image, or array (H, W[, C]) of numbers. C is 1
            for gray, 2 for gray and alpha, 3 for RGB, 4 for RGBA.
        bands: One band to read as gray, or three bands to read as red, green and blue, counted from
            1; 0 is black. If the pages of a TIFF are channels (axis C), these are the bands. Arrays
            can then have any C.
        page: Page or frame, counted from 0, or a position along named axes such as "z1c0" (paths
            only).
        stretch: Two percentiles of each band that become black and white, such as (2, 98). NaN and
            infinity are ignored.
        ranges: Two values that become black and white, or for each band a pair or None.
        bgr: Read the channels of an array in the order of `cv2.imread`.
        allow_url: Also accept http and https addresses of images with at most MAX_DOWNLOAD_BYTES.
        alpha: Return the alpha channel of an image that has one, with its colors unchanged, instead
            of compositing it on white.

    Raises:
        ImageError: The image is missing, corrupted, empty, larger than MAX_PIXELS, not finite, has
            another shape, or lacks the band or page.
        InputError: A setting is invalid.
        MissingExtra: The format requires an extra.
    """
    refuse_text("True or False", bgr=bgr, allow_url=allow_url, alpha=alpha)
    if isinstance(page, str):
        page, bands = resolve_position(source, page, bands)
    view = replace(ImageView.of(bands, page, stretch, ranges), alpha=alpha)
    if isinstance(source, str | Path) and is_address(source):
        if not allow_url:
            raise ImageError(
                f"URLs are not downloaded by default: {str(source)[:200]!r}. Pass allow_url=True."
            )
        source = fetch_image(str(source))
    if not bgr:
        return read_view(source, view)
    files = str | Path | bytes | bytearray | memoryview | Image.Image
    if isinstance(source, files) or hasattr(source, "read"):
        raise InputError(
            "bgr=True is only supported for arrays; files and Pillow images declare their order."
        )
    if view.bands is not None:
        raise InputError(
            "Options bands and bgr cannot be combined. bands=(3, 2, 1) has the same effect."
        )
    image = array_to_image(source, view=view)
    return np.dstack([image[..., 2::-1], image[..., 3:]])


def resolve_position(
    source: ImageSource, page: str, bands: int | Sequence[int] | None = None
) -> tuple[int, tuple[int, ...] | None]:
    """Resolve a position such as "z1c0" to page and bands.

    Raises:
        InputError: The position is invalid or does not exist, the channel is selected by bands as
            well, or the source is not a file.
        ImageError: The file cannot be read, or its axes are unknown.
        MissingExtra: The format requires an extra.
    """
    if not isinstance(source, str | Path) or is_address(source):
        raise InputError(
            f"page={page!r} is a position in a stack, which only files have. Pass a page number."
        )
    name = repr(str(source))
    with open_path(Path(source)) as file, decoding(name):
        axes, channels = _axes_of(file, name)
    position = parse_position(page)
    if not (known := dict(axes) | ({"C": channels} if channels > 1 else {})):
        raise ImageError(
            f"The axes of {name} are unknown. Select a page by its number, not by {page!r}."
        )
    words = " x ".join(f"{axis} {length}" for axis, length in known.items())
    for axis, step in position.items():
        if step >= known.get(axis, 0):
            raise InputError(f"{page!r} is out of range. {name} has {words}, each counted from 0.")
    number = 0
    for axis, length in axes:
        number = number * length + position.get(axis, 0)
    if channels > 1 and "C" in position:
        if bands is not None:
            raise InputError(f"The channel can be selected by {page!r} or by bands, not by both.")
        bands = position["C"] + 1
    return number, ImageView.of(bands).bands


def read_view(source: ImageSource, view: ImageView) -> UintImage:
    """Read an image with a given view. Raises like `load_image`."""
    if isinstance(source, str | Path):
        with open_path(Path(source)) as file:
            return _load_stream(file, repr(str(source)), view)
    if isinstance(source, bytes | bytearray | memoryview):
        return _load_stream(io.BytesIO(source), f"the image ({len(source)} bytes)", view)
    if isinstance(source, Image.Image):
        _seek(source, "the Pillow image", view)
        return upright(_pillow_to_array(source, "the Pillow image", view), orientation_of(source))
    if hasattr(source, "read"):
        name = getattr(source, "name", None)
        return _load_stream(
            source, repr(name) if isinstance(name, str) else "the file object", view
        )
    if view.page:
        raise ImageError(no_such_page(view.page, 1, "the array"))
    return array_to_image(source, view=view)


def is_address(source: object) -> bool:
    """Return whether a value is an http or https URL."""
    return isinstance(source, str) and source.partition("://")[0].lower() in ("http", "https")


def describe_paths(source: object) -> str:
    """Describe a path of several images, a folder or a pattern; return "" for other sources."""
    if not isinstance(source, str | Path) or is_address(source):
        return ""
    path = Path(source)
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, ValueError):  # not a valid file name
        return ""
    if is_folder:
        return f"the folder {str(path)!r}"
    is_pattern = not is_file and set(str(path)) & set("*?[")  # a file may be named [1].jpg
    return f"the pattern {str(path)!r}" if is_pattern else ""


# Files.


@contextmanager
def open_path(path: Path) -> Iterator[BinaryIO]:
    """Open an image file. Raises ImageError that states what is wrong with the path."""
    name = repr(str(path))
    if path.suffix.lower() in _RAW_SUFFIXES:
        raise ImageError(
            f"{name} is a camera raw file, which is not supported. Develop it to TIFF or JPEG."
        )
    try:
        with open_file(path) as file:
            yield file
    except FileNotFoundError:
        raise ImageError(f"File not found: {name}. Check the path.") from None
    except OSError as error:
        if os.path.isdir(path):  # noqa: PTH112 - also False for invalid names
            from anymask.images.kinds import suggest_command

            if message := suggest_command(path, "image"):
                raise ImageError(message) from None
            raise ImageError(
                f"{name} is a folder, but an image is required. Pass an image file in it."
            ) from None
        raise ImageError(
            f"{name} cannot be read ({error.strerror or error}). Check the path."
        ) from error


def _open_known(file: Any, name: str) -> Image.Image | None:
    """Open an image; None for a TIFF or microscope file that Pillow does not support.

    Raises ImageError for other files.
    """
    try:
        return open_header(file)
    except UnidentifiedImageError:
        if not is_tiff(file) and not is_microscope(file):
            raise unidentified(file, name) from None
        return None


def _load_stream(file: Any, name: str, view: ImageView) -> UintImage:
    if (image := _open_known(file, name)) is None:
        if is_tiff(file):
            return _load_tiff(file, name, view)
        return array_to_image(read_microscope_page(file, name, view), name, view)
    try:
        with decoding(name):
            if image.format == "TIFF" and needs_tifffile(image, view):
                return _load_tiff(file, name, view)
        check_size((image.height, image.width), name)
        _seek(image, name, view)
        check_size((image.height, image.width), name)
        with decoding(name):
            deep = read_deep_colors(image, file, view.page)
        if deep is None:
            pixels = _pillow_to_array(image, name, view)
        else:
            tags = getattr(image, "tag_v2", {})
            known = (
                "icc_profile" in image.info
                or image.format == "PNG"
                or is_image(tags, tags.get(_PHOTOMETRIC))
            )
            convert = to_srgb(image) if view.plain else None
            pixels = _in_srgb(deep, name, view, convert, known=known)
        turns = orientation_of(image)  # after the size check: for PNG this decodes pixels
    finally:
        image.close()  # frees its pixel buffer, which leaving a `with` block does not
    return upright(pixels, turns)


def _in_srgb(
    deep: NDArray[Any], name: str, view: ImageView, convert: ToSrgb | None, *, known: bool
) -> UintImage:
    """Convert colors (H, W, C) to 8 bits.

    Args:
        known: Whether white is 65535, as in PNG, photographic TIFF or with a color profile. Such
            colors keep their brightness, unless all stay below an eighth of white: these are
            sensor values, which are stretched.
    """
    colors = deep[..., : 3 if deep.shape[2] > 2 else 1]
    if view.plain and known and deep.dtype == np.uint16 and colors.max() >= _WHITE_16 // 8:
        deep = ((deep.astype(np.uint32) * 255 + _WHITE_16 // 2) // _WHITE_16).astype(np.uint8)
    image = array_to_image(deep, name, view)
    if convert is None:
        return image
    with decoding(name):
        return np.dstack([np.asarray(convert(Image.fromarray(image))), image[..., 3:]])


def _load_tiff(file: Any, name: str, view: ImageView) -> UintImage:
    deep = read_tiff(file, name, view)
    convert = None
    if deep.profile and view.plain:
        about = Image.new("RGB", (1, 1))
        about.info["icc_profile"] = deep.profile
        convert = to_srgb(about)
    known = deep.in_color or convert is not None
    return upright(_in_srgb(deep.pixels, name, view, convert, known=known), deep.orientation)


def _seek(image: Image.Image, name: str, view: ImageView) -> None:
    """Seek to the page of a view. Raises ImageError if it does not exist."""
    if view.page:
        with decoding(name):
            if view.page >= (count := getattr(image, "n_frames", 1)):
                raise ImageError(no_such_page(view.page, count, name))
            image.seek(view.page)


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation 1..8; 1 (upright) if the tag is missing or corrupted."""
    is_huge_png = image.format == "PNG" and image.width * image.height > MAX_PIXELS
    try:  # Pillow decodes a PNG to look for a tag behind its pixels
        value = 1 if is_huge_png else image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a corrupted tag can raise anything; the image is not rotated
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo EXIF orientation 2..8 (EXIF 2.3, tag 0x0112)."""
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


# Pillow images.


def _pillow_to_array(
    source_image: Image.Image, name: str, view: ImageView
) -> UintImage:  # -> (H, W, 3)
    check_size((source_image.height, source_image.width), name)
    with decoding(name):
        source_image.load()
        if source_image.mode[0] in "IF":  # 16 or 32 bits a pixel
            return array_to_image(deep_gray(source_image), name, view)
        if view.all_bands:
            if source_image.mode not in ("L", "LA", "RGB", "RGBA", "RGBX"):
                source_image = source_image.convert("L" if source_image.mode == "1" else "RGB")
            return array_to_image(np.asarray(source_image), name, view)
        (width, height), convert = source_image.size, to_srgb(source_image)
        image = np.empty(
            (height, width, 4 if view.alpha and _has_alpha(source_image) else 3), np.uint8
        )
        for rows in strips((height, width)):
            part = source_image.crop((0, rows.start, width, rows.stop))
            if _has_alpha(source_image):
                layered = (part.convert("LA") if part.mode == "La" else part).convert("RGBA")
                alpha = np.asarray(layered.getchannel("A"))
                shown = layered.convert("RGB") if convert is None else convert(layered)
                image[rows] = put_alpha(np.asarray(shown), alpha, view)
            else:
                image[rows] = np.asarray(part.convert("RGB") if convert is None else convert(part))
        return image if view.plain else array_to_image(image, name, view)


def _has_alpha(image: Image.Image) -> bool:
    has_channel = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    return has_channel and not image.info.get(NO_ALPHA)


# Image files.


def image_hw(path: Path, most: int | None = None) -> tuple[int, int]:
    """Read (H, W) of the upright image from its header.

    Raises:
        ImageError: The image cannot be read, or has more than `most` pixels, or MAX_PIXELS.
    """
    name = repr(str(path))
    with open_path(path) as file:
        if (image := _open_known(file, name)) is None:
            if is_tiff(file):
                return tiff_hw(file, name)
            with open_microscope(file, name) as places:
                return places.hw
        with decoding(name), image:
            height, width = image.height, image.width
            check_size((height, width), name, most)
            return (width, height) if orientation_of(image) >= 5 else (height, width)


def is_rotated(path: Path) -> bool:
    """Return whether the EXIF tag rotates an image by a quarter turn, which swaps its sides."""
    try:
        with open_path(path) as file, open_header(file) as image:
            return orientation_of(image) >= 5
    except (OSError, ImageError):
        return False


def find_images(
    folder: Path,
    leave_out: Path | None = None,
    unreadable: Callable[[OSError], None] | None = None,
    suffixes: Container[str] = SUFFIXES,
) -> Iterator[Path]:
    """Yield the images of a folder and its subfolders, in order.

    Hidden files and folders, and links to folders, are skipped. Broken links are included, so that
    they are reported.

    Args:
        folder: Folder to search.
        leave_out: Subfolder to skip.
        unreadable: Callback for folders that cannot be listed. They are skipped by default.
        suffixes: File suffixes, such as VIDEO_SUFFIXES. Defaults to images.
    """
    out = None if leave_out is None else leave_out.resolve()
    for here, inside, names in os.walk(folder, onerror=unreadable):
        inside[:] = sorted(
            name
            for name in inside
            if not name.startswith(".") and (out is None or Path(here, name).resolve() != out)
        )
        for name in sorted(names):
            path = Path(here, name)
            is_named = path.suffix.lower() in suffixes and not name.startswith(".")
            if is_named and (path.is_file() or not path.exists()):  # reading a pipe would block
                yield path


def sample(name: str = "coffee") -> Path:
    """Return the path of a sample image: "cat", "coffee", "dog", "rocket" or "truck".

    Raises:
        InputError: The name is unknown.
    """
    if name not in SAMPLES:
        raise InputError(f"Unknown sample {name!r}. Choose from: {', '.join(SAMPLES)}")
    return _SAMPLE_FOLDER / f"{name}.jpg"


def list_images(where: str | Path | Iterable[str | Path]) -> list[Path]:
    """List the image files of a path or pattern, in sorted order.

    Args:
        where: An image, a folder (including its subfolders), a pattern such as "photos/*.jpg" or
            "**/*.png", or a list of these.

    Raises:
        ImageError: A path is missing, or no file matches.
    """
    if not isinstance(where, str | Path):
        return [path for source in where for path in list_images(source)]
    path = Path(where)
    if path.is_dir():
        if not (paths := list(find_images(path))):
            from anymask.images.kinds import suggest_command

            if message := suggest_command(path, "image"):
                raise ImageError(message)
            raise ImageError(f"The folder {str(path)!r} contains no images. Check the path.")
        return paths
    if path.exists():
        return [path]
    if not any(sign in str(where) for sign in _PATTERN):
        raise ImageError(f"File not found: {str(path)!r}. Check the path.")
    fitting = glob.glob(str(where), recursive=True)  # noqa: PTH207 - patterns may be absolute
    if not (paths := sorted(path for path in map(Path, fitting) if path.is_file())):
        raise ImageError(f"No file matches {str(where)!r}. Check the pattern.")
    return paths


def fetch_image(address: str, most_bytes: int = MAX_DOWNLOAD_BYTES) -> bytes:
    """Download an image.

    Args:
        address: http or https URL.
        most_bytes: Maximum size in bytes.

    Raises:
        ImageError: The URL is invalid, the download fails, or the file is larger than
            `most_bytes`.
    """
    if not is_address(address):
        raise ImageError(f"Invalid address {address[:200]!r}. Expected an http or https URL.")
    from anymask.base import transfers

    try:
        data = transfers.read_address(address, {"User-Agent": _AGENT}, most_bytes)
    except transfers.TRANSFER_ERRORS as error:
        raise ImageError(
            f"{address[:200]} cannot be read ({error}). Check the URL, or download the image."
        ) from error
    if len(data) > most_bytes:
        raise ImageError(
            f"{address[:200]} has more than {most_bytes} bytes. Download it and pass the file."
        )
    return data


@dataclass(frozen=True)
class ImageFile:
    """Image in a file that is read on demand, and which of its pixels are read."""

    path: Path  # Image file
    page: int | str = 0  # Page of a multi-page file, or a position along its axes, such as "z1c0"
    called: str = ""  # Name in results, if it is not the file name
    view: ImageView = AS_IT_IS  # Bands, stretch and ranges; its page is not used

    @property
    def name(self) -> str:
        """Name in results."""
        return self.called or self.path.name

    @property
    def georeferenced(self) -> bool:
        """Whether it is the image of a map."""
        return is_georeferenced(self.path)

    def __call__(self) -> UintImage:
        return self.read()

    def read(self) -> UintImage:  # -> (H, W, 3)
        """Read the image.

        Raises:
            ImageError: The image cannot be read.
            InputError: The position is invalid.
        """
        return read_view(self.path, self.placed_view())

    def with_alpha(self) -> UintImage:  # -> (H, W, 3 or 4)
        """Read the image with its alpha channel, if it has one. Raises as `read`."""
        return read_view(self.path, replace(self.placed_view(), alpha=True))

    def placed_view(self) -> ImageView:
        """View with the page number of the position. Raises InputError for an invalid position."""
        page, view = self.page, self.view
        if isinstance(page, str):
            page, bands = resolve_position(self.path, page, view.bands)
            view = replace(view, bands=bands)
        return replace(view, page=page)


def display_image(
    array: NDArray[Any], mix: ChannelMix | None = None
) -> UintImage:  # (H, W, 3 or 4) -> (H, W, 3)
    """Return the image to display: on white, or as the RGB input of a model with a channel mix."""
    return flatten(array) if mix is None else mix.to_rgb(array)


def load_referenced(
    source: ImageSource, *, bgr: bool = False, allow_url: bool = False
) -> tuple[UintImage, LazyImage]:  # -> (H, W, 3)
    """Read an image, and create a result's reference to it: the path of a file, or the pixels.

    Arguments and errors are those of `load_image`.
    """
    if is_address(source) and allow_url is True:
        source = fetch_image(str(source))
    values = source if isinstance(source, np.ndarray) else None
    where = values is None and is_georeferenced(source)  # reading may close a file
    layered = load_image(source, bgr=bgr, allow_url=allow_url, alpha=True)
    image = display_image(layered)
    if isinstance(source, str | Path):
        return image, ImageFile(Path(source).absolute())
    return image, ImageInMemory(image, values=values, layered=layered, georeferenced=where)


# Pages.

_AXES = "CZTVHRPLASE"  # axes with a meaning; tifffile names others Q and I


@dataclass(frozen=True)
class Pages:
    """Pages of a file."""

    count: int = 1  # Number of pages, 1 for a plain image
    # Names and lengths, outermost first: (("T", 3), ("C", 2)); () if unknown
    axes: tuple[tuple[str, int], ...] = ()

    def axes_in_words(self) -> str:
        """Format the axes: " (Z 3 x C 2)"; "" if unknown."""
        sides = " x ".join(f"{name} {length}" for name, length in self.axes)
        return f" ({sides})" if sides else ""

    def place(self, page: int) -> str:
        """Format the position of a page along the axes: "T 1, C 0"; "" if unknown."""
        places = []
        for name, length in reversed(self.axes):
            page, at = divmod(page, length)
            places.append(f"{name} {at}")
        return ", ".join(reversed(places))


def read_pages(path: Path) -> Pages:
    """Read the pages of an image from its headers.

    Raises:
        ImageError: The file is not a readable image.
    """
    name = repr(str(path))
    with open_path(path) as file:
        if is_tiff(file):
            with decoding(name):
                count = count_tiff_pages(file)
            axes: tuple[tuple[str, int], ...] = ()
            with contextlib.suppress(Exception):  # axis names are optional
                axes = tiff_axes(file)
            named = all(axis in _AXES for axis, _ in axes)
            fits = math.prod(length for _, length in axes) == count
            return Pages(count, axes if fits and named else ())
        if (image := _open_known(file, name)) is None:
            with open_microscope(file, name) as places:
                return Pages(places.count, places.axes)
        with image:
            if image.format == "MPO":  # the others are camera previews of the same image
                return Pages()
            with decoding(name):
                return Pages(int(getattr(image, "n_frames", 1)))


_POSITION = re.compile(r"(?:[a-z]\d{1,6})+")
_STEP = re.compile(r"([a-z])(\d+)")

Axes = tuple[tuple[str, int], ...]


def parse_position(text: str) -> dict[str, int]:
    """Parse a position: "z1c0" -> {"Z": 1, "C": 0}.

    Raises:
        InputError: The text is invalid, or names an axis twice.
    """
    plain = text.lower()
    steps = [(name.upper(), int(step)) for name, step in _STEP.findall(plain)]
    if not _POSITION.fullmatch(plain) or len(dict(steps)) < len(steps):
        raise InputError(
            f"Invalid position {text!r}. Expected a position such as z1c0, counted from 0."
        )
    return dict(steps)


def _axes_of(file: BinaryIO, name: str) -> tuple[Axes, int]:
    """Return the axes of the pages, outermost first, and the channels that are bands of a page."""
    if is_tiff(file):
        axes = tiff_axes(file)
        samples = 1 if any(axis == "C" for axis, _ in axes) else tiff_facts(file).samples
        return tuple(pair for pair in axes if pair[0] not in "QI"), samples  # these are unnamed
    if is_microscope(file):
        with open_microscope(file, name) as places:
            return places.axes, 1 if places.colors else places.channels
    return (), 1
