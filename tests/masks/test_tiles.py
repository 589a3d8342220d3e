"""Windows cover what they promise."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anymask.base import InputError
from anymask.masks import tiles as T
from tests.masks.strategies import quickly, sizes


def test_crops_equal_the_reference_by_hand() -> None:
    # By hand from the rule: overlap o = int(r * short * 2 / n), side ceil((o * (n - 1) + s) / n).
    boxes, layers = T.crop_boxes((100, 200), 1, 0.25)
    assert layers == [0, 1, 1, 1, 1]
    assert boxes == [
        (0, 0, 200, 100),
        (0, 0, 113, 63),
        (0, 38, 113, 100),
        (88, 0, 200, 63),
        (88, 38, 200, 100),
    ]


@quickly
@given(sizes(300), st.integers(0, 2), st.floats(0, 0.6))
def test_every_layer_covers_the_photo(size: tuple[int, int], layers: int, overlap: float) -> None:
    boxes, of_layer = T.crop_boxes(size, layers, overlap)
    assert len(boxes) == sum(4**layer for layer in range(layers + 1))
    for layer in range(layers + 1):
        if min(size) < 8:
            continue  # a crop may be empty there, as in the reference
        covered = np.zeros(size, np.bool_)
        for (x0, y0, x1, y1), place in zip(boxes, of_layer, strict=True):
            if place == layer:
                covered[y0:y1, x0:x1] = True
        assert covered.all()


@quickly
@given(sizes(200), st.integers(1, 64), st.integers(0, 63))
def test_tiles_cover_the_photo_and_overlap(size: tuple[int, int], side: int, overlap: int) -> None:
    if overlap >= side:
        with pytest.raises(InputError, match="Expected 0 <= overlap < side"):
            T.tile_boxes(size, side, overlap)
        return
    if max(size) > 12 * (side - overlap):
        return  # thousands of tiles show nothing new
    tiles = T.tile_boxes(size, side, overlap)
    covered = np.zeros(size, np.bool_)
    for x0, y0, x1, y1 in tiles:
        assert (x1 - x0, y1 - y0) == (min(side, size[1]), min(side, size[0]))
        covered[y0:y1, x0:x1] = True
    assert covered.all()
    columns = sorted({(x0, x1) for x0, _, x1, _ in tiles})
    assert all(a[1] - b[0] >= overlap for a, b in itertools.pairwise(columns))


def test_bad_windows_say_so() -> None:
    with pytest.raises(InputError, match="n_layers=-1, overlap_ratio=0.3"):
        T.crop_boxes((10, 10), -1, 0.3)
    with pytest.raises(InputError, match="0 <= overlap_ratio < 1"):
        T.crop_boxes((10, 10), 1, 1.0)


def test_photos_are_tiled_from_a_size_on_or_when_asked() -> None:
    assert T.tile_side("auto", (3000, 4000)) is None
    assert T.tile_side("auto", (4001, 6000)) == T.AUTO_SIDE
    assert T.tile_side(None, (10_000, 20_000)) is None
    assert T.tile_side(512, (600, 500)) == 512
    side = T.tile_side(np.int64(512), (600, 500))  # type: ignore[arg-type]  # numpy's, too
    assert (side, type(side)) == (512, int)
    assert T.tile_side(512, (512, 500)) is None


@pytest.mark.parametrize("tile", ["always", 63, 0, True, 512.0, -1])
def test_no_way_to_tile_is_refused(tile: object) -> None:
    with pytest.raises(InputError, match="size of at least 64 pix"):
        T.tile_side(tile, (100, 100))
