"""Tables tell how bright masks are, by scikit-image and by hand, and lengths in the file's unit."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage import measure as skimage_measure

from anymask.formats import AnnotatedImage, write_annotations
from anymask.images import ImageFile
from anymask.masks import ImageInMemory, Mask, Masks, mask_to_rle, measure

tifffile = pytest.importorskip("tifffile")
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))


@given(arrays.arrays(np.bool_, SHAPES, elements=st.booleans()), st.integers(0, 2**32 - 1))
def test_brightness_is_that_of_scikit_image(mask: np.ndarray, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 4000, (*mask.shape, 2), np.uint16)
    (found,) = measure.measure_brightness([mask_to_rle(mask)], values)
    assert found.shape == (2, len(measure.BRIGHTNESS))
    if not mask.any():
        assert np.isnan(found).all()
        return
    (peer,) = skimage_measure.regionprops(mask.astype(np.uint8), values)
    for at, name in ((0, "mean"), (2, "min"), (3, "max")):
        np.testing.assert_allclose(found[:, at], getattr(peer, f"intensity_{name}"))
    np.testing.assert_allclose(found[:, 1], values[mask].sum(axis=0))
    ground = np.median(values[~mask], axis=0) if not mask.all() else [np.nan, np.nan]
    np.testing.assert_allclose(found[:, 4], ground)
    np.testing.assert_allclose(found[:, 5], found[:, 0] - ground)
    np.testing.assert_allclose(found[:, 6], found[:, 1] - mask.sum() * np.asarray(ground))


def cell() -> np.ndarray:
    mask = np.zeros((20, 30), bool)
    mask[5:15, 4:14] = True
    return mask


def stack(path: Path) -> Path:
    """Z 2 x C 2 of 16 bits, 0.5 µm a pixel: ground 100 and 200, a cell 1000 and 300 brighter."""
    pages = np.zeros((2, 2, 20, 30), np.uint16)
    pages[:, 0], pages[:, 1] = 100, 200
    pages[1, 0][cell()] += 1000
    pages[1, 1][cell()] += 300
    tifffile.imwrite(
        path, pages, imagej=True, resolution=(2, 2), metadata={"axes": "ZCYX", "unit": "um"}
    )
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


def test_a_table_has_every_channel_and_lengths_in_the_file_s_unit(tmp_path: Path) -> None:
    image = ImageFile(stack(tmp_path / "a.tif"), page=2)
    Masks([Mask(mask_to_rle(cell()))], source_image=image).save(tmp_path / "a.csv")
    (row,) = rows_of(tmp_path / "a.csv")
    told = {name: row[name] for name in row if name.startswith("c") and name[1].isdecimal()}
    assert told == {
        "c0_mean": "1100", "c0_sum": "110000", "c0_min": "1100", "c0_max": "1100",
        "c0_background": "100", "c0_net_mean": "1000", "c0_net_sum": "100000",
        "c1_mean": "500", "c1_sum": "50000", "c1_min": "500", "c1_max": "500",
        "c1_background": "200", "c1_net_mean": "300", "c1_net_sum": "30000",
    }  # fmt: skip
    assert (row["unit"], row["pixel_size"]) == ("µm", "0.5")
    assert float(row["area_scaled"]) == 25
    for name in ("perimeter", "diameter", "length", "width"):
        assert float(row[f"{name}_scaled"]) == pytest.approx(float(row[name]) / 2, rel=1e-5)


def test_a_page_of_another_channel_is_measured_at_its_place(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.tif")
    for page in (2, 3):
        Masks([Mask(mask_to_rle(cell()))], source_image=ImageFile(path, page)).save(
            tmp_path / f"{page}.csv"
        )
    assert (tmp_path / "2.csv").read_text() == (tmp_path / "3.csv").read_text()


def test_pictures_of_different_channels_share_a_table(tmp_path: Path) -> None:
    gray = np.full((20, 30, 3), 7, np.uint8)
    colors = gray * np.array([1, 2, 3], np.uint8)
    masks = [Mask(mask_to_rle(cell()), "cup")]
    images = [
        AnnotatedImage(file_name=name, hw=(20, 30), masks=Masks(masks), source=source)
        for name, source in (("grey.png", gray), ("none.png", None), ("colours.png", colors))
    ]
    write_annotations(images, tmp_path / "a.csv", "csv")
    rows = rows_of(tmp_path / "a.csv")
    means = [[row[f"c{channel}_mean"] for channel in range(3)] for row in rows]
    assert means == [["7", "", ""], ["", "", ""], ["7", "14", "21"]]
    assert [*rows[0]][: len(measure.TABLE_HEADER)] == list(measure.TABLE_HEADER)
    assert "unit" not in rows[0]


def test_an_array_is_measured_by_its_own_numbers_and_another_size_not_at_all() -> None:
    deep = np.full((20, 30), 5000, np.uint16)
    shown = np.zeros((20, 30, 3), np.uint8)
    found = Masks(
        [Mask(mask_to_rle(cell()))], source_image=ImageInMemory(shown, values=deep)
    ).to_csv()
    assert ",5000," in found
    other = ImageInMemory(np.zeros((5, 5, 3), np.uint8))
    assert (
        Masks([Mask(mask_to_rle(cell()))], source_image=other)
        .to_csv()
        .startswith(",".join(measure.TABLE_HEADER))
    )
    assert "c0_mean" not in Masks([Mask(mask_to_rle(cell()))], source_image=other).to_csv()
