"""The command convert: nothing is lost silently."""

import json
from pathlib import Path

import pytest

from anymask.formats import write_annotations
from tests.conftest import CommandLine
from tests.formats.annotated import rings


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_annotations([rings()], tmp_path / "in", "sa1b")
    return tmp_path / "in"


def test_losses_are_printed_and_written(source: Path, cli: CommandLine) -> None:
    target, listed = source.parent / "yolo", source.parent / "lost.json"
    words = ["convert", str(source), str(target), "--to", "yolo", "--json", str(listed)]
    out = cli.err(words).splitlines()
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
    source: Path, words: list[str], form: str, monkeypatch: pytest.MonkeyPatch, cli: CommandLine
) -> None:
    monkeypatch.chdir(source.parent)
    assert f"sa1b to {form}" in cli.err(["convert", "in", *words])


def test_a_target_that_says_nothing_is_told_with_the_formats(
    source: Path, cli: CommandLine
) -> None:
    assert "is unknown. Pass one, with --to" in cli.refused(
        ["convert", str(source), str(source.parent / "out")]
    )
    assert "Unknown format 'yollo'. Did you mean 'yolo'? Choose" in cli.refused(
        ["convert", str(source), "out", "--to", "yollo"]
    )


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"images": [], "annotation": []}, 'It has "images", "annotation".'),
        ([{"tasks": {}, "annotations": []}], 'Its records have "tasks", "annotations".'),
        ({}, "It has no keys."),
    ],
)
def test_the_keys_of_unknown_json_are_named(
    tmp_path: Path, document: object, told: str, cli: CommandLine
) -> None:
    (tmp_path / "x.json").write_text(json.dumps(document))
    assert told in cli.refused(["convert", str(tmp_path / "x.json"), str(tmp_path / "o.xml")])
