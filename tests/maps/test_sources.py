"""Maps and layers lead to no address and to no file outside their folder, whatever their names."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pytest
from PIL import Image

from anymask.base import ImageError, PromptError
from anymask.cli.main import main

rasterio = pytest.importorskip("rasterio")
pyogrio = pytest.importorskip("pyogrio")
shapely = pytest.importorskip("shapely")

from anymask.maps import open_map, read_prompts  # noqa: E402 - after the check for the extra
from anymask.maps.sources import OFFLINE, offline_layers, offline_rasters  # noqa: E402
from tests.http_answers import Answers, serving  # noqa: E402
from tests.maps.made import UTM, write_map  # noqa: E402

PIXELS = np.random.default_rng(0).integers(0, 255, (32, 40, 3), np.uint8)
HEAD = (
    f"<VRTDataset rasterXSize='40' rasterYSize='32'><SRS>{UTM}</SRS>"
    "<GeoTransform>500000,0.5,0,5300000,0,-0.5</GeoTransform>"
)


@pytest.fixture(scope="module")
def web() -> Iterator[Answers]:
    with serving() as answers:
        yield answers


def mosaic(*sources: str, relative: int = 1, more: str = "", tag: str = "SourceFilename") -> str:
    """A VRT of a source a band."""
    bands = "".join(
        f"<VRTRasterBand dataType='Byte' band='{n}'><SimpleSource><{tag} relativeToVRT='{relative}'"
        f">{escape(one)}</{tag}><SourceBand>{n}</SourceBand>{more}</SimpleSource></VRTRasterBand>"
        for n, one in enumerate(sources * (3 // len(sources)), start=1)
    )
    return f"{HEAD}{bands}</VRTDataset>"


def service(url: str) -> str:
    return (
        f"<GDAL_WMS><Service name='TMS'><ServerUrl>{url}/${{z}}/${{x}}/${{y}}.png</ServerUrl>"
        "</Service><DataWindow><UpperLeftX>-20037508</UpperLeftX><UpperLeftY>20037508</UpperLeftY>"
        "<LowerRightX>20037508</LowerRightX><LowerRightY>-20037508</LowerRightY><TileLevel>2"
        "</TileLevel></DataWindow><Projection>EPSG:3857</Projection><BandsCount>3</BandsCount>"
        "</GDAL_WMS>"
    )


RAW = (
    f"{HEAD}<VRTRasterBand dataType='Byte' band='1' subClass='VRTRawRasterBand'><SourceFilename "
    "relativeToVRT='{}'>{}</SourceFilename><ImageOffset>0</ImageOffset><PixelOffset>1</PixelOffset>"
    "<LineOffset>40</LineOffset></VRTRasterBand></VRTDataset>"
)
PYTHON = (
    f"{HEAD}<VRTRasterBand dataType='Byte' band='1' subClass='VRTDerivedRasterBand'>"
    "<PixelFunctionType>f</PixelFunctionType><PixelFunctionLanguage>Python</PixelFunctionLanguage>"
    "</VRTRasterBand></VRTDataset>"
)
WARPED = (
    f"{HEAD[:11]} subClass='VRTWarpedDataset'{HEAD[11:]}<GDALWarpOptions><SourceDataset "
    "relativeToVRT='0'>{}</SourceDataset></GDALWarpOptions></VRTDataset>"
)
METADATA = "<PAMDataset><Metadata domain='OVERVIEWS'><MDI key='{}'>{}</MDI></Metadata></PAMDataset>"


def texts(url: str, outside: str) -> dict[str, str | bytes]:
    """Files called a.tif and a.vrt, or beside them, that lead elsewhere."""
    return {
        "service": service(url),
        "curl": mosaic(f"/vsicurl/{url}/a.tif", relative=0),
        "zipped": mosaic(f"/vsizip//vsicurl/{url}/a.zip/a.tif", relative=0),
        "address": mosaic(f"{url}/a.tif"),
        "prefix": mosaic(f"NETCDF:{url}/a.nc:b"),
        "inline": mosaic(mosaic(f"/vsicurl/{url}/a.tif", relative=0)),
        "small letters": mosaic(f"/vsicurl/{url}/a.tif", relative=0, tag="sourcefilename"),
        "option": mosaic(
            "good.tif", more="<OpenOptions><OOI key='ROOT_PATH'>/srv</OOI></OpenOptions>"
        ),
        "warped": WARPED.format(f"/vsicurl/{url}/a.tif"),
        "raw": RAW.format(0, outside),
        "parent": RAW.format(1, "../secret.txt"),
        "absolute": mosaic(outside, relative=0),
        "python": PYTHON,
        "itself": mosaic("a.tif"),
        "nested": mosaic("inner.tif"),
        "bytes": mosaic("good.tif").encode() + b"<!-- \xff -->",
        "not whole": mosaic("good.tif")[:-4],
        "entity": f"<!DOCTYPE a [<!ENTITY b 'c'>]>{mosaic('good.tif')}",
        "no raster": "hello",
    }


@pytest.fixture
def place(tmp_path: Path, web: Answers) -> Path:
    """A folder with a sound map, a hidden way out of it, and a text beside the folder."""
    folder = tmp_path / "maps"
    folder.mkdir()
    write_map(folder / "good.tif", PIXELS)
    (folder / "inner.tif").write_text(mosaic(f"/vsicurl/{web.url}/inner.tif", relative=0))
    (tmp_path / "secret.txt").write_text("SECRET" * 300)
    web.asked.clear()
    return folder


def look(path: Path) -> None:
    with open_map(path) as scene:
        scene.read((0, 0, 40, 32))
        scene.read_scaled((0, 0, 40, 32), (4, 5))


@pytest.mark.parametrize("name", ["a.tif", "a.vrt", "a.jp2"])
@pytest.mark.parametrize("kind", texts("", ""))
def test_a_map_that_leads_elsewhere_is_refused(
    kind: str, name: str, place: Path, web: Answers
) -> None:
    content = texts(web.url, str(place.parent / "secret.txt"))[kind]
    (place / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ImageError):
        look(place / name)
    assert web.asked == []


@pytest.mark.parametrize("side", ["ovr", "msk", "aux.xml", "vrt.ovr", "xdata", "tag"])
def test_a_file_beside_a_map_leads_nowhere_else(side: str, place: Path, web: Answers) -> None:
    there = f"/vsicurl/{web.url}/a.tif"
    if side == "tag":
        with rasterio.open(place / "good.tif", "r+") as file:
            file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=there)
    elif side in ("ovr", "msk"):
        (place / f"good.tif.{side}").write_text(service(web.url))
    elif side == "vrt.ovr":
        (place / "good.tif.ovr").write_text(mosaic(there, relative=0))
    else:
        key = "X_DATASET" if side == "xdata" else "OVERVIEW_FILE"
        (place / "good.tif.aux.xml").write_text(METADATA.format(key, there))
    with pytest.raises(ImageError):
        look(place / "good.tif")
    assert web.asked == []


def test_one_such_file_in_a_folder_is_named(
    place: Path, web: Answers, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.parent)
    (place / "inner.tif").write_text(service(web.url))
    assert main(["everything", "maps", "--grid", "2", "-o", "a.gpkg"]) == 2
    assert "inner.tif is an XML description of other data (<GDAL_WMS>)" in capsys.readouterr().err
    assert web.asked == []


def test_sound_mosaics_and_side_files_are_read(place: Path) -> None:
    with open_map(place / "good.tif") as scene:
        expected, _ = scene.read((0, 0, 40, 32))
    np.testing.assert_array_equal(expected, PIXELS)
    (place / "sub").mkdir()
    shutil.copy(place / "good.tif", place / "sub" / "tile.tif")
    (place / "sub" / "inner.vrt").write_text(mosaic("tile.tif"))
    (place / "outer.vrt").write_text(mosaic("sub/inner.vrt", "good.tif", "./good.tif"))
    (place / "absolute.vrt").write_text(mosaic(str(place / "good.tif"), relative=0))
    (place / "data.bin").write_bytes(PIXELS[..., 0].tobytes())
    (place / "raw.vrt").write_text(RAW.format(1, "data.bin"))
    for name in ("outer.vrt", "absolute.vrt"):
        with open_map(place / name) as scene:
            np.testing.assert_array_equal(scene.read((0, 0, 40, 32))[0], PIXELS)
    with open_map(place / "raw.vrt") as scene:
        np.testing.assert_array_equal(scene.read((0, 0, 40, 32))[0][..., 0], PIXELS[..., 0])
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(place / "good.tif", "r+") as file:
        file.build_overviews([2])
    assert (place / "good.tif.ovr").is_file()
    note = "<PAMDataset><Metadata><MDI key='SOURCE'>https://example.org/a</MDI></Metadata>"
    (place / "good.tif.aux.xml").write_text(f"{note}</PAMDataset>")
    look(place / "good.tif")


def test_a_world_file_says_where_a_picture_lies(place: Path) -> None:
    Image.fromarray(PIXELS).save(place / "b.png")
    (place / "b.pgw").write_text("0.5\n0\n0\n-0.5\n500000.25\n5299999.75\n")
    wkt = escape(rasterio.crs.CRS.from_user_input(UTM).to_wkt())
    (place / "b.png.aux.xml").write_text(f"<PAMDataset><SRS>{wkt}</SRS></PAMDataset>")
    with open_map(place / "b.png") as scene:
        assert tuple(scene.transform)[:6] == (0.5, 0, 500_000, 0, -0.5, 5_300_000)


# The second line: what is not found by the checks.


def test_gdal_itself_asks_nobody(place: Path, web: Answers) -> None:
    (place / "s.xml").write_text(service(web.url))
    with offline_rasters():
        for name in (f"/vsicurl/{web.url}/a.tif", str(place / "inner.tif"), str(place / "s.xml")):
            with pytest.raises(rasterio.errors.RasterioError), rasterio.open(name) as file:
                file.read()
    with offline_layers(), pytest.raises(pyogrio.errors.DataSourceError):
        pyogrio.raw.read(f"/vsicurl/{web.url}/a.geojson")
    assert web.asked == []
    with pytest.raises(rasterio.errors.RasterioError):
        rasterio.open(f"/vsicurl/{web.url}/a.tif")
    assert web.asked != []  # without it


def test_the_options_of_the_program_come_back() -> None:
    pyogrio.set_gdal_config_options({"GDAL_HTTP_PROXY": "theirs"})
    try:
        with offline_layers():
            assert pyogrio.get_gdal_config_option("GDAL_HTTP_PROXY") == OFFLINE["GDAL_HTTP_PROXY"]
        assert pyogrio.get_gdal_config_option("GDAL_HTTP_PROXY") == "theirs"
    finally:
        pyogrio.set_gdal_config_options({"GDAL_HTTP_PROXY": None})


# Layers of prompts.

POINT = {"type": "Point", "coordinates": [9.0001, 47.85327]}


def features(geometry: dict[str, Any] = POINT, **more: Any) -> str:
    one = {"type": "Feature", "properties": {"name": "barn"}, "geometry": geometry}
    return json.dumps({"type": "FeatureCollection", "features": [one], **more})


def layers(url: str) -> dict[str, str]:
    return {
        "vrt": "<OGRVRTDataSource><OGRVRTLayer name='x'><SrcDataSource>/vsicurl/"
        f"{url}/p.geojson</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>",
        "wfs": f"<OGRWFSDataSource><URL>{url}/wfs</URL></OGRWFSDataSource>",
        "crs link": features(crs={"type": "link", "properties": {"href": f"{url}/crs"}}),
        "crs url": features(crs={"type": "url", "properties": {"url": f"{url}/crs"}}),
        "algorithm": json.dumps(
            {"type": "gdal_streamed_alg", "command_line": f"gdal vector info /vsicurl/{url}/a"}
        ),
        "text": "hello",
        "not json": "{",
    }


@pytest.mark.parametrize("name", ["p.geojson", "p.gpkg", "p.shp", "p.fgb", "p.kml"])
@pytest.mark.parametrize("kind", layers(""))
def test_a_layer_that_leads_elsewhere_is_refused(
    kind: str, name: str, place: Path, web: Answers
) -> None:
    (place / name).write_text(layers(web.url)[kind])
    with open_map(place / "good.tif") as scene, pytest.raises(PromptError):
        read_prompts(place / name, scene)
    assert web.asked == []


def test_links_to_further_pages_are_not_followed(place: Path, web: Answers) -> None:
    (place / "p.geojson").write_text(features(links=[{"rel": "next", "href": f"{web.url}/next"}]))
    with open_map(place / "good.tif") as scene:
        (found,) = read_prompts(place / "p.geojson", scene)
    assert found.label == "barn"
    assert web.asked == []


@pytest.mark.parametrize("values", [[500_005, 5_299_992], [9.0, 95.0]])
def test_coordinates_that_are_no_degrees_need_the_crs(values: list[float], place: Path) -> None:
    (place / "p.geojson").write_text(features({"type": "Point", "coordinates": values}))
    with open_map(place / "good.tif") as scene:
        with pytest.raises(PromptError, match="invalid in EPSG:4326.*--crs EPSG:NUMBER"):
            read_prompts(place / "p.geojson", scene)
        if values[0] > 180:  # they are metres of the map
            (found,) = read_prompts(place / "p.geojson", scene, crs=UTM)
            np.testing.assert_allclose(found.points, [[10, 16]])


def test_a_shapefile_without_its_index_is_named(place: Path) -> None:
    path, point = place / "p.shp", shapely.to_wkb(shapely.Point(500_005, 5_299_992))
    write = {"crs": UTM, "driver": "ESRI Shapefile", "geometry_type": "Point"}
    pyogrio.raw.write(path, [point], [], [], **write)
    path.with_suffix(".shx").unlink()
    with (
        open_map(place / "good.tif") as scene,
        pytest.raises(PromptError, match="p.shx is missing"),
    ):
        read_prompts(path, scene)
