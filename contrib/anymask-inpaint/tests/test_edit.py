"""`anymask edit` on a photo of a disc."""

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.cli.main import main
from anymask.segment import Model
from tests.images.test_profiles import matrix_profile, right_of
from tests.segment.fakes import ColorRuntime, discs

IMAGE, (DISC,) = discs((60, 90), [(30, 30, 20)])
CLICK = ["--point", "30,30"]


@pytest.fixture(autouse=True)
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with a photo of a disc, where the model is a fake."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(anymask, "load", lambda *_, **__: Model(ColorRuntime()))
    Image.fromarray(IMAGE).save("a.png")
    Image.new("RGB", (5, 5), (0, 255, 0)).save("green.png")


def test_a_thing_is_taken_out_and_it_says_that_pixels_are_invented(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["edit", "a.png", "--remove", *CLICK]) == 0
    assert "the area of the removed object is filled with" in capsys.readouterr().err
    changed = np.asarray(Image.open("a.edit.png")).astype(int)
    assert np.abs(changed[DISC] - IMAGE[30, 30]).mean() > 20
    np.testing.assert_array_equal(changed[:, 70:], IMAGE[:, 70:])


def test_the_short_help_shows_the_operations(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["edit", "--help"]) == 0
    short = capsys.readouterr().out
    usage, _, described = short.partition("\n\n")
    assert "IMAGE --remove|--blur|--replace FILE|--collage|--fill TEXT [" in usage
    for option in ("--remove", "--blur", "--replace FILE", "--collage", "--fill TEXT"):
        assert f"\n  {option} " in described


@pytest.mark.parametrize("how", [["--blur"], ["--replace", "green.png"], ["--collage"]])
def test_the_other_changes_write_a_picture(how: list[str]) -> None:
    alpha = np.full(IMAGE.shape[:2], 128, np.uint8)
    alpha[:, 70:] = 0
    Image.fromarray(np.dstack([IMAGE, alpha])).save("b.png")
    assert main(["edit", "b.png", *how, "--point", "30,30", "-o", "out/b.jpg"]) == 0
    assert main(["edit", "b.png", *how, "--point", "30,30", "-o", "b.webp"]) == 0
    with Image.open("out/b.jpg") as image, Image.open("b.webp") as kept:
        assert image.mode == "RGB"
        if how != ["--collage"]:
            np.testing.assert_array_equal(np.asarray(kept)[..., 3], alpha)
            assert np.abs(np.asarray(kept)[2:9, 2:9, :3].astype(int) - IMAGE[2:9, 2:9]).max() <= 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a.png", *CLICK], "required"),
        (["a.png", "--remove", "--blur", *CLICK], "--remove"),
        (["a.png", "--replace", "absent.png", *CLICK], "absent.png"),
        (["a.png", "--remove", *CLICK, "-o", "a.png"], "is also an input"),
        (["a.png", "--remove", *CLICK, "-o", "a.json"], "a.json is not an image file"),
        (["a.png", "--remove", *CLICK, "--words", "cup"], "both"),
    ],
    ids=["nothing to do", "two", "absent", "itself", "no picture", "both"],
)
def test_what_cannot_be_done_is_one_sentence(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["edit", *words]) == 2
    assert told in capsys.readouterr().err


def test_a_photo_goes_in_by_a_pipe_and_comes_out_by_one(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--blur", *CLICK]
    assert main(["edit", "a.png", *words, "-o", "wanted.png"]) == 0
    for source, more in (("-", []), ("-", ["-o", "-"]), ("a.png", ["-o", "/dev/stdout"])):
        piped = io.BytesIO(Path("a.png").read_bytes())
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=piped, isatty=lambda: False))
        capfdbinary.readouterr()
        assert main(["edit", source, *words, *more]) == 0
        assert capfdbinary.readouterr().out == Path("wanted.png").read_bytes()
    assert main(["edit", "a.png", *words, "-o", "-.jpg"]) == 0
    with Image.open(io.BytesIO(capfdbinary.readouterr().out)) as image:
        assert (image.format, image.size) == ("JPEG", (90, 60))


def test_colours_elsewhere_are_those_that_viewers_show() -> None:
    profile = matrix_profile("Display P3")
    Image.fromarray(IMAGE).save("p3.png", icc_profile=profile)
    assert main(["edit", "p3.png", "--blur", *CLICK, "-o", "b.png"]) == 0
    right = right_of(Image.fromarray(IMAGE), profile)
    changed = np.asarray(Image.open("b.png"))
    assert np.abs(changed[:, 70:].astype(int) - right[:, 70:]).max() <= 1


def test_a_scan_is_sent_to_its_own_command(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.nii").write_bytes(b"\x5c\x01\x00\x00".ljust(344, b"\0") + b"n+1\0")
    assert main(["edit", "a.nii", "--blur"]) == 2
    assert "anymask volume" in capsys.readouterr().err
