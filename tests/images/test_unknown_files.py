"""Files that are no pictures are called by their name, with the way to a picture."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.base import ImageError
from anymask.images import image_hw, load_image


def _numpy_file() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros((3, 3)))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "what", "remedy"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC photo", "heif-convert"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "a camera raw file", "Develop it"),
        (_numpy_file(), "a NumPy array", "numpy.load"),
        (b"%PDF-1.7\n", "a PDF document", "pdftoppm"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "h5py"),
        (b"\n<!DOCTYPE html><html>404</html>", "a web page", "the image itself"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x"/>', "an SVG drawing", "rsvg-convert"),
        (b'\xef\xbb\xbf<svg width="9"/>', "an SVG drawing", "rsvg-convert"),
    ],
)
def test_a_file_of_another_kind_is_called_by_its_name(
    content: bytes, what: str, remedy: str, tmp_path: Path
) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        load_image(path)
    text = str(caught.value)
    assert f"{str(path)!r} is {what}, not a supported image. " in text
    assert remedy in text


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF"])
def test_the_beginning_of_a_picture_is_damaged_and_not_something_else(kind: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(file, kind)
    with pytest.raises(ImageError, match="is corrupted or truncated. Copy or download"):
        load_image(file.getvalue()[:20])


def test_a_file_opened_as_text_is_told_how_to_open_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("hello")
    with path.open() as file, pytest.raises(ImageError, match="Open it with mode 'rb'"):
        load_image(file)  # type: ignore[arg-type]  # that is the mistake


def test_a_raw_file_is_not_read_as_its_thumbnail(tmp_path: Path) -> None:
    path = tmp_path / "IMG_1.NEF"
    Image.new("RGB", (16, 12)).save(path, "TIFF")  # as cameras do: a small picture comes first
    for read in (load_image, image_hw):
        with pytest.raises(ImageError, match=r"IMG_1.NEF' is a camera raw file, .* Develop it"):
            read(path)


class _Tensor:
    """A tensor whose numbers numpy does not know, as torch's bfloat16."""

    def __array__(self, *_: object, **__: object) -> object:
        raise TypeError("Got unsupported ScalarType BFloat16")

    def detach(self) -> object:
        return self


def test_a_tensor_that_is_no_array_is_told_how_to_become_one() -> None:
    with pytest.raises(ImageError, match=r"to an image. Pass image\.detach\(\)\.cpu\(\)\.float\("):
        load_image(_Tensor())  # type: ignore[arg-type]  # that is the mistake
