"""Damaged files of these formats are refused by an error of anymask, or read."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_every_format import NAMES, write_hqseg
from test_via import SHAPES, THREE, project, project_3, sample_image

from anymask.formats import read_annotations
from tests.fuzz.targets import Target, annotations, sets
from tests.fuzz.test_damaged_files import ROUNDS, failures


def tools(root: Path) -> Target:
    """Files of VIA and Cellpose."""
    root.mkdir(parents=True)
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (20, 10)).save(root / name)
    row = {"vid": "1", "flg": 0, "z": [], "av": {"1": "1"}}
    rows = {key: row | {"xy": numbers} for key, (numbers, _) in THREE.items()}
    shapes = [shape for shape, _ in SHAPES.values()]
    (root / "via2.json").write_text(json.dumps(project(sample_image(*shapes, **{"class": "cat"}))))
    (root / "via3.json").write_text(json.dumps(project_3(**rows)))
    text = io.StringIO()
    writer = csv.writer(text)
    names = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes"
    writer.writerow([*names.split(","), "region_attributes"])
    for number, shape in enumerate(shapes):
        writer.writerow(["a.jpg", 830, "{}", 5, number, json.dumps(shape), '{"class": "cat"}'])
    (root / "via.csv").write_text(text.getvalue())
    values = np.zeros((10, 20), np.uint16)
    values[2:5, 3:9], values[6:9, 1:4] = 1, 2
    np.save(root / "a_seg.npy", {"masks": values, "outlines": values * 0, "filename": "a.jpg"})
    files = tuple(path for path in sorted(root.iterdir()) if path.suffix != ".jpg")
    return Target("tools", root, files, lambda path: read_annotations(path, image_root=root))


def targets(root: Path) -> list[Target]:
    """All files that this plug-in reads."""
    folders = {"HQSeg-44K": ("hqseg", write_hqseg)}
    return [*annotations(root / "formats", NAMES), *sets(root / "sets", folders), tools(root / "t")]


@pytest.mark.filterwarnings("ignore")  # of decoders, about the damage
def test_a_damaged_file_gives_no_other_error_than_ours(tmp_path: Path) -> None:
    assert not failures(targets(tmp_path), range(ROUNDS))
