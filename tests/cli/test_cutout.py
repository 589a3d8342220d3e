"""`anymask cutout` on photos and folders."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask import edit, jobs
from anymask.cli.main import main
from anymask.masks import Mask, mask_to_rle
from anymask.segment import Model
from tests.conftest import CommandLine
from tests.segment.fakes import ColorRuntime, discs

IMAGE, (DISC,) = discs((60, 90), [(30, 30, 20)])


@pytest.fixture(autouse=True)
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with two photos of a disc and one of nothing, where the model is a fake."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(anymask, "load", lambda *_, **__: Model(ColorRuntime()))

    def subject(model: Model, image: np.ndarray) -> Mask | None:
        marked = (image == IMAGE[30, 30]).all(axis=2)
        return Mask(mask_to_rle(marked), score=0.9) if marked.any() else None

    monkeypatch.setattr("anymask.edit.subject.main_subject", subject)
    monkeypatch.setattr(edit, "main_subject", subject, raising=False)
    Path("photos").mkdir()
    Image.fromarray(IMAGE).save("photos/one.png")
    Image.fromarray(IMAGE[:, ::-1].copy()).save("photos/two.png")
    Image.fromarray(np.full_like(IMAGE, 9)).save("photos/wall.png")


def alpha(path: str) -> np.ndarray:
    with Image.open(path) as image:
        assert image.mode == "RGBA"
        return np.asarray(image)[..., 3]


def names(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def test_the_main_subject_of_one_photo(cli: CommandLine) -> None:
    assert cli.err(["cutout", "photos/one.png", "--soft", "no"]) == "wrote one.cut.png\n"
    np.testing.assert_array_equal(alpha("one.cut.png") > 0, DISC)
    assert names(".") == ["one.cut.png", "photos"]
    assert main(["cutout", "photos/wall.png", "--lasso", "8,8 52,8 52,52 8,52"]) == 0


@pytest.mark.parametrize(
    ("more", "size", "mode"),
    [
        (["--box", "8,8,52,52", "-o", "x.webp"], (90, 60), "RGBA"),
        (["--point", "30,30", "--crop", "-o", "x.png"], None, "RGBA"),
        (["-o", "x.jpg"], (90, 60), "RGB"),
        (["--background", "photos/two.png", "--shadow", "-o", "x.png"], (90, 60), "RGB"),
        (["--background", "blur", "-o", "x.tif"], (90, 60), "RGB"),
    ],
    ids=["box", "crop", "white", "picture", "blur"],
)
def test_the_look_is_what_was_asked_for(
    more: list[str], size: tuple[int, int] | None, mode: str
) -> None:
    assert main(["cutout", "photos/one.png", *more]) == 0
    with Image.open(more[-1]) as image:
        assert image.mode == mode
        assert image.size == size if size else max(image.size) < 50


def test_a_pattern_names_the_suffix_of_a_folder_s_pictures() -> None:
    assert main(["cutout", "photos", "-o", "out/{name}.webp", "--soft", "no"]) == 0
    assert [name for name in names("out") if name.endswith(".webp")] == ["one.webp", "two.webp"]
    summary = jobs.run("cutout", "photos", "other", suffix=".webp", soft=False)
    assert (summary.done, summary.made) == (3, 2)
    assert Path("out/one.webp").read_bytes() == Path("other/one.webp").read_bytes()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["photos/wall.png"], "No main subject found"),
        (["photos", "-o", "x.png"], "there are several images"),
        (["photos/one.png", "-o", "x.json"], "x.json is not an image file"),
        (["photos/one.png", "-o", "photos/one.png"], "photo"),
        (["photos/one.png", "--background", "bluish"], "color"),
        (["photos/one.png", "--background", "absent.png"], "does not exist"),
        (["photos/one.png", "--margin", "3"], "crop"),
        (["photos/one.png", "--detector", "x"], "--words"),
        (["photos/one.png", "--top-k", "1"], "--like"),
        (["photos/one.png", "--box", "1,1,5,5", "--words", "cup"], "cannot be combined"),
        (["photos/one.png", "--box", "1,1,5,5", "--box", "7,7,9,9"], "one object"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_cannot_be_done_is_one_sentence(words: list[str], told: str, cli: CommandLine) -> None:
    error = cli.refused(["cutout", *words])
    assert told in error
    assert error.count("error:") == 1
