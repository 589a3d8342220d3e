"""The walk of one click through the files of the package, as `docs/design.md` tells it."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import anymask
from tests.house.gates import ROOMS

PACKAGE = Path(anymask.__file__).parent
DESIGN = (Path(__file__).resolve().parents[2] / "docs/design.md").read_text("utf-8")
# They read what the caller said, or guard a runtime; the answer does not pass through them.
BESIDE = {
    *(f"predictors/{name}.py" for name in ("keywords", "requests", "settings", "granularity")),
    *(f"runtimes/{name}.py" for name in ("protocol", "manifest", "failures")),
}

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

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return [(caller, called) for caller, called in calls if caller != called]


@pytest.fixture(scope="module")
def calls() -> list[Call]:
    model = anymask.load()
    seen = model.encode(anymask.load_image(anymask.sample("cat")))
    model.segment(seen, points=[(200, 150)])  # opens the sessions
    return traced_calls(lambda: model.segment(seen, points=[(200, 150)]))


def test_a_click_is_answered_in_the_eight_files_that_the_document_names(calls: list[Call]) -> None:
    named = re.search(r"A click on an embedding is answered in eight files: (.*?) \(", DESIGN, re.S)
    assert named is not None
    files = set(re.findall(r"`([\w/]+\.py)`", named[1]))
    assert len(files) == 8
    entered = {called for _, called in calls if not called.startswith("primitives/")}
    assert entered - BESIDE == files


def test_a_click_goes_only_down_but_for_two_functions_that_are_handed_down(
    calls: list[Call],
) -> None:
    floors = {tuple(name.partition("/")[0] for name in call) for call in calls if call[0]}
    climbs = {(low, high) for low, high in floors if low != high and high not in ROOMS[low]}
    decoder, check_of_a_setting = ("families", "runtimes"), ("primitives", "predictors")
    assert climbs == {decoder, check_of_a_setting}
