"""The command convert: nothing is lost silently."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.cli.main import main
from anymask.formats import AnnotatedImage, read_annotations, write_annotations
from anymask.formats.registry import FORMATS
from anymask.masks import Mask, mask_to_rle
from tests.formats.annotated import pixels, rings


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_annotations([rings()], tmp_path / "in", "sa1b")
    return tmp_path / "in"


def test_a_lossless_way_says_so(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = source.parent / "coco.json"
    assert main(["convert", str(source), str(target), "--to", "coco", "--strict"]) == 0
    assert capsys.readouterr().err == (
        f"Converted 1 image (4 masks) from sa1b to coco without losses: {target}\n"
    )
    (image,), _ = read_annotations(target)
    assert pixels(image) == pixels(rings())


def test_losses_are_printed_and_written(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target, listed = source.parent / "yolo", source.parent / "lost.json"
    words = ["convert", str(source), str(target), "--to", "yolo", "--json", str(listed)]
    assert main(words) == 0
    out = capsys.readouterr().err.splitlines()
    assert out[0] == "Not stored in yolo: holes (1 time), first: rings.png, mask 0: 1 hole bridged"
    assert out[-2].startswith("Converted 1 image (4 masks) from sa1b to yolo: ")
    assert out[-1] == f"wrote {listed}"
    document = json.loads(listed.read_text())
    assert (document["from"], document["to"], document["masks"]) == ("sa1b", "yolo", 4)
    assert document["counts"] == {"holes": 1, "parts": 1, "empty": 1}
    assert document["losses"][0] == {
        "kind": "holes",
        "image": "rings.png",
        "mask": 0,
        "reason": "1 hole bridged",
    }


def test_strict_writes_nothing_when_something_is_lost(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = source.parent / "yolo"
    assert main(["convert", str(source), str(target), "--to", "yolo", "--strict"]) == 2
    assert "3 items would be lost, for example: holes. Nothing was" in capsys.readouterr().err
    assert not target.exists()


def test_the_file_that_is_read_is_not_written_over(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (source / "rings.json").read_bytes()
    words = [str(source / "rings.json"), str(source), "--to", "labelme"]
    assert main(["convert", *words]) == 2
    assert "rings.json' is also an input" in capsys.readouterr().err
    assert (source / "rings.json").read_bytes() == before


def test_options_reach_the_writer(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["convert", str(source), str(source.parent / "y"), "--to", "yolo", "--holes", "error"]
    assert main(words) == 2
    assert "rings.png, mask 0: The mask has 1 hole" in capsys.readouterr().err
    assert main([*words[:-1], "drop", "--parts", "split", "--tolerance", "1"]) == 0
    assert "2 parts became separate objects" in capsys.readouterr().err


def test_help_lists_the_formats(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "--help-all"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in FORMATS)


@pytest.mark.parametrize("target", ["coco", "label-png", "sa1b"])
def test_runs_whose_sum_leaves_64_bits_are_named_not_decoded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    runs = [2**62, 2**62, 2**62, 2**62 + 64 * 64]
    mask = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0,
            "segmentation": {"size": [64, 64], "counts": runs}}  # fmt: skip
    document = {
        "images": [{"id": 1, "file_name": "a.png", "height": 64, "width": 64}],
        "annotations": [mask],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "x.json").write_text(json.dumps(document))
    words = ["convert", str(tmp_path / "x.json"), str(tmp_path / "out"), "--to", target]
    assert main(words) == 2
    assert "longer than the whole image (H * W = 4096)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "form"),
    [
        (["out.xml"], "cvat"),
        (["out.json"], "coco"),
        (["out.geojson"], "geojson"),
        (["out.svg"], "svg"),
        (["out.PNG"], "label-png"),
        (["yolo"], "yolo"),
        (["VOC"], "voc"),
        (["o", "--to", "YOLO"], "yolo"),
        (["o", "--to", "Pascal_VOC"], "voc"),
        (["o", "--to", "ultralytics", "--from", "SA1B"], "yolo"),
    ],
)
def test_the_format_is_inferred_and_its_case_does_not_matter(
    source: Path,
    words: list[str],
    form: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(source.parent)
    assert main(["convert", "in", *words]) == 0
    assert f"sa1b to {form}" in capsys.readouterr().err


def test_a_target_that_says_nothing_is_told_with_the_formats(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(source), str(source.parent / "out")]) == 2
    assert "is unknown. Pass one, with --to" in capsys.readouterr().err
    assert main(["convert", str(source), "out", "--to", "yollo"]) == 2
    assert "Unknown format 'yollo'. Did you mean 'yolo'? Choose" in capsys.readouterr().err


def test_how_masks_were_made_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = Mask(mask_to_rle(np.eye(6, dtype=bool)), score=0.5, stability=0.5)
    record = replace(record, points=((1.0, 1.0),))
    image = AnnotatedImage(file_name="a.png", hw=(6, 6), masks=(replace(record, label="cat"),))
    write_annotations([image], tmp_path / "in", "sa1b")
    assert main(["convert", str(tmp_path / "in"), str(tmp_path / "voc")]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Not stored in voc: scores, stability, clicks"
    assert len(lines) == 2


def test_a_yolo_set_is_written_with_its_photos(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (12, 9)).save(source / "rings.png")
    target = source.parent / "set"
    words = ["convert", str(source), str(target), "--to", "yolo", "--copy-images"]
    assert main(words) == 0
    assert (target / "images" / "rings.png").read_bytes() == (source / "rings.png").read_bytes()
    assert (target / "labels" / "rings.txt").is_file()
    images, _ = read_annotations(target)
    assert len(images) == 1
    words = ["convert", str(source), str(target / "a.json"), "--to", "coco", "--copy-images"]
    assert main(words) == 2
    assert "--copy-images requires --to set or --to yolo, but" in capsys.readouterr().err


def test_a_gray_photo_is_no_picture_of_object_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, numbers, out = tmp_path / "photo.png", tmp_path / "numbers.png", tmp_path / "out.json"
    Image.open(anymask.sample("coffee")).convert("L").save(photo)
    assert main(["convert", str(photo), str(out)]) == 2
    told = capsys.readouterr().err
    assert "appears to be a photo" in told
    assert "To read it as a mask image, add --from" in told
    assert told.count("\n") == 1
    assert not out.exists()
    chosen = ["--from", "label-png", "--mask-values", "labels"]
    assert main(["convert", str(photo), str(out), *chosen]) == 0
    many = np.arange(300, dtype=np.uint16).reshape(15, 20).repeat(9, axis=0).repeat(9, axis=1)
    Image.fromarray(many).save(numbers)
    assert main(["convert", str(numbers), str(out)]) == 0
    assert len(json.loads(out.read_text("utf-8"))["annotations"]) == 299


@pytest.mark.parametrize(
    ("turn", "told"),
    [(1, "Use the image on which the masks were"), (6, "The image has an EXIF rotation")],
)
def test_photos_of_another_size_are_not_put_beside_masks(
    turn: int, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A JSON's sizes are often those of the stored pixels, without the turn of the EXIF tag."""
    mask = Mask(mask_to_rle(np.ones((6, 8), bool)))
    write_annotations(
        [AnnotatedImage(file_name="a.jpg", hw=(6, 8), masks=(mask,))], tmp_path / "a.json", "coco"
    )
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.new("RGB", (8, 6) if turn > 1 else (9, 6)).save(tmp_path / "a.jpg", exif=exif)
    words = ["convert", str(tmp_path / "a.json"), str(tmp_path / "set"), "--copy-images"]
    assert main([*words, "--to", "set"]) == 2
    error = capsys.readouterr().err
    assert "The masks were drawn on an image of 8 x 6 pixels, but the image file has" in error
    assert not (tmp_path / "set").exists()  # nor half of it
    assert told in error


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"images": [], "annotation": []}, 'It has "images", "annotation".'),
        ([{"tasks": {}, "annotations": []}], 'Its records have "tasks", "annotations".'),
        ({}, "It has no keys."),
    ],
)
def test_the_keys_of_unknown_json_are_named(
    tmp_path: Path, document: object, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.json").write_text(json.dumps(document))
    assert main(["convert", str(tmp_path / "x.json"), str(tmp_path / "o.xml")]) == 2
    assert told in capsys.readouterr().err
