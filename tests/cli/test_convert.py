"""The command convert: nothing is lost silently."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

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
    assert out[0] == "Not kept: holes (1 time), first: rings.png, mask 0: 1 hole bridged"
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
    assert lines[0] == "Not kept: scores, stability, clicks"
    assert len(lines) == 2


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
