"""What leaves a project, of which photos, in which folders, and with which figures."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anymask.base import InputError, page_name
from anymask.formats import SPLITS, read, read_annotations
from anymask.formats.registry import FORMATS
from anymask.masks import mask_to_rle
from anymask.studio import Draft
from anymask.studio.exchange import image_name
from anymask.studio.exports import export_archive, export_masks, split_names
from anymask.studio.options import ExportSettings, read_split
from anymask.studio.project import Project
from anymask.studio.records import Provenance
from tests.studio.disc_projects import SIDE, write_images

BY_HAND = Provenance(kind="human", tool="brush")
CLICKED = Provenance(
    kind="human", model="nano", prompts=({"points": [[40, 30], [1, 2]], "labels": [1, 0]},)
)


def block(label: str = "block", provenance: Provenance = BY_HAND, **more: object) -> Draft:
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[20:60, 30:70] = True
    return Draft(rle=mask_to_rle(mask), label=label, provenance=provenance, **more)  # type: ignore[arg-type]


def finished(project: Project, *numbers: int) -> None:
    for number in numbers:
        project.store.add_records(number, [block()], "ann")
        project.store.mark_image(number, "done", "ann")


def test_only_finished_photos_leave_unless_others_are_asked_for(
    project: Project, tmp_path: Path
) -> None:
    expected = r"of 4 images, none is marked as done, 1 have accepted masks.*only=\"labeled\""
    project.store.add_records(1, [block()], "ann")
    with pytest.raises(InputError, match=expected):
        export_masks(project, tmp_path / "a", "yolo")
    export_masks(project, tmp_path / "b", "yolo", ExportSettings(only="labeled"))
    assert [p.name for p in sorted((tmp_path / "b" / "labels").iterdir())] == ["0.txt"]
    project.store.mark_image(2, "done", "ann")  # looked at, and empty
    project.store.mark_image(1, "done", "ann")
    export_masks(project, tmp_path / "c", "yolo")
    files = {p.name: p.read_text("utf-8") for p in (tmp_path / "c" / "labels").iterdir()}
    assert set(files) == {"0.txt", "1.txt"}
    assert files["1.txt"] == ""


def test_peoples_masks_have_no_score_and_beside_clicks_stay_behind(
    project: Project, tmp_path: Path
) -> None:
    drafts = [block(), block("clicked", CLICKED, score=0.75)]
    project.store.add_records(1, drafts, "ann")
    project.store.mark_image(1, "done", "ann")
    export_masks(project, tmp_path / "out.json", "coco")
    rows = json.loads((tmp_path / "out.json").read_text("utf-8"))["annotations"]
    assert {"score", "predicted_iou", "stability_score", "point_coords"}.isdisjoint(rows[0])
    assert rows[1]["score"] == rows[1]["predicted_iou"] == 0.75
    assert rows[1]["point_coords"] == [[40.0, 30.0]]
    assert "stability_score" not in rows[1]  # the page, which made it, did not work it out
    export_masks(project, tmp_path / "sa1b", "sa1b")
    told = json.loads((tmp_path / "sa1b" / "0.json").read_text("utf-8"))["annotations"]
    assert ["predicted_iou" in row for row in told] == [False, True]
    assert not any("stability_score" in row for row in told)


def test_a_map_does_not_leave_in_pixels(project: Project, tmp_path: Path) -> None:
    finished(project, 1)
    (project.folder / "0.pgw").touch()  # a world file
    with pytest.raises(InputError, match="0.png is georeferenced"):
        export_masks(project, tmp_path / "a.geojson", "geojson")


# Splits.


@pytest.mark.parametrize(
    ("text", "shares"), [(None, ()), ("80/10/10", (80, 10, 10)), ("9/1", (9, 1))]
)
def test_shares_are_read(text: str | None, shares: tuple[float, ...]) -> None:
    assert ExportSettings(shares=read_split(text)).shares == shares


@pytest.mark.parametrize("text", ["80", "a/b", "1/2/3/4", "0/0", "-1/2", "nan/1"])
def test_shares_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="split"):
        ExportSettings(shares=read_split(text))


def test_a_photo_keeps_its_split_when_others_come() -> None:
    names = [f"{number}.jpg" for number in range(2000)]
    few, all_of_them = split_names(names[:500], (80, 10, 10)), split_names(names, (80, 10, 10))
    assert all(few[name] == all_of_them[name] for name in few)
    counts = [list(all_of_them.values()).count(split) for split in SPLITS]
    assert counts == pytest.approx([1600, 200, 200], rel=0.15)
    for count in range(3, 12):  # no split is empty where there are photos enough
        assert set(split_names(names[:count], (98, 1, 1)).values()) == set(SPLITS)
    assert set(split_names(names, (80, 0, 20)).values()) == {"train", "test"}


# Sets that can be trained on as they are.


@pytest.fixture
def trained_on(project: Project) -> Project:
    """Ten finished photos; some have a name that others have not."""
    write_images(project.folder, count=10)
    project.add_folder()
    finished(project, *range(1, 10))
    project.store.add_records(10, [block("alone")], "ann")
    project.store.mark_image(10, "done", "ann")
    return project


SPLIT = ExportSettings(images=True, shares=(60, 20, 20))


def test_coco_splits_agree_on_the_numbers_of_classes(trained_on: Project, tmp_path: Path) -> None:
    export_masks(trained_on, tmp_path / "set", "coco", SPLIT)
    kinds = set()
    for split in SPLITS:
        place = tmp_path / "set" / "annotations" / f"instances_{split}.json"
        document = json.loads(place.read_text("utf-8"))
        kinds.add(json.dumps(document["categories"]))
        for row in document["images"]:
            assert (tmp_path / "set" / "images" / split / row["file_name"]).is_file()
    assert len(kinds) == 1


@pytest.mark.parametrize("name", ["yolo", "coco"])
def test_supervision_loads_what_leaves(trained_on: Project, tmp_path: Path, name: str) -> None:
    supervision = pytest.importorskip("supervision", reason="needs supervision")
    export_masks(trained_on, tmp_path / "set", name, SPLIT)
    count, seen = 0, set()
    for split in SPLITS:
        images = str(tmp_path / "set" / "images" / split)
        if name == "yolo":
            loaded = supervision.DetectionDataset.from_yolo(
                images_directory_path=images,
                annotations_directory_path=str(tmp_path / "set" / "labels" / split),
                data_yaml_path=str(tmp_path / "set" / "data.yaml"),
                force_masks=True,
            )
        else:
            place = tmp_path / "set" / "annotations" / f"instances_{split}.json"
            loaded = supervision.DetectionDataset.from_coco(
                images_directory_path=images, annotations_path=str(place), force_masks=True
            )
        for _, image, found in loaded:
            assert image.shape == (SIDE, SIDE, 3)
            assert found.mask.shape == (1, SIDE, SIDE)
            assert abs(int(found.mask.sum()) - 1600) <= 160  # its own raster of the outline
            seen.add(loaded.classes[found.class_id[0]])
            count += 1
    assert (count, seen) == (10, {"block", "alone"})


def test_the_pages_of_a_stack_stay_in_one_split() -> None:
    names = [page_name(f"{number}.tif", page) for number in range(40) for page in (0, 3, 12)]
    parts = split_names(names, (60, 20, 20))
    assert set(parts.values()) == set(SPLITS)
    for number in range(40):
        assert len({parts[page_name(f"{number}.tif", page)] for page in (0, 3, 12)}) == 1
    assert [image_name(name) for name in names[:3]] == ["0.tif"] * 3
    assert image_name("0.tif") == "0.tif"


def test_pages_without_masks_do_not_leave(project: Project, tmp_path: Path) -> None:
    project.store.add_records(1, [replace(block(), page=4)], "ann")
    project.store.mark_image(1, "done", "ann")
    export_masks(project, tmp_path / "out.json", "coco")
    images, _ = read_annotations(tmp_path / "out.json", "coco", None)
    assert [image.file_name for image in images] == ["0.png.page4.png"]


def test_a_split_of_fewer_photos_than_it_has_parts_is_refused(
    project: Project, tmp_path: Path
) -> None:
    finished(project, 1)
    with pytest.raises(InputError, match="1 images are too few"):
        export_masks(project, tmp_path / "yolo", "yolo", SPLIT)
    assert not (tmp_path / "yolo").exists()


def test_the_splits_of_pascal_voc_are_lists_of_one_set(project: Project, tmp_path: Path) -> None:
    for number in range(1, 5):
        finished(project, number)
    export_masks(project, tmp_path / "voc", "voc", ExportSettings(images=True, shares=(50, 50)))
    root = tmp_path / "voc"
    lists = {
        path.stem: path.read_text().split() for path in root.rglob("ImageSets/Segmentation/*.txt")
    }
    assert not (root / "train").exists()
    parts = split_names([f"{number}.png" for number in range(4)], (50, 50))
    assert lists == {
        split: sorted(f"{split}/{Path(name).stem}" for name in parts if parts[name] == split)
        for split in ("train", "val")
    }
    for stems in lists.values():
        for stem in stems:  # where the reader of the development kit joins folder, stem and suffix
            assert (root / "SegmentationClass" / f"{stem}.png").is_file()
            assert (root / "JPEGImages" / f"{stem}.png").is_file()


READ_BACK = sorted(set(FORMATS) - {"davis", "sav"})
SIZED_BY_IMAGES = ("yolo", "imagej")  # which are not read without them


@pytest.mark.parametrize(
    ("name", "settings"),
    [(name, {}) for name in READ_BACK if name not in SIZED_BY_IMAGES]
    + [(name, {"images": True}) for name in READ_BACK]
    + [(name, {"images": True, "shares": (1, 1)}) for name in READ_BACK],
)
def test_the_archive_of_a_project_is_read(
    project: Project, tmp_path: Path, name: str, settings: dict[str, object]
) -> None:
    finished(project, 1, 2)
    archive = tmp_path / "masks.zip"
    export_archive(project, name, archive, ExportSettings(**settings))  # type: ignore[arg-type]
    dataset = read(archive)
    images = list(dataset)
    assert [len(image.masks) for image in images] == [1, 1]
    for image in images if settings else ():
        assert dataset.pixels(image).shape[:2] == image.hw
