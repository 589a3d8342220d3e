"""Terms of imported sets come back from a project in every format."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anymask.base import InputError
from anymask.formats import read
from anymask.masks import mask_to_rle, rle_to_coco
from anymask.studio.exports import export_masks
from anymask.studio.options import ExportSettings, Tuning
from anymask.studio.project import Project
from tests.studio.disc_projects import SIDE

LICENCE = {"name": "CC BY-SA 9.0", "url": "http://l.test/by-sa"}


def labels(folder: Path, licence: dict[str, str], **info: Any) -> Path:
    """A COCO file of the first image."""
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[20:60, 30:70] = True
    row = {
        "id": 1, "image_id": 1, "category_id": 1, "segmentation": rle_to_coco(mask_to_rle(mask)),
    }  # fmt: skip
    document = {
        "info": info, "licenses": [{"id": 1, **licence}], "annotations": [row],
        "images": [{"id": 1, "file_name": "0.png", "width": SIDE, "height": SIDE}],
        "categories": [{"id": 1, "name": "cup"}],
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    path = folder / f"{info['source']}.json"
    path.write_text(json.dumps(document))
    return path


def stated(path: Path, name: str, images: Path) -> Any:
    found = read(path, name, images)
    list(found)
    return found.lost.facts


@pytest.fixture
def filled(project: Project, tmp_path: Path) -> Project:
    source = labels(
        tmp_path / "in", LICENCE, source="harbour", consent="given", restrictions=["no-mixing"]
    )
    project.import_masks(source, None, who="ann")
    return project


def test_terms_of_several_imports_and_of_the_folder_are_joined(
    filled: Project, tmp_path: Path
) -> None:
    more = {"name": "Quay Licence"}
    other = labels(tmp_path / "in", more, source="quay", restrictions="no-training")
    filled.import_masks(other, None, who="ann")
    filled.import_masks(other, None, who="ann")
    (filled.folder / "terms.jsonl").write_text('{"info": {"consent": "by mail"}}\n')
    export_masks(filled, tmp_path / "o.json", "coco", ExportSettings(only="labeled"))
    facts = stated(tmp_path / "o.json", "coco", filled.folder)
    assert facts.info["source"] == "harbour; quay"
    assert facts.info["consent"] == "given; by mail"
    assert facts.info["restrictions"] == ["no-training", "no-mixing"]
    assert [one["name"] for one in facts.licences] == ["CC BY-SA 9.0", "Quay Licence"]


def test_an_export_without_terms_writes_no_side_file(project: Project, tmp_path: Path) -> None:
    project.store.mark_image(1, "done", "ann")
    export_masks(project, tmp_path / "out", "labelme")
    assert not list(tmp_path.rglob("*terms*"))


@pytest.mark.parametrize(
    ("restrictions", "accept", "telling"),
    [
        (["no-training"], False, "must not be used to train.*--accept-terms"),
        (["no-training"], True, "requires 10 accepted masks"),
        (["no-mixing"], False, "requires 10 accepted masks"),
    ],
)
def test_a_round_is_refused_if_the_terms_of_an_import_forbid_training(
    project: Project, tmp_path: Path, restrictions: list[str], accept: bool, telling: str
) -> None:
    source = labels(tmp_path / "in", LICENCE, source="harbour", restrictions=restrictions)
    project.import_masks(source, None, who="ann")
    with pytest.raises(InputError, match=telling):
        project.retrain(Tuning(accept_terms=accept))
