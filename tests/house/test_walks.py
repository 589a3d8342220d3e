"""A task runs through few files, so that a reader can follow it.

A walk is the set of the package's files whose functions run for one task, the second time it runs.
The bars are what was reached; lower a bar with the change that shortens its walk.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.images import sample

PACKAGE = Path(anymask.__file__).parent
BARS = {"everything": 16, "features": 11, "segment": 14, "click": 16, "command": 31, "convert": 20}


class Walk:
    """Files whose functions run while `on`, in this thread and in those that start later."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.on = False

    def note(self, frame: FrameType, event: str, _: Any) -> None:
        if (
            self.on and event == "call" and frame.f_code.co_name != "<module>"
            and threading.current_thread().name != "anymask-video-ends"  # ticks at any time
        ):  # fmt: skip
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(PACKAGE):
                self.files.add(path.relative_to(PACKAGE).as_posix())

    @contextmanager
    def recorded(self) -> Iterator[None]:
        self.on = True
        try:
            yield
        finally:
            self.on = False

    def check(self, task: str) -> None:
        """Fail if a task runs through more files than its bar."""
        assert self.files, "nothing ran"
        if len(self.files) > BARS[task]:
            listed = "\n".join(sorted(self.files))
            pytest.fail(
                f"{task}: {len(self.files)} files, at most {BARS[task]}\n{listed}", pytrace=False
            )


@pytest.fixture
def walk() -> Iterator[Walk]:
    found, before = Walk(), sys.getprofile()
    threading.setprofile(found.note)
    sys.setprofile(found.note)
    yield found
    sys.setprofile(before)
    threading.setprofile(None)  # removes it


@pytest.fixture(scope="module")
def model() -> anymask.Model:
    return anymask.load("nano")


def test_everything_of_an_embedding(walk: Walk, model: anymask.Model) -> None:
    features = model.encode(sample("cat"))
    model.everything(features, grid=8)
    with walk.recorded():
        assert model.everything(features, grid=8)
    walk.check("everything")


def test_a_click_on_an_embedding(walk: Walk, model: anymask.Model) -> None:
    features = model.encode(sample("cat"))
    model.segment(features, points=[(200, 150)])
    with walk.recorded():
        model.segment(features, points=[(200, 150)])
    walk.check("features")


def test_a_click_on_an_array(walk: Walk, model: anymask.Model) -> None:
    photo = np.array(Image.open(sample("cat")).convert("RGB"))
    model.segment(photo, points=[(200, 150)])
    with walk.recorded():
        model.segment(photo, points=[(200, 150)])
    walk.check("segment")


def test_a_click_over_http(walk: Walk, model: anymask.Model) -> None:
    pytest.importorskip("fastapi")
    from tests.studio.servers import client, inference

    with client(inference(lambda: model)) as http:
        seen = http.post("/api/encode", content=sample("cat").read_bytes())
        body = {"image": seen.headers["x-image-hash"], "points": [[200, 150]]}
        http.post("/api/segment", json=body)
        with walk.recorded():
            assert http.post("/api/segment", json=body).status_code == 200
    walk.check("click")


def test_the_command_segment(walk: Walk, tmp_path: Path) -> None:
    from anymask.cli.main import main

    words = ["segment", str(sample("cat")), "--point", "200,150", "--model", "nano", "-o"]
    main([*words, str(tmp_path / "a.png")])
    with walk.recorded():
        main([*words, str(tmp_path / "b.png")])
    walk.check("command")


def test_a_conversion_from_coco_to_yolo(walk: Walk, tmp_path: Path) -> None:
    from anymask.formats import convert

    ring = [4.0, 4.0, 20.0, 4.0, 20.0, 20.0, 4.0, 20.0]
    entry = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [ring], "area": 256}
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 32, "height": 24}],
        "annotations": [entry | {"bbox": [4, 4, 16, 16], "iscrowd": 0}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    source = tmp_path / "a.json"
    source.write_text(json.dumps(document), "utf-8")
    Image.new("RGB", (32, 24)).save(tmp_path / "a.png")
    convert(source, tmp_path / "one", to="yolo")
    with walk.recorded():
        convert(source, tmp_path / "two", to="yolo")
    assert list((tmp_path / "two").rglob("*.txt"))
    walk.check("convert")
