"""The calls of one click between the rooms of the package."""

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import anymask
from tests.house.gates import ROOMS

PACKAGE = Path(anymask.__file__).parent
Call = tuple[str, str]  # the file of the caller and the file that is called


def traced_calls(work: Callable[[], Any]) -> list[Call]:
    """Every call from one file of the package to another one, while some work is done."""
    calls = []

    def place(frame: FrameType | None) -> str | None:
        path = None if frame is None else Path(frame.f_code.co_filename)
        return path.relative_to(PACKAGE).as_posix() if path and PACKAGE in path.parents else None

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and (called := place(frame)):
            caller = frame.f_back
            while caller is not None and place(caller) is None:  # through Python's own files
                caller = caller.f_back
            calls.append((place(caller) or "", called))

    gc.disable()  # it calls the ends of abandoned generators from wherever it runs
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return [(caller, called) for caller, called in calls if caller != called]


@pytest.fixture(scope="module")
def model() -> anymask.Model:
    return anymask.load()


def test_a_click_goes_only_down_but_for_a_decoder_that_is_handed_down(
    model: anymask.Model,
) -> None:
    features = model.encode(anymask.sample("cat"))
    calls = traced_calls(lambda: model.segment(features, points=[(200, 150)]))
    rooms = {tuple(name.partition("/")[0] for name in call) for call in calls if call[0]}
    climbs = {(low, high) for low, high in rooms if low != high and high not in ROOMS[low]}
    assert climbs == {("masks", "runtime")}  # the decoder
