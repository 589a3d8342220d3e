"""Boxes that reach beyond the image: cut, with a warning for those that a user gave."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.cli.main import main
from anymask.masks import Prompt, cut_boxes
from anymask.segment import Model
from anymask.track import open_session
from tests.segment.fakes import ColorRuntime, discs

IMAGE, _ = discs((60, 90), [(30, 30, 20)])
FAR = (10, 10, 900, 900)


@pytest.fixture
def model() -> Model:
    return Model(ColorRuntime())


def test_a_box_beyond_the_image_is_told(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    for given in ({"box": FAR}, {"boxes": [FAR]}, {"prompts": [Prompt.of(box=FAR)]}):
        caplog.clear()
        model.segment(IMAGE, **given)
        (record,) = caplog.records
        assert record.message == (
            "Box 10,10,900,900 extends beyond the image of 90 x 60 pixels. "
            "The boxes are clipped to the image."
        )
    caplog.clear()
    model.segment(IMAGE, boxes=[FAR, (0, 0, 90, 60), (-9.5, 0, 9, 9)])
    assert caplog.messages[0].startswith("2 boxes (the first: 10,10,900,900) extend beyond")


@pytest.mark.parametrize("box", [(0, 0, 90, 60), (-0.5, -1, 90.9, 61), (5, 5, 9, 9)])
def test_rounding_is_not_told(
    box: tuple[float, ...], model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    model.segment(IMAGE, box=box)
    assert not caplog.records


def test_boxes_are_cut_and_those_outside_stay() -> None:
    given = [FAR, (-5, -5, 5, 5), (1, 2, 3, 4), (95, 5, 99, 9)]
    cut = cut_boxes(given, (60, 90)).tolist()
    assert cut == [[10, 10, 90, 60], [0, 0, 5, 5], [1, 2, 3, 4], [95, 5, 99, 9]]


def test_videos_and_scans_tell_it_too(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    with open_session(model, [IMAGE, IMAGE]) as session:
        session.add(0, 1, box=FAR)
    assert "Box 10,10,900,900 extends beyond the image of 90 x 60" in caplog.text


def test_the_command_line_tells_it(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(anymask, "load", lambda *_, **__: model)
    Image.fromarray(np.asarray(IMAGE)).save("p.png")
    assert main(["segment", "p.png", "--box", "10,10,900,900", "-o", "m.json"]) == 0
    assert caplog.text.count("extends beyond") == 1
