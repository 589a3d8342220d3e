"""Class lists: names, order and ids of the source come through every format that has a list."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.cli.main import main
from tests.conftest import CommandLine

CATEGORIES = {"person": 1, "bicycle": 2, "car": 4, "airplane": 18}
SPLITS = {"train": ["person", "bicycle", "car"], "val": ["airplane"], "test": ["car", "person"]}
TARGETS = {
    "coco": "o.json", "coco-polygon": "o.json", "coco-panoptic": "o.json", "yolo": "yolo",
    "cvat": "o.xml", "voc": "voc", "label-studio": "o.json", "label-studio-polygon": "o.json",
    "set": "set",
}  # fmt: skip


def write(path: Path, used: list[str], categories: dict[str, int] = CATEGORIES) -> Path:
    rows = [
        {
            "id": n, "image_id": 1, "category_id": categories[name],
            "segmentation": [[20 * n, 5, 20 * n + 9, 5, 20 * n + 9, 15, 20 * n, 15]],
        }
        for n, name in enumerate(used, start=1)
    ]  # fmt: skip
    images = [{"id": 1, "file_name": "a.png", "width": 100, "height": 60}]
    names = [{"id": number, "name": name} for name, number in categories.items()]
    document = {"images": images, "annotations": rows, "categories": names}
    path.write_text(json.dumps(document))
    return path


def listed(path: Path) -> dict[str, int]:
    return {row["name"]: row["id"] for row in json.loads(path.read_text())["categories"]}


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("form", TARGETS)
def test_a_list_comes_through_and_back(form: str, split: str, tmp_path: Path) -> None:
    source = write(tmp_path / f"{split}.json", SPLITS[split])
    there = tmp_path / TARGETS[form]
    anymask.convert(source, there, form)
    if form == "yolo":
        (there / "images").mkdir()
        Image.new("L", (100, 60)).save(there / "images" / "a.png")
    anymask.convert(there, tmp_path / "back.json", "coco", format=form)
    found = listed(tmp_path / "back.json")
    assert [*found] == [*CATEGORIES]
    if form.startswith("coco"):
        assert found == CATEGORIES
    (image,) = anymask.read(tmp_path / "back.json")
    assert [mask.label for mask in image.masks] == SPLITS[split]


@pytest.mark.parametrize("form", TARGETS)
def test_ids_with_gaps_that_are_not_kept_are_named(form: str, tmp_path: Path) -> None:
    source = write(tmp_path / "a.json", ["car"])
    report = anymask.convert(source, tmp_path / TARGETS[form], form)
    told = [line for line in report.notes if "class ids 1 to 18" in line]
    assert len(told) == (not form.startswith("coco"))
    source = write(tmp_path / "b.json", ["car"], {"person": 1, "car": 2})
    assert not anymask.convert(source, tmp_path / f"b-{TARGETS[form]}", form).notes


def test_a_file_fixes_the_list(tmp_path: Path, cli: CommandLine) -> None:
    source = write(tmp_path / "a.json", ["car", "person"])
    (tmp_path / "classes.txt").write_text("dog\ncar\n\nperson\n")
    words = ["convert", str(source), str(tmp_path / "o.json")]
    assert main([*words, "--classes", str(tmp_path / "classes.txt")]) == 0
    assert listed(tmp_path / "o.json") == {"dog": 1, "car": 2, "person": 3}
    anymask.convert(source, tmp_path / "p.json", classes=["person", "car"])
    assert listed(tmp_path / "p.json") == {"person": 1, "car": 2}
    (tmp_path / "classes.txt").write_text("dog\ndog\n")
    assert "Expected one class name per line, each once" in cli.refused(
        [*words, "--classes", str(tmp_path / "classes.txt")]
    )


def test_lists_that_differ_are_merged_and_told(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "a.json", ["person"], {"person": 1, "car": 2})
    write(folder / "b.json", ["car"], {"car": 1, "dog": 2})
    report = anymask.convert(folder, tmp_path / "o.json", format="coco")
    assert [*listed(tmp_path / "o.json")] == ["person", "car", "dog"]
    assert any(line.startswith("Class lists differ") for line in report.lines())
    same = tmp_path / "same"
    same.mkdir()
    write(same / "a.json", ["person"])
    write(same / "b.json", ["car"])
    report = anymask.convert(same, tmp_path / "p.json", format="coco")
    assert listed(tmp_path / "p.json") == CATEGORIES
    assert not report.notes


def learned(folder: Path, name: str, used: list[str], categories: dict[str, int]) -> Path:
    """Five images, each with a mask of each of these labels."""
    images, rows = [], []
    for n in range(5):
        pixels = np.random.default_rng(n + 10 * ord(name[0])).integers(
            0, 255, (60, 100, 3), np.uint8
        )
        (folder / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "images" / f"{name}{n}.png")
        about = {"id": n, "file_name": f"{name}{n}.png", "width": 100, "height": 60}
        images.append(about)
        rows += [
            {
                "id": len(rows) + k, "image_id": n, "category_id": categories[label],
                "segmentation": [[20 * k, 5, 20 * k + 9, 5, 20 * k + 9, 15, 20 * k, 15]],
            }
            for k, label in enumerate(used)
        ]  # fmt: skip
    names = [{"id": number, "name": label} for label, number in categories.items()]
    licences = [{"id": 1, "name": "CC BY 4.0"}]
    document = {"images": images, "annotations": rows, "categories": names, "licenses": licences}
    (folder / f"{name}.json").write_text(json.dumps(document))
    return folder / f"{name}.json"


def test_a_fine_tuning_keeps_the_order_and_tells_lists_that_differ(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from anymask.training.classes import class_names
    from anymask.training.finetune_recipe import parse_classes
    from anymask.training.tuning_data import prepare

    train = learned(tmp_path, "t", ["person", "car"], CATEGORIES)
    val = learned(tmp_path, "v", ["car"], {"car": 1, "person": 2})
    report = prepare(anymask.read(train), anymask.read(val), tmp_path / "run")
    assert report.classes == [*CATEGORIES]
    assert [line for line in report.lines() if line.startswith("Class lists differ")]
    assert report.licences() == ["CC BY 4.0"]
    assert class_names(["car", "person"], None, report.classes) == ("person", "car")
    (tmp_path / "c.txt").write_text("car\nperson\n")
    assert parse_classes(str(tmp_path / "c.txt")) == ["car", "person"]
    same = prepare(anymask.read(train), None, tmp_path / "again")
    assert not [line for line in same.lines() if line.startswith("Class lists differ")]


def test_a_project_keeps_the_list_from_import_to_export(tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    source = learned(tmp_path / "photos", "t", ["car", "person"], CATEGORIES)
    labels = source.rename(tmp_path / "labels.json")
    assert main(["project", "init", str(tmp_path / "photos" / "images")]) == 0
    project = anymask.Project(tmp_path / "photos" / "images")
    try:
        project.add_folder()
        project.import_masks(labels)
        project.export(tmp_path / "o.json", "coco", only="labeled")
        project.export(tmp_path / "p.json", "coco", only="labeled", classes=("dog", "car"))
    finally:
        project.close()
    assert [*listed(tmp_path / "o.json")] == [*CATEGORIES]
    fixed = ["dog", "car", "person", "bicycle", "airplane"]
    assert [*listed(tmp_path / "p.json")] == fixed
