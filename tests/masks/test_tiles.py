"""Windows cover what they promise."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anymask.base import InputError
from anymask.masks import tiles as T
from tests.masks.strategies import quickly, sizes


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


def test_photos_are_tiled_from_a_size_on_or_when_asked() -> None:
    assert T.tile_side("auto", (3000, 4000)) is None
    assert T.tile_side("auto", (4001, 6000)) == T.AUTO_SIDE
    assert T.tile_side(None, (10_000, 20_000)) is None
    assert T.tile_side(512, (600, 500)) == 512
    side = T.tile_side(np.int64(512), (600, 500))  # type: ignore[arg-type]  # numpy's, too
    assert (side, type(side)) == (512, int)
    assert T.tile_side(512, (512, 500)) is None
    assert [T.tile_side("auto", (9, side), 256) for side in (1023, 1024)] == [None, 256]


@pytest.mark.parametrize("tile", ["always", 63, 0, True, 512.0, -1])
def test_no_way_to_tile_is_refused(tile: object) -> None:
    with pytest.raises(InputError, match="size of at least 64 pix"):
        T.tile_side(tile, (100, 100))
