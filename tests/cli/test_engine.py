"""`anymask project`: from photos to an export, and what it says on mistakes."""

from pathlib import Path

import pytest
from PIL import Image

from anymask.cli.main import main
from anymask.formats import AnnotatedImage, read_annotations, write_annotations
from anymask.masks import Mask, mask_to_rle
from anymask.studio.project import Project
from tests.segment.fakes import discs

PLACES = [(30.0, 34.0, 18.0), (92.0, 40.0, 22.0), (60.0, 96.0, 20.0)]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of two photos, and their masks as COCO beside it."""
    folder = tmp_path / "photos"
    folder.mkdir()
    image, masks = discs((128, 128), PLACES)
    kept = tuple(Mask(mask_to_rle(mask), "disc") for mask in masks)
    known = []
    for name in ("a.png", "b.png"):
        Image.fromarray(image).save(folder / name)
        known.append(AnnotatedImage(file_name=name, hw=(128, 128), masks=kept))
    write_annotations(known, tmp_path / "truth.json", "coco")
    return folder


def said(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> str:
    assert main([str(word) for word in words]) == code
    out, err = capsys.readouterr()
    return err if code else out + err


def test_masks_go_in_and_come_out(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "with 2 images" in said(capsys, "project", "init", images, "--set", "sample=2")
    truth, out = images.parent / "truth.json", images.parent / "out.json"
    assert said(capsys, "project", "import", images, truth, "--proposals") == "6 new masks\n"
    assert said(capsys, "project", "import", images, truth, "--proposals") == (
        "0 new masks\nskipped, already in the project: 6 masks\n"
    )
    refused = said(capsys, "project", "export", images, "-o", out, code=2)
    assert (
        "of 2 images, none is marked as done, 0 have accepted masks, and 2 masks or proposals"
        in refused
    )
    assert not out.exists()
    project = Project(images)
    for _ in range(4):
        asked = project.next_review()
        assert asked is not None
        project.judge(asked, "accept", "ann")
    told = said(capsys, "project", "review", images, "--accept-rest")
    assert "batch 1: 6 masks, 2 of 2 required masks reviewed, 100 % good (2 uncertain" in told
    assert "do not count): acceptance rule met" in told
    assert "accepted 2 more masks" in told
    assert "wrote" in said(capsys, "project", "export", images, "-o", out)
    other_images, _ = read_annotations(out)
    assert [len(image.masks) for image in other_images] == [3, 3]


def test_a_search_counts_its_classes(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "project", "init", images)
    like = ("--like", f"{images / 'a.png'}@box:70,18,114,62", "--model", "nano")
    told = said(capsys, "project", "find", images, *like, "--label", "disc")
    assert "2 images, 6 proposals (disc 6); " in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("project", "report", "."), "is not a project. Create one with: anymask project init ."),
        (("project", "init", "absent"), "'absent' is not a folder"),
        (("project", "init", ".", "--set", "sample"), "--set requires NAME=NUMBER"),
        (("project", "init", ".", "--set", "speed=1"), "Unknown setting 'speed'"),
        (("project", "init", ".", "--set", "good_iuo=1"), "Did you mean 'good_iou'?"),
        (("project", "init", ".", "--set", "good_iou=2"), "good_iou must be a number from 0 to 1"),
        (
            ("project", "init", ".", "--set", "good_share=9"),
            "good_share must be a number from 0 to",
        ),
        (
            ("project", "init", ".", "--set", "confident=70"),
            "confident must be a number from 0 to ",
        ),
        (("project", "init", ".", "--set", "score=2"), "score must be a number from 0"),
        (("project", "init", ".", "--set", "held_out=1"), "held_out must be a number, 0 or more a"),
        (
            ("project", "init", ".", "--set", "batch=0"),
            "batch must be a whole number of at least 1",
        ),
        (
            ("project", "init", ".", "--set", "sample=1.5"),
            "sample must be a whole number of at lea",
        ),
        (
            ("project", "init", ".", "--set", "crop_n_layers=40"),
            "crop_n_layers must be a whole numbe",
        ),
        (("project", "init", ".", "--groups", "x.csv"), "x.csv: Cannot be read (No such file"),
    ],
)
def test_mistakes_are_sentences(
    words: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("a.png")
    assert message in said(capsys, *words, code=2)
