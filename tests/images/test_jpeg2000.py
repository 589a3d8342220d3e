"""JPEG 2000 as GDAL writes it: bands without colours are the first three, and none is alpha."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.base import DamagedImageError, ImageError
from anymask.images import image_hw, load_image

rasterio = pytest.importorskip("rasterio")
shutil = pytest.importorskip("rasterio.shutil")

BANDS = np.random.default_rng(0).integers(0, 200, (6, 48, 64), np.uint8)


def write(path: Path, count: int, *, colors: bool = False) -> Path:
    options = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES"}
    with rasterio.open(
        path, "w", height=48, width=64, count=count, dtype="uint8", **options
    ) as file:
        file.write(BANDS[:count])
    if colors:
        with rasterio.open(path) as file:
            shutil.copy(file, path.with_suffix(".tif"), driver="GTiff", photometric="RGB")
        shutil.copy(path.with_suffix(".tif"), path, **options)
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("count", "shown"), [(1, (1, 1, 1)), (3, (1, 2, 3)), (4, (1, 2, 3))])
def test_bands_without_colours_are_read(tmp_path: Path, count: int, shown: tuple[int, ...]) -> None:
    path = write(tmp_path / "a.jp2", count)
    expected = np.stack([BANDS[band - 1] for band in shown], -1)
    assert np.array_equal(load_image(path), expected)
    assert np.array_equal(load_image(path.read_bytes()), expected)
    assert np.array_equal(load_image(io.BytesIO(path.read_bytes())), expected)
    assert image_hw(path) == (48, 64)
    if count == 4:
        nearinfrared = load_image(path, bands=(4, 2, 1))
        assert np.array_equal(nearinfrared, np.stack([BANDS[3], BANDS[1], BANDS[0]], -1))


@pytest.mark.filterwarnings("ignore")
def test_colours_and_transparency_of_other_writers_stay(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jp2", 3, colors=True)
    assert np.array_equal(load_image(path), np.moveaxis(BANDS[:3], 0, -1))
    rgba = np.zeros((9, 12, 4), np.uint8)
    Image.fromarray(rgba).save(tmp_path / "b.jp2", quality_mode="dB", quality_layers=[0])
    assert (load_image(tmp_path / "b.jp2") == 255).all()  # transparent, on white


@pytest.mark.filterwarnings("ignore")
def test_many_bands_and_damage_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jp2", 6)
    with pytest.raises(ImageError, match=r"with 6 bands. .*-b 1 '.*a.jp2' rgb.tif"):
        load_image(path)
    data = write(path, 3).read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DamagedImageError, match="corrupted or truncated"):
        load_image(path)


def test_a_virtual_raster_names_its_commands(tmp_path: Path) -> None:
    path = tmp_path / "a.vrt"
    path.write_text("<VRTDataset rasterXSize='3' rasterYSize='3'></VRTDataset>")
    with pytest.raises(ImageError, match=r"is a map .* not an image. .*segment '.*a.vrt' --point"):
        load_image(path)
