"""Decoding of picture files with Pillow: a bounded size, and one error for any damage.

Decoders answer damaged files with whatever they stumble over, from OSError to AssertionError. Here
they all become ImageError, and a picture whose header states more than MAX_PIXELS is refused before
memory is taken for it. Pillow's own limit, which is below ours, is raised to it meanwhile.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image, ImageFile, UnidentifiedImageError

from anymask.base import AnymaskError, ImageError
from anymask.images.pixels import check_size
from anymask.masks import MAX_PIXELS

T = TypeVar("T")
_REASON = 200  # characters of a decoder's own message that are told


class _Limit:
    """Pillow's limit as it was, and how many have put ours in its place."""

    def __init__(self) -> None:
        self.lock, self.users = threading.Lock(), 0
        self.usual: int | None = None


_limit = _Limit()


@contextmanager
def _our_limit() -> Iterator[None]:
    """Pillow's limit at MAX_PIXELS while anybody decodes; it is one for the whole process."""
    with _limit.lock:
        if not _limit.users:
            _limit.usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, MAX_PIXELS
        _limit.users += 1
    try:
        yield
    finally:
        with _limit.lock:
            _limit.users -= 1
            if not _limit.users:
                Image.MAX_IMAGE_PIXELS = _limit.usual


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an ImageError that says that `name` is damaged."""
    try:
        with _our_limit():
            yield
    except AnymaskError:
        raise
    except Exception as error:  # decoders raise anything at all on damaged files
        told = str(error)[:_REASON] or type(error).__name__
        raise ImageError(
            f"{name} is damaged or truncated ({told}); copy or download the picture again"
        ) from error


def decode_with(work: Callable[[], T], name: str) -> T:
    """The result of `work`, which may fail on a damaged file. Raises ImageError that names it."""
    with decoding(name):
        return work()


def open_header(file: Any) -> Image.Image:
    """Read a picture's header only, whatever size it states.

    Raises UnidentifiedImageError for every file that Pillow cannot open, and for those of which it
    knows no more than the kind.
    """
    with _limit.lock:
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            picture = Image.open(file)
            if isinstance(picture, ImageFile.StubImageFile) and 0 in picture.size:
                raise UnidentifiedImageError(f"{picture.format} is not decoded")
            return picture
        except Exception as error:  # as in `decoding`
            raise UnidentifiedImageError(str(error)[:_REASON]) from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def open_picture(source: Path | bytes, name: str | None = None) -> Iterator[Image.Image]:
    """A picture to look at inside the `with`; its pixels are not decoded yet.

    source  a file, or the bytes of one
    name    what an error calls it; the file's name when left out

    Raises ImageError for what Pillow cannot open, for a header that states no pixel or more than
    MAX_PIXELS, and for whatever fails inside the `with`.
    """
    name = name or (str(source) if isinstance(source, Path) else f"the {len(source)} bytes given")
    with decoding(name), _stream(source) as file, _header_of(file, name) as picture:
        check_size((picture.height, picture.width), name)
        yield picture


def _header_of(file: Any, name: str) -> Image.Image:
    try:
        return open_header(file)
    except UnidentifiedImageError:
        raise unidentified(file, name) from None


def unidentified(file: Any, name: str) -> ImageError:
    """The error for a file that Pillow does not know."""
    return ImageError(explain_unidentified(file, name))


def _stream(source: Path | bytes) -> Any:
    return open_file(source) if isinstance(source, Path) else io.BytesIO(source)


def open_file(path: Path) -> io.BufferedReader:
    """A file for reading.

    Raises OSError, also for a named pipe, which would be waited for, and for an impossible name.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise OSError("it is no regular file")
        return path.open("rb")
    except ValueError as error:  # a NUL in its name
        raise OSError(str(error)) from error


# What to tell about a file that is not read as a picture, by its first bytes.

_WANTED = "wanted a picture (JPEG, PNG, WebP, TIFF, ...)"
_HEAD = 512  # bytes that are looked at
_RAW = ("a camera's raw file", "develop it to TIFF or JPEG first, with darktable for example")

# The first bytes of pictures that are read: such a file is damaged.
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*", b"8BPS")

# The first bytes of other kinds: what they are, and the way to a picture.
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x93NUMPY", "an array of NumPy", "in Python give numpy.load(FILE); else save it as TIFF"),
    (b"PK\x03\x04", "an archive", "unpack it, and name a picture in it"),
    (b"%PDF", "a PDF document", "make pictures of its pages: pdftoppm -png FILE page"),
    (b"ZISRAWFILE", "a CZI file of a Zeiss microscope", "export it as TIFF, from ZEN or Fiji"),
    (b"\x70\0\0\0", "a LIF file of a Leica microscope", "export it as TIFF, from LAS X or Fiji"),
    (b"\xda\xce\xbe\x0a", "an ND2 file of a Nikon microscope", "export it as TIFF, from Fiji"),
    (
        b"\x89HDF",
        "an HDF5 file",
        "in Python read its array with h5py; else export it as TIFF, from Fiji",
    ),
    (b"FUJIFILM", *_RAW),
    (b"IIRO", *_RAW),
    (b"IIU\0", *_RAW),
)
_BOXED = {  # the brand of an ISO base media file, behind "ftyp"
    **dict.fromkeys(
        (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"),
        ("a HEIC photo", "convert it to JPEG: heif-convert FILE photo.jpg"),
    ),
    b"crx ": _RAW,
}
_AVIF = (b"avif", b"avis")


def explain_unidentified(file: Any, name: str) -> str:
    """What to tell about a file that Pillow does not know."""
    try:
        file.seek(0)
        head = file.read(_HEAD)
    except (OSError, ValueError, AttributeError):
        head = b"?"
    if not head:
        return f"{name} is empty (0 bytes); copy or download the picture again"
    if not isinstance(head, bytes):
        return f"wanted a file of bytes, {name} gives text; open it with mode 'rb'"
    wanted = f"{_WANTED}, {name} is "
    if (kind := _kind_of(head)) is not None:
        return f"{wanted}{kind[0]}; {kind[1]}"
    if head.startswith(_PICTURES) or head[8:12] in _AVIF:
        return f"{name} is damaged or truncated; copy or download the picture again"
    return (
        f"{wanted}none, or its first bytes are damaged (it begins with {head[:8]!r}); convert it "
        "to PNG, or in Python pass the pixels as an array"
    )


def _kind_of(head: bytes) -> tuple[str, str] | None:
    """What a file is that is not read, and the way to a picture; None for anything else."""
    for begin, what, remedy in _KINDS:
        if head.startswith(begin):
            return what, remedy
    if head[4:8] == b"ftyp":
        return _BOXED.get(head[8:12])
    if head[128:132] == b"DICM":
        return "a DICOM file", "in Python give pydicom.dcmread(FILE).pixel_array"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page", "download the picture itself"
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return "an SVG drawing", "make a picture of it: rsvg-convert FILE -o drawing.png"
    return None
