"""A plane that is named by its axes, as z1c0, is the one that its numbers say."""

from pathlib import Path

import numpy as np
import pytest

from anymask.base import ImageError, InputError
from anymask.images import load_image, parse_position, resolve_position
from anymask.jobs import FolderJob, ImageSettings, parse_page

tifffile = pytest.importorskip("tifffile")
VALUES = np.arange(3 * 2, dtype=np.uint8).reshape(3, 2, 1, 1).repeat(4, 2).repeat(5, 3) * 20


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """Z 3 x C 2 pages as ImageJ writes them, each of one value: 20 times its number."""
    tifffile.imwrite(tmp_path / "a.tif", VALUES, imagej=True, metadata={"axes": "ZCYX"})
    return tmp_path / "a.tif"


@pytest.mark.parametrize(
    ("text", "page"), [("z0c0", 0), ("z0c1", 1), ("z1", 2), ("c1", 1), ("z2c1", 5), ("C1Z2", 5)]
)
def test_a_place_is_the_page_of_its_axes(stack: Path, text: str, page: int) -> None:
    assert resolve_position(stack, text) == (page, None)
    assert load_image(stack, page=text)[0, 0, 0] == 20 * page
    choice = ImageSettings(page=parse_page(text))
    assert choice.load(stack)[0, 0, 0] == 20 * page
    (item,) = FolderJob(source=stack, output=Path("out"), page=choice.page).items()
    assert item.name == (f"a.tif.page{page}.png" if page else "a.tif")
    assert choice.load(stack, item.page)[0, 0, 0] == 20 * page


def test_ome_axes_are_known_too(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, VALUES.swapaxes(0, 1), metadata={"axes": "CZYX"})
    assert resolve_position(path, "z2c1") == (5, None)
    assert load_image(path, page="z0c1")[0, 0, 0] == VALUES[0, 1, 0, 0]


def test_a_channel_that_is_a_band_is_that_band(tmp_path: Path) -> None:
    path = tmp_path / "bands.tif"
    planes = np.stack([np.full((4, 5, 2), value, np.uint8) * (1, 2) for value in (10, 50)])
    tifffile.imwrite(
        path, planes, imagej=False, photometric="minisblack", planarconfig="contig",
        metadata={"axes": "ZYXS"},
    )  # fmt: skip
    assert resolve_position(path, "z1c1") == (1, (2,))
    assert ImageSettings(page="z1c1").load(path, 1)[0, 0, 0] == 100
    assert ImageSettings(page="z1c1").mark(1) != ImageSettings(page="z1c0").mark(1)
    with pytest.raises(InputError, match="The channel can be selected by"):
        load_image(path, page="z1c1", bands=1)


def test_what_is_not_there_is_told_with_what_is(stack: Path, tmp_path: Path) -> None:
    for text in ("z3", "c2", "t0"):
        with pytest.raises(InputError, match=r"Z 3 x C 2, each counted from 0"):
            load_image(stack, page=text)
    tifffile.imwrite(tmp_path / "flat.tif", VALUES[0, 0])
    with pytest.raises(ImageError, match="axes of .* are unknown"):
        load_image(tmp_path / "flat.tif", page="z0")
    with pytest.raises(InputError, match="a stack, which only files have"):
        load_image(VALUES[0, 0], page="z0")


@pytest.mark.parametrize("text", ["", "z", "1z", "z1z2", "z-1", "z1 c0"])
def test_other_texts_are_no_place(text: str) -> None:
    with pytest.raises(InputError, match="counted from 0"):
        parse_position(text)
    with pytest.raises(InputError, match="z1c0, or all"):
        parse_page(text)
