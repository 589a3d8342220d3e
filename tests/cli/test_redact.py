"""`anymask redact`: what it says, and what cannot be done."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.cli.main import main
from tests.jobs.test_redaction import FACE, finds, labels, photos  # noqa: F401 - fixtures


@pytest.mark.usefixtures("finds")
def test_the_first_run_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["redact", "photos", "--words", "face", "-o", "out"]) == 0
    told = capsys.readouterr().err
    assert "found 2 things in 3 photos; nothing is written before somebody has looked" in told
    assert "without a finding: 1 of 3 photos, listed in out-without.csv" in told
    assert "anymask redact photos --labels out-review -o out" in told
    assert "anymask project export photos -o reviewed.json" in told
    assert not Path("out").exists()
    assert main(["redact", "photos", "--labels", "out-review", "-o", "out"]) == 0
    assert "out: 2 things hidden in 3 copied photos" in capsys.readouterr().err
    assert sorted(path.name for path in Path("out").glob("*.*g")) == ["a.jpg", "wall.png"]


@pytest.mark.usefixtures("photos")
def test_one_photo_goes_into_the_working_folder() -> None:
    Image.fromarray(FACE).save("mask.png")
    words = ["redact", "photos/trip/a.png", "--labels", "mask.png", "--colour", "#00ff00"]
    assert main(words) == 0
    with Image.open("a.redacted.png") as picture:
        assert np.asarray(picture)[30, 40].tolist() == [0, 255, 0]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["photos"], "--words"),
        (["photos", "--labels", "photos"], "project export"),
        (["photos", "--labels", "absent.json"], "absent.json"),
        (["photos", "--labels", "labels.json", "-o", "photos/out"], "among the photos"),
        (["photos", "--labels", "labels.json", "--like", "x@click:1,1"], "example"),
        (["photos", "--labels", "labels.json", "--colour", "bluish"], "colour"),
        (["photos", "--labels", "labels.json", "--list", "x.txt"], ".csv or .json"),
        (["photos", "--words", "face, number plate"], "'face' (the nearest"),
        (["clip.mp4"], "--words"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
@pytest.mark.usefixtures("photos")
def test_what_cannot_be_done_is_one_sentence(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    labels("a.jpg")
    assert main(["redact", *words]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("error:") == 1
