"""Boxes of a project with a closed list of classes are named by themselves: one drag and Enter."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

import anymask
from anymask.formats import AnnotatedImage, load_set
from anymask.masks import Mask, open_box, rle_to_mask
from anymask.studio import create_project
from anymask.studio.project import Project
from anymask.studio.project_routes import ServedProject
from tests.studio.servers import client, inference

# Of the six groups of COCO's classes that most photos of coco_val show, the class that most show.
CLASSES = ["person", "dining table", "cup", "car", "sink", "book"]
PHOTOS = 16  # the first of the set, in its own order, that show any of them
AT_LEAST = 0.85


@pytest.fixture
def samples(shared: Path) -> list[AnnotatedImage]:
    photos = load_set(shared / "data" / "eval" / "coco_val")[1]
    return [one for one in photos if any(mask.label in CLASSES for mask in one.masks)][:PHOTOS]


@pytest.fixture
def project(samples: list[AnnotatedImage], tmp_path: Path) -> Project:
    for one in samples:
        (tmp_path / one.file_name).write_bytes(one.content())
    return create_project(tmp_path, labels=CLASSES)


@pytest.mark.slow
def test_boxes_of_six_classes_are_named_by_themselves(
    project: Project, samples: list[AnnotatedImage]
) -> None:
    truth = {one.file_name: one for one in samples}
    right: list[bool] = []
    with client(inference(anymask.load), project=ServedProject(project)) as http:
        for entry in project.images:
            masks = [mask for mask in truth[entry.name].masks if mask.label in CLASSES]
            told = zip(named(http, entry.id, masks), masks, strict=True)
            right += [name == mask.label for name, mask in told]
    print(f"{sum(right)} of {len(right)} boxes on {len(samples)} photos are named right")
    assert len(samples) == PHOTOS
    assert sum(right) >= AT_LEAST * len(right)


def named(http: TestClient, image: int, masks: list[Mask]) -> list[str]:
    """As the page does it: the photo is seen, boxes are answered, what is there gets names."""
    seen = http.get(f"/api/images/{image}/embedding").headers["x-image-hash"]
    boxes = [open_box(rle_to_mask(mask.rle)) for mask in masks]
    answers = http.post("/api/segment", json={"image": seen, "boxes": boxes}).json()["answers"]
    labels = [label["name"] for label in http.get("/api/project").json()["labels"]]
    wish = {"image": seen, "masks": [one["masks"][0] for one in answers], "names": labels}
    told = http.post("/api/names", json={**wish, "unknown": "examples", "top": 3}).json()
    return [first["label"] for first, *_ in told["suggestions"]]
