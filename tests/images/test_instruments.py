"""FITS and MRC: written by the standards, and by astropy and mrcfile where they are installed."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from anymask.base import ImageError
from anymask.images import image_hw, load_channels, load_image, read_pages, read_planes

BITPIX = {"u1": 8, "i2": 16, "i4": 32, "i8": 64, "f4": -32, "f8": -64}
MODES = {"i1": 0, "i2": 1, "f4": 2, "u2": 6, "f2": 12}


def ramp(kind: str, *shape: int) -> NDArray[Any]:
    return np.random.default_rng(1).integers(0, 100, shape).astype(kind)


def header(*cards: str) -> bytes:
    text = "".join(card.ljust(80) for card in (*cards, "END"))
    return text.ljust(-(-len(text) // 2880) * 2880).encode()


def fits(values: NDArray[Any], *cards: str, first: str = "SIMPLE  =                    T") -> bytes:
    """A FITS file as the standard 4.0 describes it."""
    axes = [f"NAXIS{n:<3}= {length}" for n, length in enumerate(values.shape[::-1], start=1)]
    bits = BITPIX[values.dtype.str[1:]]
    head = header(first, f"BITPIX  = {bits}", f"NAXIS   = {values.ndim}", *axes, *cards)
    data = values.astype(values.dtype.newbyteorder(">")).tobytes()
    return head + data.ljust(-(-len(data) // 2880) * 2880, b"\0")


def mrc(values: NDArray[Any], order: str = "<", extra: bytes = b"", cell: float = 0.0) -> bytes:
    """An MRC2014 file (count, H, W)."""
    count, height, width = values.shape
    head = bytearray(1024)
    mode = MODES[values.dtype.str[1:]]
    struct.pack_into(f"{order}4i", head, 0, width, height, count, mode)
    struct.pack_into(f"{order}3i", head, 28, width, height, count)
    struct.pack_into(f"{order}3f", head, 40, cell, cell, cell)
    struct.pack_into(f"{order}i", head, 92, len(extra))
    head[208:212] = b"MAP "
    head[212:214] = b"\x44\x44" if order == "<" else b"\x11\x11"
    return bytes(head) + extra + values.astype(values.dtype.newbyteorder(order)).tobytes()


def written(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", BITPIX)
def test_fits_of_every_type_has_its_values(tmp_path: Path, kind: str) -> None:
    values = ramp(kind, 6, 9)
    path = written(tmp_path, "a.fits", fits(values))
    assert image_hw(path) == (6, 9)
    np.testing.assert_array_equal(load_channels(path)[..., 0], values)
    assert load_image(path).shape == (6, 9, 3)


def test_fits_values_are_physical(tmp_path: Path) -> None:
    stored = ramp("i2", 4, 5)
    unsigned = written(tmp_path, "u.fits", fits(stored, "BZERO   = 32768", "BSCALE  = 1.0"))
    found = load_channels(unsigned)[..., 0]
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, stored.astype(int) + 32768)
    scaled = written(
        tmp_path, "s.fits", fits(stored, "BSCALE  = 2.5D-1 / a factor", "BZERO   = -7")
    )
    np.testing.assert_allclose(load_channels(scaled)[..., 0], stored * 0.25 - 7)


def test_fits_cube_and_extension(tmp_path: Path) -> None:
    values = ramp("f4", 2, 3, 4, 5)
    cube = written(tmp_path, "a.fit", fits(values))
    assert read_pages(cube).axes == (("T", 2), ("Z", 3))
    np.testing.assert_array_equal(load_channels(cube, page=4)[..., 0], values[1, 1])
    np.testing.assert_array_equal(load_image(cube, page="t1z2"), load_image(cube, page=5))
    table = fits(ramp("u1", 7, 3), "PCOUNT  = 5000", "GCOUNT  = 1", first="XTENSION= 'BINTABLE'")
    table += bytes(-(-5021 // 2880) * 2880 - 2880)
    image = fits(values[0, 0], "PCOUNT  = 0", "GCOUNT  = 1", first="XTENSION= 'IMAGE   ' / it")
    empty = header("SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0", "EXTEND  = T")
    later = written(tmp_path, "b.fits", empty + table + image)
    np.testing.assert_array_equal(load_channels(later)[..., 0], values[0, 0])


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", MODES)
def test_mrc_of_every_mode_has_its_values(tmp_path: Path, kind: str, order: str) -> None:
    values = ramp(kind, 3, 5, 4)
    path = written(tmp_path, "a.mrc", mrc(values, order, extra=b"x" * 80, cell=26.8))
    assert (image_hw(path), read_pages(path).count) == ((5, 4), 3)
    np.testing.assert_array_equal(load_channels(path, page=2)[..., 0], values[2])
    pixel = read_planes(path).pixel
    assert (pixel.size, pixel.unit) == (pytest.approx(0.67), "nm")  # 26.8 A / 4 columns


def test_pixels_that_are_not_numbers_need_a_stretch(tmp_path: Path) -> None:
    values = ramp("i2", 20, 20)
    path = written(tmp_path, "a.fits", fits(values, f"BLANK   = {values[0, 0]}"))
    with pytest.raises(ImageError, match="--stretch"):
        load_image(path)
    image = load_image(path, stretch=(1, 99))
    assert (image[values == values[0, 0]] == 0).all()


COMPRESSED = header("SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0") + fits(
    ramp("u1", 7, 3), "ZIMAGE  = T", first="XTENSION= 'BINTABLE'"
)


@pytest.mark.parametrize(
    ("data", "telling"),
    [
        (COMPRESSED, "funpack"),
        (header("SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0"), "no image"),
        (fits(ramp("u1", 50)), "no image"),
        (fits(ramp("f8", 60, 60))[:9000], "corrupted"),
        (fits(ramp("u1", 6, 6))[:2000], "corrupted"),
        (header("SIMPLE  = T", "NAXIS   = 2"), "corrupted"),
        (
            header("SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = -4", "NAXIS2  = 4"),
            "corrupted",
        ),
        (mrc(ramp("f4", 2, 5, 5))[:1100], "corrupted"),
        (mrc(ramp("f4", 1, 5, 5))[:600], "corrupted"),
        (mrc(ramp("f4", 1, 5, 5)).replace(b"\2\0\0\0", b"\4\0\0\0", 1), "mode 4"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, data: bytes, telling: str) -> None:
    path = written(tmp_path, "a.bin", data)
    with pytest.raises(ImageError, match=telling):
        load_image(path)


# Files of the libraries.


def test_astropy_agrees(tmp_path: Path) -> None:
    library = pytest.importorskip("astropy.io.fits", reason="needs astropy")
    for kind in ("u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"):
        values = ramp(kind, 3, 11, 8)
        file = io.BytesIO()
        units = [library.PrimaryHDU(), library.ImageHDU(values, name="SCI")]
        library.HDUList(units).writeto(file)
        path = written(tmp_path, f"{kind}.fits", file.getvalue())
        np.testing.assert_array_equal(load_channels(path, page=1)[..., 0], values[1])
    file = io.BytesIO()
    packed = library.CompImageHDU(ramp("i2", 40, 40))
    library.HDUList([library.PrimaryHDU(), packed]).writeto(file)
    with pytest.raises(ImageError, match="funpack"):
        load_image(written(tmp_path, "packed.fits", file.getvalue()))


def test_mrcfile_agrees(tmp_path: Path) -> None:
    mrcfile = pytest.importorskip("mrcfile", reason="needs mrcfile")
    for kind in MODES:
        path, values = tmp_path / f"{kind}.mrc", ramp(kind, 3, 7, 5)
        with mrcfile.new(path) as file:
            file.set_data(values)
            file.voxel_size = 4.0
        np.testing.assert_array_equal(load_channels(path, page=2)[..., 0], values[2])
        pixel = read_planes(path).pixel
        assert pixel.size == pytest.approx(0.4)
