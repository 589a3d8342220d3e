"""Read files of instruments: CZI (Zeiss), LIF (Leica), ND2 (Nikon), FITS and MRC.

The first three require czifile, liffile and nd2 from the extra `microscopes`; FITS and MRC are read
by `images.instruments`. A page is one step along all axes
except the channels; the images of a LIF, whose sizes may differ, follow one another. The channels
are bands. Without bands, the first channel is read, or the colors if it has colors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from anymask.base import ImageError, MissingExtra
from anymask.images.decoding import ImageView, check_size, read_head
from anymask.images.instruments import Places, open_fits, open_mrc
from anymask.images.tiff import no_such_page
from anymask.masks import MAX_PIXELS

FITS, MRC = b"SIMPLE  =", b"MAP "  # first bytes of FITS; bytes of MRC at _MRC_MAP
_MRC_MAP = 208
INSTRUMENTS = (".fits", ".fit", ".fts", ".mrc", ".mrcs")  # suffixes
MICROSCOPES = (".czi", ".lif", ".nd2", *INSTRUMENTS)  # suffixes
_MAGIC_BYTES = 512  # bytes that identify a file
_MAX_BYTES = 12 * MAX_PIXELS  # decoded at once: a whole CZI, one page of other formats
_PAGE_AXES = ("C", "Y", "X", "S", "0")  # the last two are the RGB samples of a pixel


def is_microscope(file: Any) -> bool:
    """Return whether a file starts like a CZI, LIF, ND2, FITS or MRC file."""
    return _opener(file) is not None


def read_microscope_page(file: BinaryIO, name: str, view: ImageView) -> NDArray[Any]:  # (H, W, C)
    """Read a page of a CZI, LIF, ND2, FITS or MRC file: all channels, or the first.

    All are read if the view selects bands or the channels are colors.

    Raises:
        ImageError: The page does not exist or is too large.
        MissingExtra: The reader of the format is not installed.
    """
    with open_microscope(file, name) as places:
        if view.page >= places.count:
            raise ImageError(no_such_page(view.page, places.count, name))
        array = places.read(view.page)
    check_size((array.shape[0], array.shape[1]), name)
    return array if view.all_bands or places.colors else array[..., :1]


@contextmanager
def open_microscope(file: BinaryIO, name: str) -> Iterator[Places]:
    """Open a microscope file; errors inside the block become ImageError or MissingExtra."""
    if (opener := _opener(file)) is None:
        raise ImageError(f"{name} is not a CZI, LIF, ND2, FITS or MRC file. Convert it to TIFF.")
    package, what, opened = opener
    file.seek(0)
    try:
        with opened(file) as places:
            check_size(places.hw, name)
            yield places
    except ImageError:
        raise
    except ImportError:
        raise MissingExtra(package, "microscopes", f"{name}, {what},") from None
    except Exception as error:  # the packages raise arbitrary exceptions on corrupted files
        raise ImageError(
            f"{name} is {what}, but it is corrupted, or its compression is not supported. Export "
            "it as TIFF, for example from Fiji."
        ) from error


def _opener(file: Any) -> tuple[str, str, Any] | None:
    """Return package, description and open function, chosen by the first bytes of a file."""
    head = read_head(file, _MAGIC_BYTES)
    kinds = {
        b"ZISRAWFILE": ("czifile", "a Zeiss CZI file", _open_czi),
        b"\x70\0\0\0": ("liffile", "a Leica LIF file", _open_lif),
        b"\xda\xce\xbe\x0a": ("nd2", "a Nikon ND2 file", _open_nd2),
    }
    if not isinstance(head, bytes):
        return None  # text
    if head.startswith(FITS) or head[_MRC_MAP : _MRC_MAP + 4] == MRC:
        fits = head.startswith(FITS)
        what, opened = ("a FITS file", open_fits) if fits else ("an MRC file", open_mrc)
        return "", what, lambda file: nullcontext(opened(file))
    return next((kinds[magic] for magic in kinds if head.startswith(magic)), None)


@contextmanager
def _open_czi(file: BinaryIO) -> Iterator[Places]:
    """Open a CZI; the whole file is decoded at once, with its tiles stitched."""
    import czifile

    with czifile.CziFile(file, multifile=False) as document:
        sizes = dict(zip(document.axes, map(int, document.shape), strict=True))
        _check_bytes(sizes, np.dtype(document.dtype).itemsize)
        whole: list[NDArray[Any]] = []

        def read(page: int) -> NDArray[Any]:
            if not whole:
                whole.append(document.asarray())
            at = _steps(sizes, page)
            flat = whole[0][tuple(at.get(axis, slice(None)) for axis in sizes)]
            return _channels_last(flat, {axis: n for axis, n in sizes.items() if axis not in at})

        yield _places(sizes, read)


@contextmanager
def _open_lif(file: BinaryIO) -> Iterator[Places]:
    import liffile

    with liffile.LifFile(file) as document:
        images = list(document.images)
        counts = [math.prod(_loops(image.sizes).values()) for image in images]
        if not images:
            raise EOFError("It contains no image")

        def read(page: int) -> NDArray[Any]:
            which = 0
            while page >= counts[which]:
                page -= counts[which]
                which += 1
            image, sizes = images[which], images[which].sizes
            flat = {axis: n for axis, n in sizes.items() if axis in _PAGE_AXES}
            _check_bytes(flat, image.itemsize)
            at, channels = _steps(sizes, page), flat.pop("C", None)
            steps = [{}] if channels is None else [{"C": step} for step in range(channels)]
            return np.concatenate(
                [_channels_last(image.frame(**at, **step), flat) for step in steps], axis=2
            )

        first = _places(images[0].sizes, read)
        yield replace(first, count=sum(counts), axes=first.axes if len(images) == 1 else ())


@contextmanager
def _open_nd2(file: BinaryIO) -> Iterator[Places]:
    import nd2

    with nd2.ND2File(file) as document:
        sizes = dict(document.sizes)
        inner = {axis: n for axis, n in sizes.items() if axis in _PAGE_AXES}
        _check_bytes(inner, np.dtype(document.dtype).itemsize)

        def read(page: int) -> NDArray[Any]:
            # a copy, because the file is memory-mapped until it closes
            return _channels_last(document.read_frame(page).copy(), inner)

        yield _places(sizes, read)


def _places(sizes: Mapping[str, int], read: Callable[[int], NDArray[Any]]) -> Places:
    samples = sizes.get("S", sizes.get("0", 1))
    channels = sizes.get("C", 1)
    return Places(
        count=math.prod(_loops(sizes).values()),
        hw=(sizes["Y"], sizes["X"]),
        channels=channels * samples,
        colors=channels == 1 and samples in (3, 4),
        read=read,
        axes=tuple(_loops(sizes).items()),
    )


def _loops(sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the axes that pages are counted along."""
    return {axis: n for axis, n in sizes.items() if axis not in _PAGE_AXES}


def _steps(sizes: Mapping[str, int], page: int) -> dict[str, int]:
    """Return the position of a page along each of these axes."""
    steps: dict[str, int] = {}
    for axis, length in reversed(_loops(sizes).items()):
        page, steps[axis] = divmod(page, length)
    return steps


def _channels_last(array: NDArray[Any], sizes: Mapping[str, int]) -> NDArray[Any]:  # (H, W, C)
    """Transpose a page of any axis order, with all channels and samples as the last axis."""
    whole = np.asarray(array).reshape(list(sizes.values()))
    order = [list(sizes).index(axis) for axis in ("Y", "X", "C", "S", "0") if axis in sizes]
    return whole.transpose(order).reshape(sizes["Y"], sizes["X"], -1)


def _check_bytes(sizes: Mapping[str, int], item: int) -> None:
    """Raise ImageError if the size exceeds what can be decoded at once."""
    if (size := math.prod(sizes.values()) * item) > _MAX_BYTES:
        raise ImageError(
            f"One plane requires {size >> 20} MB of memory, but at most {_MAX_BYTES >> 20} MB "
            "are supported. Export it as TIFF."
        )
