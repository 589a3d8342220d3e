"""The walk of one click over HTTP through the files of the package, counted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import anymask
from tests.studio.servers import client, inference

PACKAGE = Path(anymask.__file__).parent
CLICK = {"points": [[200, 150]]}


@contextmanager
def entered_files() -> Iterator[set[str]]:
    """The files of the package that threads enter which begin meanwhile."""
    files: set[str] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and PACKAGE in path.parents:
            files.add(path.relative_to(PACKAGE).as_posix())

    threading.setprofile(note)
    try:
        yield files
    finally:
        threading.setprofile(None)  # type: ignore[arg-type]


def test_a_click_over_http_enters_few_files() -> None:
    photo = Path(PACKAGE / "assets" / "photos" / "cat.jpg").read_bytes()
    with entered_files() as files, client(inference(anymask.load)) as http:
        seen = http.post("/api/encode", content=photo).headers["x-image-hash"]
        for _ in range(2):  # the first one opens the sessions
            files.clear()
            answer = http.post("/api/segment", json={"image": seen, **CLICK})
            assert answer.status_code == 200
        walked = sorted(files)
    assert len(walked) <= 25, walked
    assert "segment/pipeline.py" in walked
    assert "studio/model_routes.py" in walked
