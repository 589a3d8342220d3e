"""A killed search for everything goes on where it was, and finds what an unbroken one finds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anymask.masks import Mask, mask_to_rle
from anymask.segment import Model, SearchLog
from anymask.segment.everything.grid import Observation
from anymask.segment.everything.log import LoggedBatch
from tests.segment.fakes import ColorRuntime, discs

IMAGE, _ = discs((180, 240), [(60, 90, 40), (180, 90, 44), (120, 20, 9)])
LOW = {"score": 0.3, "stability": 0.3, "points_per_batch": 16}
SETTINGS: dict[str, dict[str, Any]] = {
    "exact": {"mode": "exact", "grid": 12},
    "adaptive": {"mode": "adaptive", "grid": 24},
    "crops": {"mode": "exact", "grid": 6, "crop_n_layers": 1},
    "tiles": {"mode": "adaptive", "grid": 12, "tile": 120},
}


class Killed(BaseException):
    """What ends a search."""


def killed_after(steps: int) -> Any:
    told: list[int] = []

    def progress(done: int, total: int) -> None:
        told.append(done)
        if len(told) == steps:
            raise Killed

    return progress


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_killed_search_goes_on_and_finds_the_same(kind: str, tmp_path: Path) -> None:
    settings = LOW | SETTINGS[kind]
    runtime = ColorRuntime()
    model = Model(runtime)
    whole = model.everything(IMAGE, **settings)
    calls = len(runtime.calls)
    place = tmp_path / "search"
    for _ in range(2):  # killed twice
        log = SearchLog(place, {"what": kind})
        with pytest.raises(Killed):
            model.everything(IMAGE, progress=killed_after(2), log=log, **settings)
    assert place.is_file()
    runtime.calls.clear()
    log = SearchLog(place, {"what": kind})
    again = model.everything(IMAGE, log=log, **settings)
    assert [r.to_sa1b() for r in again] == [r.to_sa1b() for r in whole]
    assert len(runtime.calls) < calls


def test_a_log_of_another_search_is_begun_anew(tmp_path: Path) -> None:
    batch = LoggedBatch([Mask(mask_to_rle(np.eye(5, dtype=bool)), score=0.1)], [])
    log = SearchLog(tmp_path / "log", {"points": 1})
    log.keep("a", batch)
    assert SearchLog(tmp_path / "log", {"points": 2}).recall("a") is None
    assert SearchLog(tmp_path / "log", {"points": 1}).recall("b") is None
    assert SearchLog(tmp_path / "log", {"points": 1}).recall("a") == batch


def test_a_lesson_comes_back_bit_by_bit(tmp_path: Path) -> None:
    on = np.random.default_rng(0).random(37) < 0.4
    log = SearchLog(tmp_path / "log", {})
    log.keep("a", LoggedBatch([], [Observation(on, 5, 1 / 3, 0.1)]))
    (lesson,) = SearchLog(tmp_path / "log", {}).recall("a").observations
    np.testing.assert_array_equal(lesson.on, on)
    assert (lesson.place, lesson.value, lesson.area) == (5, 1 / 3, 0.1)
