"""Data that several tests of the command line learn from."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from anymask.formats import read_annotations, write_annotations
from tests.training.small_data import write_sets


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """A COCO file beside its pictures: six photos, a mask each."""
    sets = write_sets(tmp_path / "sets")
    folder = tmp_path / "coco"
    (folder / "images").mkdir(parents=True)
    images = []
    for name in ("round", "square"):
        for image in read_annotations(sets / name)[0]:
            target = folder / "images" / f"{name}{image.name}"
            shutil.copyfile(image.source, target)  # type: ignore[arg-type]
            images.append(replace(image, file_name=target.name, source=None))
    write_annotations(images, folder / "instances.json", "coco")
    return folder / "instances.json"
