"""Paths of memory: which candidates live on, which masks are settled, and what is saved."""

import numpy as np
import pytest

from anymask.primitives.rle import Rle, mask_to_rle
from anymask.video.hypotheses import (
    REACH,
    Candidate,
    MemoryPath,
    arrays_to_paths,
    choose_candidates,
    continue_paths,
    paths_to_arrays,
    revised_masks,
)
from anymask.video.tracker import FrameMask


def spot(place: int) -> Rle:
    mask = np.zeros((2, 8), np.bool_)
    mask[0, place] = True
    return mask_to_rle(mask)


def candidates(
    paths: list[MemoryPath], qualities: list[list[float]], there: float = 5.0, least: float = 0.0
) -> list[Candidate]:
    """Rows as a model gives them: the masks of the first path, then those of the second."""
    rows = [
        (path, one) for path, given in zip(paths, qualities, strict=True) for one in given
    ]  # fmt: skip
    return [
        Candidate(path, row, one, there, there > 0 and one >= least)
        for row, (path, one) in enumerate(rows)
    ]


def rows_of(chosen: tuple[Candidate, ...]) -> list[int]:
    return [one.row for one in chosen]


def follow(
    paths: tuple[MemoryPath, ...], frame: int, qualities: list[list[float]], most: int = 2
) -> tuple[MemoryPath, ...]:
    """One frame; the mask of row r is a spot at r, the bank the list of rows so far."""
    chosen = choose_candidates(candidates(list(paths), qualities), most)
    masks = [FrameMask(frame, spot(one.row), 1.0, one.quality) for one in chosen]
    return continue_paths(chosen, masks, [[*one.path.bank, one.row] for one in chosen])


def test_the_best_sums_of_logarithms_live_on() -> None:
    """0.9 * 0.5 = .45, 0.9 * 0.6 = .54, 0.8 * 0.7 = .56, 0.8 * 0.2 = .16"""
    paths = [MemoryPath(None, np.log(0.9)), MemoryPath(None, np.log(0.8))]
    chosen = choose_candidates(candidates(paths, [[0.5, 0.6], [0.7, 0.2]]), 3)
    assert rows_of(chosen) == [2, 1, 0]
    assert np.exp([one.total for one in chosen]) == pytest.approx([0.56, 0.54, 0.45])


def test_where_nothing_is_sure_paths_have_different_masks() -> None:
    path = [MemoryPath(None)]
    alike = [[0.801, 0.799, 0.5]]
    assert rows_of(choose_candidates(candidates(path, alike, there=1.9), 2)) == [0, 2]
    assert rows_of(choose_candidates(candidates(path, alike, there=2.0), 2)) == [0, 1]
    assert rows_of(choose_candidates(candidates(path, alike, there=-2.0), 2)) == [0]


def test_a_path_that_remembers_nothing_goes_on_once() -> None:
    paths = [MemoryPath("one"), MemoryPath("other", -0.1)]
    hidden = candidates(paths, [[0.3, 0.6, 0.5], [0.6, 0.2, 0.4]], there=-9.0)
    assert rows_of(choose_candidates(hidden, 3)) == [1, 3]
    poor = candidates(paths, [[0.3, 0.6, 0.5], [0.6, 0.2, 0.4]], least=0.55)
    assert rows_of(choose_candidates(poor, 6)) == [1, 3, 2, 5]


def test_a_worse_mask_that_is_followed_better_leads_in_the_end() -> None:
    paths: tuple[MemoryPath, ...] = (MemoryPath([]),)
    paths = follow(paths, 1, [[0.8, 0.7, 0.1]])
    assert [path.bank for path in paths] == [[0], [1]]
    assert [path.total for path in paths] == pytest.approx([0, np.log(0.7 / 0.8)])
    before, parent = paths
    paths = follow(paths, 2, [[0.5, 0.4, 0.1], [0.9, 0.3, 0.1]])
    assert [path.bank for path in paths] == [[1, 3], [0, 0]]
    assert [one.rle for one in revised_masks(before, parent)] == [spot(1)]
    assert [[one.rle for one in path.past] for path in paths] == [
        [spot(1), spot(3)],
        [spot(0), spot(0)],
    ]
    # Both go on from the leader: what it says of the first two frames is settled.
    paths = follow(paths, 3, [[0.9, 0.8, 0.1], [0.1, 0.1, 0.1]])
    assert [path.bank for path in paths] == [[1, 3, 0], [1, 3, 1]]
    assert [[one.frame for one in path.past] for path in paths] == [[3], [3]]
    assert revised_masks(paths[0], paths[0]) == ()


def test_masks_long_past_are_settled() -> None:
    paths: tuple[MemoryPath, ...] = (MemoryPath([]),)
    paths = follow(paths, 1, [[0.8, 0.8, 0.1]])
    for frame in range(2, 200):
        paths = follow(paths, frame, [[0.9, 0.1, 0.1], [0.9, 0.1, 0.1]])
    first = 200 - REACH
    assert [[one.frame for one in path.past] for path in paths] == [[*range(first, 200)]] * 2
    assert [path.total for path in paths] == [0, 0]  # of two alike, not of their two hundred frames


def test_paths_are_saved() -> None:
    paths: tuple[MemoryPath, ...] = follow((MemoryPath([]),), 1, [[0.8, 0.7, 0.1]])
    arrays = paths_to_arrays([(path, {"tracked/1/tokens": np.ones(3)}) for path in paths])
    assert all(isinstance(one, np.ndarray) for one in arrays.values())
    again = arrays_to_paths(arrays)
    assert [(path.total, path.past) for path, _ in again] == [
        (path.total, path.past) for path in paths
    ]
    assert [list(bank) for _, bank in again] == [["tracked/1/tokens"]] * 2
