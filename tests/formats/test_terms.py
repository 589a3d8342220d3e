"""Licences, source, consent and restrictions come back from every format."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anymask.base import DataError, InputError
from anymask.formats import convert, find_format, read
from anymask.formats.metadata import RESTRICTIONS, restrictions_of
from anymask.formats.registry import FORMATS

TERMS = {
    "source": "Harbour archive", "consent": "given in writing", "restrictions": ["no-mixing"],
}  # fmt: skip
LICENCE = {"id": 1, "name": "CC BY-SA 9.0", "url": "http://l.test/by-sa"}


def coco(folder: Path, **info: Any) -> Path:
    """A COCO file with one mask, and its image."""
    folder.mkdir(exist_ok=True)
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(folder / "a.jpg")
    image = {"id": 1, "file_name": "a.jpg", "width": 40, "height": 30, "license": 1}
    row = {
        "id": 1, "image_id": 1, "category_id": 1, "segmentation": [[5, 5, 20, 5, 20, 20, 5, 20]],
    }  # fmt: skip
    document = {
        "info": info, "licenses": [LICENCE], "images": [image], "annotations": [row],
        "categories": [{"id": 1, "name": "cup"}],
    }  # fmt: skip
    path = folder / "in.json"
    path.write_text(json.dumps(document))
    return path


def stated(path: Path, form: str, images: Path) -> Any:
    stream = read(path, form, images)
    list(stream)
    return stream.lost.facts


@pytest.mark.parametrize("to", sorted(set(FORMATS) - {"sav", "davis"}))
def test_terms_come_back_from_every_format(to: str, tmp_path: Path) -> None:
    if to == "imagej":
        pytest.importorskip("roifile")
    source = coco(tmp_path / "in", **TERMS)
    target = tmp_path / "out" / ("o" + find_format(to).ending)
    target.parent.mkdir()
    report = convert(source, target, to)
    assert not any("source" in line or "licences" in line for line in report.lines())
    facts = stated(target, to, tmp_path / "in")
    assert {key: facts.info.get(key) for key in TERMS} == TERMS
    assert "CC BY-SA 9.0" in facts.licences[0]["name"]


def test_sets_without_terms_need_no_file(tmp_path: Path) -> None:
    path = coco(tmp_path / "in", description="plain")
    document = json.loads(path.read_text())
    del document["licenses"], document["images"][0]["license"]
    path.write_text(json.dumps(document))
    convert(path, tmp_path / "out", "labelme")
    assert not list(tmp_path.rglob("*terms*"))


@pytest.mark.parametrize("to", ["set", "label-png", "labelme", "voc"])
def test_a_signed_manifest_of_earlier_versions_is_ignored(to: str, tmp_path: Path) -> None:
    convert(coco(tmp_path / "in"), tmp_path / "out", to)
    content = {"version": 1, "whole_folder": True, "terms": {}, "files": []}
    manifest = {"content": content, "public_key": "AA==", "signature": "AA=="}
    (tmp_path / "out/manifest.json").write_text(json.dumps(manifest))
    assert [len(image.masks) for image in read(tmp_path / "out")] == [1]


def test_a_broken_file_is_told(tmp_path: Path) -> None:
    convert(coco(tmp_path / "in", **TERMS), tmp_path / "out", "labelme")
    (tmp_path / "out/terms.jsonl").write_text('{"cake": 1}\n')
    with pytest.raises(DataError, match="the key 'info' is missing"):
        list(read(tmp_path / "out", "labelme"))


@pytest.mark.parametrize(
    ("given", "found"),
    [("No-Training, no-mixing", [*RESTRICTIONS]), (["no-mixing", 3], ["no-mixing"]), (None, [])],
)
def test_restrictions_are_a_list_or_a_text(given: Any, found: list[str]) -> None:
    assert restrictions_of({"restrictions": given}) == found


@pytest.mark.parametrize(
    ("restrictions", "sets", "telling"),
    [
        ("no-training", 1, "must not be used to train"),
        ("no-mixing", 2, "must not be combined"),
        ("no-mixing", 1, None),
        ("", 2, None),
    ],
)
def test_training_is_refused_if_the_terms_forbid_it(
    restrictions: str, sets: int, telling: str | None
) -> None:
    from anymask.training.tuning_data import DataReport, check_terms

    sources = [{"name": "mine", "restrictions": restrictions}, {"name": "other"}][:sets]
    report = DataReport(sources=sources)
    if telling is None:
        check_terms(report)
        return
    with pytest.raises(InputError, match=f"{telling}.*--accept-terms"):
        check_terms(report)
