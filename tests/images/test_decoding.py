import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.base import DataError, ImageError
from anymask.formats import read_hw
from anymask.images import load_image, load_mask, open_image


def huge_gif(side: int) -> bytes:
    """66 bytes: two frames of a pixel on a large screen."""
    frame = b"\x2c" + struct.pack("<4HB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    screen = struct.pack("<2H3B", side, side, 0x80, 0, 0)
    return b"GIF89a" + screen + b"\0\0\0\xff\xff\xff" + frame * 2 + b"\x3b"


def test_a_large_screen_is_refused_before_its_second_frame_is_drawn() -> None:
    with pytest.raises(ImageError, match="30000 x 30000 pixels, but the limit is 200 megapixels"):
        load_image(huge_gif(30_000), page=1)


def test_whatever_fails_inside_is_an_error_that_names_the_picture() -> None:
    buffer = io.BytesIO()
    Image.new("L", (3, 2)).save(buffer, "PNG")
    with (
        pytest.raises(ImageError, match=r"^the mask is corrupted or truncated"),
        open_image(buffer.getvalue(), "the mask"),
    ):
        raise AssertionError("oh")


def test_pictures_beyond_pillows_own_limit_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # errors from 40 pixels on
    Image.new("L", (10, 9), 255).save(tmp_path / "a.png")
    Image.new("L", (10, 9), 255).save(tmp_path / "a.tif")
    for name in ("a.png", "a.tif"):
        assert load_mask(tmp_path / name).all()
        assert load_image(tmp_path / name).shape == (9, 10, 3)
        assert read_hw(tmp_path / name) == (9, 10)


def test_a_tiff_that_only_tifffile_reads_is_a_mask_and_has_a_size(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = np.zeros((3, 4, 6), np.float32)
    values[:, 1, 2] = 1
    tifffile.imwrite(tmp_path / "a.tif", values, planarconfig=2, photometric="rgb")
    assert np.argwhere(load_mask(tmp_path / "a.tif")).tolist() == [[1, 2]]
    assert read_hw(tmp_path / "a.tif") == (4, 6)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    for read in (load_image, load_mask):
        with pytest.raises(ImageError, match="ot a regular file"):
            read(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a\0.png", "a" * 5000])
def test_impossible_names_are_one_error(name: str) -> None:
    with pytest.raises(ImageError, match="cannot be read"):
        load_image(name)
    with pytest.raises(DataError, match="Not a readable image"):
        read_hw(Path(name))
