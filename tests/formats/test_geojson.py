"""GeoJSON: shapely sees the same area, with holes, the right way round."""

import io
import json
import pickle
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import shapely.geometry
from hypothesis import given
from PIL import Image

from anymask.base import DataError, InputError
from anymask.formats import AnnotatedImage, LossReport, Policy, geojson, write_files
from anymask.images import ImageFile, load_referenced
from anymask.masks import Mask, Masks, mask_to_rle
from tests.formats.annotated import annotated_images, rings
from tests.masks.strategies import quickly


@quickly
@given(annotated_images())
def test_everything_comes_back_and_shapely_agrees(
    tmp_path_factory: pytest.TempPathFactory, image: AnnotatedImage
) -> None:
    folder = tmp_path_factory.mktemp("set")
    report = LossReport()
    write_files(geojson.encode([image], folder, report, Policy(tolerance=0)), folder)
    assert not report
    assert geojson.read(folder, LossReport()) == [image]
    (path,) = folder.rglob("*.geojson")
    for feature, mask in zip(json.loads(path.read_text())["features"], image.masks, strict=True):
        if feature["geometry"] is None:
            assert mask.area == 0
            continue
        shape = shapely.geometry.shape(feature["geometry"])
        assert shape.is_valid
        assert shape.area == mask.area == feature["properties"]["area"]
        y, x = np.mgrid[: image.hw[0], : image.hw[1]] + 0.5
        inside = shapely.contains_xy(shape, x.ravel(), y.ravel()).reshape(image.hw)
        np.testing.assert_array_equal(inside, mask.mask)


@pytest.mark.parametrize("transform", [None, (2.0, 0, 100, 0, -2.0, 50), (0, 3.0, 1, -1.0, 0, 2)])
def test_rings_turn_as_the_rfc_wants_also_on_a_mirrored_map(transform: Any) -> None:
    document = geojson.to_geojson(rings(), transform)
    parts = document["features"][0]["geometry"]["coordinates"]
    assert [len(part) for part in parts] == [2, 1]
    for exterior, *holes in parts:
        assert shapely.LinearRing(exterior).is_ccw
        assert exterior[0] == exterior[-1]
        assert not any(shapely.LinearRing(hole).is_ccw for hole in holes)


def test_a_transform_places_the_corners(tmp_path: Path) -> None:
    document = geojson.to_geojson(rings(), (2.0, 0, 100, 0, -2.0, 50))
    shape = shapely.geometry.shape(document["features"][1]["geometry"])
    assert shape.bounds == (122, 32, 124, 34)  # the pixel (11, 8)
    (tmp_path / "a.geojson").write_text(json.dumps(document))
    with pytest.raises(
        DataError, match="The coordinates are map coordinates, but pixel coordinates are"
    ):
        geojson.read(tmp_path, LossReport())
    with pytest.raises(InputError, match="Invalid transform "):
        geojson.to_geojson(rings(), (1, 1, 0, 1, 1, 0))


def georeferenced(folder: Path) -> Iterator[Path]:
    """Images that say where they are: GeoTIFFs of two writers and sizes, and files beside."""
    tifffile = pytest.importorskip("tifffile", reason="needs the extra [science]")
    image = Image.new("RGB", (9, 7), "white")
    image.save(folder / "pillow.tif", tiffinfo={34735: (1, 1, 0, 0)})
    tifffile.imwrite(
        folder / "big.tif", np.zeros((7, 9, 4), np.int16), photometric="minisblack", bigtiff=True,
        byteorder=">", extratags=[(34735, 3, 4, (1, 1, 0, 0), True)],
    )  # fmt: skip
    yield from (folder / "pillow.tif", folder / "big.tif")
    for name, beside, text in (
        ("a.jpg", "a.jgw", ""),
        ("b.png", "b.png.aux.xml", "<PAMDataset><SRS>EPSG:25832</SRS></PAMDataset>"),
    ):
        image.save(folder / name)
        (folder / beside).write_text(text)
        yield folder / name


def test_a_map_is_never_written_in_pixels(tmp_path: Path) -> None:
    Image.new("RGB", (9, 7)).save(tmp_path / "plain.tif")
    mask = Mask(mask_to_rle(np.ones((7, 9), np.bool_)))
    for path in georeferenced(tmp_path):
        masks = Masks([mask], source_image=ImageFile(path))
        for write in (masks.to_geojson, partial(masks.save, tmp_path / "out.geojson")):
            with pytest.raises(InputError, match=f"{path.name} is georeferenced"):
                write()
    data = (tmp_path / "pillow.tif").read_bytes()
    with Image.open(tmp_path / "pillow.tif") as opened, (tmp_path / "a.jpg").open("rb") as file:
        for source in (data, io.BytesIO(data), Image.open(io.BytesIO(data)), opened, file):
            masks = Masks([mask], source_image=load_referenced(source)[1])
            for one in (masks, Masks([masks[0]]), pickle.loads(pickle.dumps(masks))):
                with pytest.raises(InputError, match="is georeferenced"):
                    one.to_geojson()
    Masks([mask], source_image=ImageFile(tmp_path / "plain.tif")).save(tmp_path / "out.geojson")


def collection(*geometries: Any, **keys: Any) -> dict[str, Any]:
    features = [{"type": "Feature", "geometry": geometry} for geometry in geometries]
    return {"type": "FeatureCollection", "features": features} | keys


SQUARE = {
    "type": "Polygon",
    "coordinates": [[[0, 0, 5], [2, 0, 5], [2, 2, 5], [0, 2, 5], [0, 0, 5]]],
}
ABOUT = {"file_name": "a.jpg", "height": 3, "width": 4}


def test_files_of_others_get_their_size_from_the_picture(tmp_path: Path) -> None:
    (tmp_path / "a.geojson").write_text(json.dumps(collection(SQUARE)))
    with pytest.raises(DataError, match="a.geojson: The image size is missing. Pass the"):
        geojson.read(tmp_path, LossReport())
    Image.new("L", (4, 3)).save(tmp_path / "a.png")
    (image,) = geojson.read(tmp_path, LossReport(), tmp_path)
    assert (image.file_name, image.hw, image.masks[0].area) == ("a.png", (3, 4), 4)


def test_coordinates_of_a_map_are_no_empty_masks(tmp_path: Path) -> None:
    corners = [[400_000 + x, 5_000_000 + y] for x, y in ((0, 0), (2, 0), (2, 2), (0, 0))]
    field = {"type": "Polygon", "coordinates": [corners]}
    (tmp_path / "a.geojson").write_text(json.dumps(collection(field, anymask=ABOUT)))
    with pytest.raises(
        DataError, match="feature 0: All polygon corners are outside the image of 4 x "
    ):
        geojson.read(tmp_path, LossReport())
