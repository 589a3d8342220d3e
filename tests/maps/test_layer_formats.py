"""Shapefiles: pyogrio and shapely read the same shapes. KML: prompts come from it."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anymask.base import PromptError

pyogrio = pytest.importorskip("pyogrio", reason="needs the extra [maps]")
shapely = pytest.importorskip("shapely", reason="needs the extra [maps]")
rasterio = pytest.importorskip("rasterio", reason="needs the extra [maps]")

from rasterio.warp import transform  # noqa: E402 - after the check for the extra

from anymask.maps import open_map, read_prompts  # noqa: E402
from tests.maps.made import write_map  # noqa: E402
from tests.maps.test_maps import field, image_of, read_layer, search  # noqa: E402


@pytest.fixture(scope="module")
def ortho(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = image_of(field(200, 6, seed=3, radius=(8, 20)))
    return write_map(tmp_path_factory.mktemp("map") / "ortho.tif", pixels)


def by_area(shapes: Any) -> list[Any]:
    return sorted(shapes, key=lambda one: one.area)


def test_a_shapefile_has_the_shapes_of_the_geopackage(tmp_path: Path, ortho: Path) -> None:
    search(ortho, tmp_path / "a.gpkg", tmp_path / "a.shp")
    (truth, about), (found, told) = (read_layer(tmp_path / f"a.{end}") for end in ("gpkg", "shp"))
    assert len(found) == len(truth) > 3
    for one, other in zip(by_area(truth), by_area(found), strict=True):
        assert one.symmetric_difference(other).area < 1e-6
    assert rasterio.crs.CRS.from_user_input(told["crs"]) == about["crs"]
    assert list(told["fields"]) == list(about["fields"])
    np.testing.assert_allclose(sorted(told["area_m2"]), sorted(about["area_m2"]), atol=1e-3)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"a.gpkg", "a.shp", "a.shx", "a.dbf", "a.prj", "a.cpg"}
    search(ortho, tmp_path / "a.shp")  # again, over what is there
    assert {path.name for path in tmp_path.iterdir()} == names


KML = """<?xml version="1.0" encoding="UTF-8"?>
<kml xmlns="http://www.opengis.net/kml/2.2"><Document><Folder>{places}</Folder></Document></kml>"""


def place(shape: str, more: str = "<name>barn</name>") -> str:
    return f"<Placemark>{more}{shape}</Placemark>"


def degrees(scene: Any, *pixels: tuple[float, float]) -> str:
    """Pixels as KML has them, with a height."""
    x, y = np.transpose([scene.dataset.transform * one for one in pixels])
    lon, lat = transform(scene.crs, "EPSG:4326", x, y)[:2]
    return " ".join(f"{a:.12f},{b:.12f},0" for a, b in zip(lon, lat, strict=True))


def test_placemarks_are_prompts_in_kml_and_kmz(tmp_path: Path, ortho: Path) -> None:
    with open_map(ortho) as scene:
        point = f"<Point><coordinates>{degrees(scene, (20, 30))}</coordinates></Point>"
        ring = degrees(scene, (40, 50), (80, 50), (80, 90), (40, 90), (40, 50))
        outer = f"<outerBoundaryIs><LinearRing><coordinates>{ring}</coordinates></LinearRing>"
        shape = f"<Polygon>{outer}</outerBoundaryIs></Polygon>"
        data = "<ExtendedData><Data name='label'><value>silo</value></Data></ExtendedData>"
        text = KML.format(
            places=place(point)
            + place(f"<MultiGeometry>{shape}</MultiGeometry>", data)
            + "<NetworkLink><Link><href>http://127.0.0.1:9/a.kml</href></Link></NetworkLink>"
        )
        (tmp_path / "p.kml").write_text(text, "utf-8")
        with zipfile.ZipFile(tmp_path / "p.kmz", "w") as archive:
            archive.writestr("files/icon.png", b"")
            archive.writestr("doc.kml", text)
        for name in ("p.kml", "p.kmz"):
            first, second = read_prompts(tmp_path / name, scene)
            np.testing.assert_allclose(first.points, [[20, 30]], atol=1e-4)
            assert second.box is not None
            np.testing.assert_allclose(second.box, [40, 50, 80, 90], atol=0.01)
            assert (first.label, second.label) == ("barn", "silo")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (KML.format(places=""), "contains no placemark"),
        (KML.format(places=place("<Point><coordinates>a,b</coordinates></Point>")), "not numbers"),
        (KML.format(places=place("<Point><coordinates/></Point>")), "not numbers"),
        ("<?xml version='1.0'?><!DOCTYPE kml><kml/>", "declares XML entities"),
        ("<kml><Document>", "is not valid XML"),
        (b"PK\x03\x04 kml", "corrupted KMZ"),
    ],
)
def test_other_documents_are_refused(text: Any, message: str, tmp_path: Path, ortho: Path) -> None:
    (tmp_path / "p.kml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with open_map(ortho) as scene, pytest.raises(PromptError, match=message):
        read_prompts(tmp_path / "p.kml", scene)
