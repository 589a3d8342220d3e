"""`anymask segment` as a user calls it, on a model whose answers are known."""

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.cli.main import main
from anymask.segment import Model
from tests.conftest import CommandLine
from tests.segment.fakes import ColorRuntime, discs, drawn, iou

IMAGE, (LEFT, RIGHT) = discs((200, 300), [(90, 100, 70), (240, 100, 20)])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a photo, where the model is a fake."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(anymask, "load", lambda *_, **__: Model(ColorRuntime()))
    Image.fromarray(IMAGE).save("photo.png")
    return tmp_path


def npy(*words: str) -> np.ndarray:
    """The mask that a command line gives."""
    assert main(["segment", "photo.png", *words, "-o", "mask.npy"]) == 0
    return np.load("mask.npy")


def test_a_click_gives_a_cut_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", "photo.png", "--point", "90,100", "-o", "cut.png"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("score 0.86, ")
    assert told.err == "wrote cut.png\n"
    with Image.open("cut.png") as image:
        assert image.mode == "RGBA"
        assert iou(np.asarray(image)[..., 3] > 0, LEFT) > 0.9


def test_a_violated_click_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    npy("--point", "90,100", "--point", "2,2", "--multimask", "no")
    assert "the point at 2,2 is outside the mask" in capsys.readouterr().out


def test_an_empty_mask_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.zeros_like(LEFT)).save("nothing.png")
    assert not npy("--mask", "nothing.png", "--negative", "90,100").any()
    assert "The mask is empty. Try another point" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "No prompt was passed. Add --point X,Y, --box X0,Y0,X1,Y1 or --mask"),
        (["--point", "5"], "Invalid --point X,Y '5'. Expected 2 numbers separated by commas"),
        (["--crs", "EPSG:4326", "--point", "9,47"], "--crs: Only for maps"),  # no pixel
        (["--point", "5,5", "--max-parts", "3"], "--max-parts requires --parts."),
        (
            ["--point", "5,5", "--parts", "--max-parts", "0"],
            "--max-parts must be a whole number of",
        ),
        (["--point", "5,5", "--parts", "--semantic"], "--semantic does not support prompts"),
        (
            ["--point", "9,9", "--negative", "5;6"],
            "Invalid --negative X,Y '5;6'. Expected 2 numbers separated by commas",
        ),
        (["--box", "1,2,3"], "Invalid --box X0,Y0,X1,Y1 '1,2,3'. Expected 4 numbers"),
        (["--box", "9,9,5,5"], "Expected x0 < x1 and y0 < y1"),
        (["--point", "nan,3"], "Invalid points"),
        (["--point", "300,3"], "with 0 <= x < 300 and 0 <= y < 200"),
        (["--mask", "none.png"], "File not found: 'none.png'"),
        (["--point", "5,5", "-o", "a.doc"], "Cannot write "),
        (["--point", "5,5", "--max-hole-area", "-3"], "Invalid max_hole_area"),
        (["--point", "5,5", "--granularity", "car"], "granularity must be"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_code_2(
    words: list[str], told: str, folder: Path, cli: CommandLine
) -> None:
    error = cli.refused(["segment", "photo.png", *words])
    assert error.startswith("anymask: error: ")
    assert told in error
    assert error.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["photo.png"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["photo.png", "-o", ""], "The value of -o is empty. Pass a name, or remove the option."),
        ([""], "The value of a photo is empty. Pass a name, or remove the option."),
        (["photo.png", "--json"], "Unknown option --json. To write JSON, pass -o FILE.json."),
    ],
)
def test_an_empty_name_and_json_are_told_the_right_option(
    folder: Path, cli: CommandLine, words: list[str], told: str
) -> None:
    assert cli.refused(["segment", *words, "--point", "90,100"]) == f"anymask: error: {told}\n"
    assert [path.name for path in folder.iterdir()] == ["photo.png"]


def test_a_photo_that_fails_is_named_and_the_others_are_done(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (1, 1)).save("one.png")
    piped = SimpleNamespace(buffer=io.BytesIO(Path("one.png").read_bytes()), isatty=lambda: False)
    monkeypatch.setattr("sys.stdin", piped)
    Path("none.png").write_bytes(b"")
    assert (
        main(["segment", "one.png", "none.png", "-", "photo.png", "--point", "35,40", "-o", "o/"])
        == 2
    )
    told = capsys.readouterr()
    first, second, third, wrote, last = told.err.splitlines()
    assert first.startswith("anymask: one.png: Point (35, 40) is outside the image")
    assert second.startswith("anymask: none.png: ")
    assert third.startswith("anymask: the image on standard input: Point (35, 40) is")
    assert wrote == f"wrote {Path('o/photo.cut.png')}"
    assert last.startswith("anymask: error: 3 of 4 images failed. Fix or remove them")
    assert "Traceback" not in told.err
    assert [path.name for path in Path("o").iterdir()] == ["photo.cut.png"]


def test_parts_of_each_mask_replace_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: CommandLine
) -> None:
    """A square on a disc: the mask of the box is the disc, its part is the square."""
    monkeypatch.chdir(tmp_path)
    image, disc, (square,) = drawn([(140, 100, 40)])
    Image.fromarray(image).save("disc.png")
    box = ["--box", "64,24,256,216"]
    told = cli.out(["segment", "disc.png", *box, "--parts", "--model", "nano", "-o", "parts.json"])
    found = next(iter(anymask.read("parts.json"))).masks
    assert f"{len(found)} part" in told
    assert "part 1: score" in told
    assert iou(found[0].mask, square) > 0.8
    assert all((one.mask & ~disc).sum() < 50 for one in found)
