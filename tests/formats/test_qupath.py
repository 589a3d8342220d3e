"""QuPath's GeoJSON: classes with colours, holes, cells, and files of older versions."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely.geometry
from PIL import Image

import anymask
from anymask.base import DataError
from anymask.formats import AnnotatedImage, Policy, read_annotations, write_annotations
from anymask.formats.registry import recognized
from anymask.masks import Mask, mask_to_rle
from tests.formats.annotated import rings

RING = [[[1, 1], [9, 1], [9, 7], [1, 7], [1, 1]], [[3, 3], [5, 3], [5, 5], [3, 5], [3, 3]]]


def feature(**properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature", "id": "1f0e", "geometry": {"type": "Polygon", "coordinates": RING},
        "properties": {"objectType": "annotation"} | properties,
    }  # fmt: skip


def of_qupath(folder: Path, *features: Any) -> Path:
    Image.new("L", (12, 9)).save(folder / "a.png")
    (folder / "a.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": features})
    )
    return folder / "a.geojson"


def test_classes_colours_holes_and_measurements_come_through(tmp_path: Path) -> None:
    tumor = {"name": "Tumor", "color": [200, 0, 0]}
    first = feature(
        classification=tumor, name="left", isLocked=True, measurements={"score": 0.75, "Area": 44.0}
    )
    second = feature(classification={"names": ["Tumor", "Positive"], "color": [9, 8, 7]})
    source = of_qupath(tmp_path, first, second, feature())
    assert recognized(source)[0] == recognized(tmp_path)[0] == "qupath"
    (image,), lost = read_annotations(source)
    assert not lost
    assert image.masks.labels == ["Tumor", "Tumor: Positive", None]
    assert image.masks.areas.tolist() == [44, 44, 44]
    assert image.masks[0].score == 0.75
    assert image.masks[0].extra == {
        "color": [200, 0, 0], "name": "left", "isLocked": True, "measurements": {"Area": 44.0},
    }  # fmt: skip
    assert not write_annotations([image], tmp_path / "b.geojson", "qupath", Policy(tolerance=0))
    written = json.loads((tmp_path / "b.geojson").read_text())
    assert written["type"] == "FeatureCollection"
    one, two, three = written["features"]
    assert one["properties"] == first["properties"]
    assert two["properties"]["classification"] == {"name": "Tumor: Positive", "color": [9, 8, 7]}
    assert "classification" not in three["properties"]
    shape = shapely.geometry.shape(one["geometry"])
    assert (shape.area, len(shape.interiors)) == (44, 1)
    assert len({one["id"], two["id"], three["id"]}) == 3
    assert read_annotations(tmp_path / "b.geojson")[0] == [image]


def test_files_of_older_versions_are_read(tmp_path: Path) -> None:
    """One number for a colour, a list of measurements, features without a collection."""
    old = feature(
        classification={"name": "Stroma", "colorRGB": -3670016},
        measurements=[{"name": "score", "value": 0.5}, {"name": "Area", "value": 44.0}],
    )
    source = of_qupath(tmp_path, old)
    source.write_text(json.dumps([old]))
    (image,), _ = read_annotations(source)
    (mask,) = image.masks
    assert (mask.label, mask.score) == ("Stroma", 0.5)
    assert mask.extra == {"color": [200, 0, 0], "measurements": {"Area": 44.0}}


def test_the_nucleus_of_a_cell_is_reported(tmp_path: Path) -> None:
    cell = feature(objectType="cell") | {
        "nucleusGeometry": {"type": "Polygon", "coordinates": RING}
    }
    (image,), lost = read_annotations(of_qupath(tmp_path, cell))
    assert image.masks[0].extra == {"objectType": "cell"}
    assert [loss.reason for loss in lost.losses] == ["nuclei of cells are not read"]


def test_a_class_has_one_colour_in_all_files(tmp_path: Path) -> None:
    shape = mask_to_rle(np.eye(4, dtype=bool))
    images = [
        AnnotatedImage(file_name=f"{n}.png", hw=(4, 4), masks=(Mask(shape, "b"), Mask(shape, name)))
        for n, name in enumerate(["a", "c"])
    ]
    write_annotations(images, tmp_path, "qupath")
    found: dict[str, set[tuple[int, ...]]] = {}
    for path in sorted(tmp_path.glob("*.geojson")):
        for one in json.loads(path.read_text())["features"]:
            chosen = one["properties"]["classification"]
            found.setdefault(chosen["name"], set()).add(tuple(chosen["color"]))
    assert sorted(map(len, found.values())) == [1, 1, 1]
    assert len(set.union(*found.values())) == 3


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"classification": "Tumor"}, "`classification` is not an object"),
        ({"classification": {"name": "T", "color": [1, 2]}}, "`color` is not three numbers"),
        ({"classification": {"name": "T", "color": [1, 2, 300]}}, "`color` is not three numbers"),
        ({"classification": {"name": ["T"]}}, "`label` is not text"),
        ({"measurements": 7}, "`measurements` is not an object"),
        ({"measurements": {"score": "high"}}, "`score` is not a finite number"),
    ],
)
def test_a_broken_object_is_skipped(properties: Any, message: str, tmp_path: Path) -> None:
    dataset = anymask.read(of_qupath(tmp_path, feature(), feature(**properties)))
    (image,) = dataset
    assert len(image.masks) == 1
    assert len(dataset.lost.losses) == 1
    assert message in str(dataset.lost.losses[0])
    with pytest.raises(DataError, match="feature 1"):
        list(anymask.read(tmp_path / "a.geojson", on_bad="error"))


def test_empty_masks_and_other_keys_are_reported(tmp_path: Path) -> None:
    lost = write_annotations([rings()], tmp_path / "r.geojson", "qupath")
    assert lost.counts()["empty"] == 1
    odd = AnnotatedImage(
        file_name="a.png", hw=(4, 4),
        masks=(Mask(mask_to_rle(np.eye(4, dtype=bool)), "b", extra={"color": "red", "flag": 1}),),
    )  # fmt: skip
    assert write_annotations([odd], tmp_path / "o.geojson", "qupath").counts()["extras"] == 1
