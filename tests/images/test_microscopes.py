"""HEIC photos, and the files of microscopes as stubs of their readers give them."""

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anymask.base import ImageError, MissingExtra
from anymask.images import image_hw, load_channels, load_image, read_pages, read_planes
from tests.images.microscope_files import WRITERS

VALUES = np.arange(2 * 3 * 2 * 4 * 5, dtype=np.uint16).reshape(2, 3, 2, 4, 5)  # T Z C Y X
# An HEVC picture of 96 x 64 pixels, the right half white. A file, because not every machine has an
# encoder.
HEIC = Path(__file__).with_name("halves.heic")
HEADS = {"a.czi": b"ZISRAWFILE", "a.lif": b"\x70\0\0\0", "a.nd2": b"\xda\xce\xbe\x0a"}


class _Stub:
    """A reader of T 2, Z 3, C 2, of 4 x 5 pixels, with what the three packages call it."""

    axes, shape, dtype = "TZCYX", VALUES.shape, VALUES.dtype
    itemsize = 2

    def __init__(self, *_: Any, **__: Any) -> None:
        self.images = [self]
        self.sizes = dict(zip(self.axes, self.shape, strict=True))

    def __enter__(self) -> "_Stub":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def asarray(self) -> Any:
        return VALUES

    def frame(self, **at: int) -> Any:
        return VALUES[at["T"], at["Z"], at["C"]]

    def read_frame(self, number: int) -> Any:
        return VALUES.reshape(6, 2, 4, 5)[number]


@pytest.fixture(params=HEADS)
def stack(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for package, name in (("czifile", "CziFile"), ("liffile", "LifFile"), ("nd2", "ND2File")):
        module = types.ModuleType(package)
        setattr(module, name, _Stub)
        monkeypatch.setitem(sys.modules, package, module)
    path = tmp_path / request.param
    path.write_bytes(HEADS[request.param] + bytes(40))
    return path


def test_pages_are_places_and_channels_are_bands(stack: Path) -> None:
    assert image_hw(stack) == (4, 5)
    assert read_pages(stack).count == 6
    planes = read_planes(stack)
    assert (planes.channels, planes.places) == (("Channel 1", "Channel 2"), tuple(range(6)))
    np.testing.assert_array_equal(load_channels(stack, 4), VALUES[1, 1].transpose(1, 2, 0))
    shown = load_image(stack, page=4)
    assert (shown.shape, shown[0, 0, 0], shown[-1, -1, 0]) == ((4, 5, 3), 0, 255)
    both = load_image(stack, page=1, bands=(0, 1, 2), ranges=(None, (0, 255), (0, 255)))
    assert both[0, 0].tolist() == [0, VALUES[0, 1, 0, 0, 0], VALUES[0, 1, 1, 0, 0]]
    with pytest.raises(ImageError, match="Page 6 is out of range"):
        load_image(stack, page=6)


@pytest.mark.parametrize("ending", WRITERS)
def test_a_file_is_read_by_its_real_reader(ending: str, tmp_path: Path) -> None:
    pytest.importorskip({"czi": "czifile", "lif": "liffile"}.get(ending, ending))
    image = np.arange(60 * 80).reshape(60, 80).astype(np.uint8)
    path = tmp_path / f"a.{ending}"
    path.write_bytes(WRITERS[ending](image))
    assert image_hw(path) == (60, 80)
    np.testing.assert_array_equal(load_channels(path)[..., 0], image)
    np.testing.assert_array_equal(load_image(path, ranges=((0, 255),))[..., 0], image)


@pytest.mark.parametrize("name", HEADS)
def test_a_damaged_file_and_an_absent_package_are_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    path.write_bytes(HEADS[name] + bytes(40))
    package = {"a.czi": "czifile", "a.lif": "liffile", "a.nd2": "nd2"}[name]
    monkeypatch.setitem(sys.modules, package, None)  # as if it was not installed
    for read in (load_image, image_hw, read_pages):
        with pytest.raises(MissingExtra, match=r"pip install 'anymask\[microscopes\]'"):
            read(path)
    monkeypatch.delitem(sys.modules, package)
    pytest.importorskip(package)
    for read in (load_image, image_hw, read_pages):
        with pytest.raises(ImageError, match=r"is a \w+ ... file, but it is corrupted.* TIFF"):
            read(path)


def test_a_heic_photo_is_read(tmp_path: Path) -> None:
    pytest.importorskip("pi_heif")
    image = np.zeros((64, 96, 3), np.uint8)
    image[:, 48:] = 255
    path = tmp_path / "a.heic"
    path.write_bytes(HEIC.read_bytes())
    assert image_hw(path) == (64, 96)
    found = load_image(path)
    assert np.abs(found.astype(int) - image).mean() < 3
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ImageError, match="corrupted"):
        load_image(path)


def test_a_place_is_a_page_and_a_band(stack: Path) -> None:
    assert read_pages(stack).axes == (("T", 2), ("Z", 3))
    shown = load_image(stack, page="t1z2c1", ranges=(0, 255))
    assert shown[0, 0, 0] == min(255, VALUES[1, 2, 1, 0, 0])
