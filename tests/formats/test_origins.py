"""Which model made a mask is told by every format: in its document, or in a file beside it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.base import DataError
from anymask.cli.main import main
from anymask.formats import AnnotatedImage, find_format, read, write_annotations
from anymask.formats.registry import FORMATS
from anymask.masks import Mask, Masks, Origin, mask_to_rle
from anymask.runtime import entry, stated_origin
from tests.conftest import CommandLine

TUNED = Origin("mine", "ab" * 32, "Apache-2.0; and the licence of your data: CC-BY-4.0")
NANO = Origin("nano", "12" * 32, "Apache-2.0", "public sets")
ONE_OWN = ("sav", "davis")  # of clips


def images() -> list[AnnotatedImage]:
    """Two photos: masks of two models and of a person, and of one model."""
    grid = np.arange(48).reshape(6, 8)
    masks = [
        Mask(mask_to_rle(grid < 8), "cup", origin=NANO),
        Mask(mask_to_rle(grid >= 40), "cup"),
        Mask(mask_to_rle((grid >= 16) & (grid < 32)), "plate", origin=TUNED),
    ]
    return [
        AnnotatedImage(file_name="a.png", hw=(6, 8), masks=Masks(masks)),
        AnnotatedImage(file_name="b.png", hw=(6, 8), masks=Masks(masks[2:])),
    ]


def add_images(folder: Path) -> None:
    (folder / "images").mkdir(parents=True)
    for image in images():
        Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(folder / "images" / image.file_name)


def told(path: Path, form: str) -> dict[str, list[tuple[str | None, Origin | None]]]:
    found = read(path, form)
    return {
        Path(image.file_name).stem: [
            (mask.label, mask.origin)
            for mask in sorted(image.masks, key=lambda one: np.flatnonzero(one.mask)[0])
        ]
        for image in found
    }


@pytest.mark.parametrize("form", sorted(set(FORMATS) - {*ONE_OWN}))
def test_origins_come_back_from_every_format(form: str, tmp_path: Path) -> None:
    target = tmp_path / f"masks{find_format(form).ending}"
    if form in ("set", "yolo", "imagej"):
        add_images(target)
    write_annotations(images(), target, form)
    found = told(target, form)
    origins = {name: [origin for _, origin in rows] for name, rows in found.items()}
    assert origins == {"a": [NANO, TUNED, None], "b": [TUNED]}
    side = list(tmp_path.rglob("*origins.jsonl"))
    assert bool(side) is (find_format(form).module not in ("sa1b", "coco", "saco"))


def test_masks_of_people_need_no_file(tmp_path: Path) -> None:
    plain = [AnnotatedImage(file_name="a.png", hw=(6, 8), masks=Masks([images()[0].masks[1]]))]
    write_annotations(plain, tmp_path / "yolo", "yolo")
    write_annotations(plain, tmp_path / "a.json", "coco")
    assert not list(tmp_path.rglob("*origins*"))
    assert "origin" not in (tmp_path / "a.json").read_text()


def test_a_side_file_of_other_masks_is_not_believed_and_a_broken_one_is_told(
    tmp_path: Path,
) -> None:
    add_images(tmp_path / "yolo")
    write_annotations(images(), tmp_path / "yolo", "yolo")
    side = tmp_path / "yolo" / "origins.jsonl"
    lines = side.read_text().splitlines()
    assert json.loads(lines[0]) == {"origin": 0} | NANO.to_json()
    assert json.loads(lines[2]) == {"image": "a.png", "masks": [0, None, 1]}
    side.write_text("\n".join([*lines[:2], '{"image": "a.png", "masks": [0]}']))
    assert all(mask.origin is None for image in read(tmp_path / "yolo") for mask in image.masks)
    side.write_text('{"image": "a.png"}\n')
    with pytest.raises(DataError, match=r"origins.jsonl: the key 'masks' is missing"):
        list(read(tmp_path / "yolo"))


def test_a_model_s_masks_say_it_from_the_answer_to_the_statistics(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cli: CommandLine
) -> None:
    model = anymask.load()
    image = anymask.sample("coffee")
    answer = model.segment(image, points=[(290, 120)])
    assert answer.best.origin == model.origin
    assert model.origin.licence == "Apache-2.0"
    assert model.origin.data.startswith("59 public sets")
    known = entry("sam_vit_b")
    assert stated_origin("sam_vit_b", known.sha256 or "").data == known.data != ""
    assert stated_origin("sam_vit_b", "other weights").licence == ""
    assert model.origin.weights == model.runtime.weights_hash
    boxes = model.segment(image, boxes=[(190, 20, 390, 220)], names=["cup"])
    boxes.write(tmp_path / "one.json", "sa1b")
    for names in (["one.json", "yolo"], ["yolo", "two.json"]):
        places = [str(tmp_path / name) for name in names]
        assert main(["convert", *places, "--images", str(Path(image).parent)]) == 0
    capsys.readouterr()
    shown = cli.out(["stats", str(tmp_path / "two.json")])
    assert "Annotation source" in shown
    assert model.origin.weights[:12] in shown
    assert "Apache-2.0" in shown
    assert "59 public sets of photos" in shown
