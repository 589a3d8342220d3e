"""Maps: things lie where they are on earth, whole, once, in every kind of file and layer."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from anymask.base import ImageError, InputError, PromptError
from anymask.cli.main import main
from anymask.images import load_image
from anymask.jobs import FindTask
from anymask.masks import Masks
from anymask.segment import Model
from tests.segment.fakes import ColorRuntime

rasterio = pytest.importorskip("rasterio")
pytest.importorskip("rasterio.features")
pyogrio = pytest.importorskip("pyogrio")
shapely = pytest.importorskip("shapely")

from anymask.maps import (  # noqa: E402
    ChangeProcessor,
    PromptProcessor,
    TileProcessor,
    aligned,
    on_the_map,
    open_map,
    placed_prompt,
    read_prompts,
    segment_tiles,
)
from anymask.maps.scene import pixel_meters  # noqa: E402
from anymask.maps.shapes import GroundArea, right_angled  # noqa: E402
from anymask.maps.tile_store import open_worksheet  # noqa: E402
from tests.maps.made import UTM, ThresholdModel, field, image_of, light, write_map  # noqa: E402

ROOT = Path(__file__).parents[2]


def read_layer(path: Path) -> tuple[NDArray[Any], dict[str, Any]]:
    meta, _, shapes, columns = pyogrio.raw.read(path)
    return shapely.from_wkb(shapes), dict(zip(meta["fields"], columns, strict=True)) | meta


def search(source: Any, *outputs: Path, tile: int = 256, min_area: float = 0, **how: Any):
    model = how.pop("model", None) or ThresholdModel()
    with open_map(source, **how) as scene:
        processor = TileProcessor(scene, model, model.everything, tile=tile)
        return segment_tiles(scene, processor, outputs, simplify=0, min_area=min_area)


@pytest.fixture(scope="module")
def numbers() -> NDArray[Any]:
    """A map of 600 x 600 pixels with 25 things."""
    return field(600, 25, seed=3, radius=(8, 45))


@pytest.fixture
def ortho(tmp_path: Path, numbers: NDArray[Any]) -> Path:
    return write_map(tmp_path / "ortho.tif", image_of(numbers))


# The bar of the issue: seams, resuming, CRS and transform.

KILLED = """
import os, signal, sys
from pathlib import Path
from tests.maps.test_maps import ThresholdModel, search

class Killed(ThresholdModel):
    def everything(self, picture, **settings):
        if len(self.looks) == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().everything(picture, **settings)

search(Path(sys.argv[1]), *map(Path, sys.argv[3:]), tile=int(sys.argv[2]), model=Killed())
"""


@pytest.mark.parametrize(
    ("side", "count", "tile", "tiles"),
    [(1300, 40, 350, 25), pytest.param(4000, 200, 1024, 25, marks=pytest.mark.slow)],
)
def test_no_thing_of_a_large_map_is_cut_at_a_seam_and_a_killed_run_goes_on(
    tmp_path: Path, side: int, count: int, tile: int, tiles: int
) -> None:
    truth = field(side, count)
    path = write_map(tmp_path / "large.tif", image_of(truth), nodata=255)
    outputs = [tmp_path / "things.gpkg", tmp_path / "things.tif"]
    words = [sys.executable, "-c", KILLED, str(path), str(tile), *map(str, outputs)]
    dead = subprocess.run(words, cwd=ROOT, capture_output=True, check=False)
    assert dead.returncode == -9, dead.stderr
    assert not any(one.exists() for one in outputs)

    model = ThresholdModel()
    report = search(path, *outputs, tile=tile, model=model)
    assert (report.objects, report.left_out, report.windows) == (count, 0, tiles)
    assert len(model.looks) == tiles - 7  # nothing is looked at twice
    assert not list(tmp_path.glob(".*"))

    with rasterio.open(path) as image, rasterio.open(outputs[1]) as labels:
        assert labels.crs == image.crs
        assert labels.transform == image.transform
        assert labels.shape == image.shape
        assert labels.nodata == image.nodata == 255
        found = labels.read(1)
    assert ((found > 0) == (light(image_of(truth)) > 0)).all()
    pairs = np.unique(np.stack([truth[found > 0], found[found > 0]]), axis=1)
    assert pairs.shape[1] == count  # each thing is one label, whole
    shapes, columns = read_layer(outputs[0])
    assert len(shapes) == count
    assert shapely.is_valid(shapes).all()
    assert columns["crs"] == UTM
    areas = np.bincount(truth.ravel())[1:] * 0.25
    assert sorted(shapely.area(shapes)) == pytest.approx(sorted(areas))


def test_a_thing_larger_than_tiles_is_joined_and_one_that_no_tile_saw_whole_is_asked_for(
    tmp_path: Path,
) -> None:
    numbers = np.zeros((600, 600), np.int32)
    numbers[40:60, 20:580] = numbers[40:560, 560:580] = 1  # an angle over all tiles
    numbers[300:340, 220:300] = 2

    class Shy(ThresholdModel):
        """Does not see what reaches the left border of a tile."""

        def everything(self, image: NDArray[Any], **settings: Any) -> Any:
            every = super().everything(image, **settings)
            return [one for one in every if one.area > 4000 or one.box[0] > 2]

    path = write_map(tmp_path / "a.tif", image_of(numbers))
    report = search(path, tmp_path / "a.gpkg", model=Shy())
    shapes, _ = read_layer(tmp_path / "a.gpkg")
    assert report.left_out == 0
    assert sorted(shapely.area(shapes) * 4) == [3200, 20 * 560 + 500 * 20]


def test_two_processes_do_not_write_one_layer(tmp_path: Path, ortho: Path) -> None:
    out = tmp_path / "a.gpkg"
    with open_worksheet(out, {}), pytest.raises(InputError, match="Another process"):
        search(ortho, out)


def test_another_model_begins_anew(tmp_path: Path) -> None:
    out = tmp_path / "a.gpkg"
    with contextlib.suppress(KeyboardInterrupt), open_worksheet(out, {"model": 1}) as work:
        work.keep("0,0,9,9", [])
        raise KeyboardInterrupt
    known = []
    for model in (1, 2):
        with contextlib.suppress(KeyboardInterrupt), open_worksheet(out, {"model": model}) as work:
            known.append(work.is_finished("0,0,9,9"))
            raise KeyboardInterrupt
    assert known == [True, False]
    with open_worksheet(out, {"model": 2}):
        pass
    assert not list(tmp_path.iterdir())


# Sources.


@pytest.mark.parametrize("driver", ["JP2OpenJPEG", "COG", "VRT"])
def test_other_formats_give_the_same_things(tmp_path: Path, ortho: Path, driver: str) -> None:
    from rasterio.shutil import copy

    other = tmp_path / {"JP2OpenJPEG": "o.jp2", "COG": "o.tiff", "VRT": "o.vrt"}[driver]
    lossless = {"quality": "100", "reversible": "yes"} if driver == "JP2OpenJPEG" else {}
    copy(ortho, other, driver=driver, **lossless)
    search(ortho, tmp_path / "a.gpkg")
    search(other, tmp_path / "b.gpkg")
    first, second = (read_layer(tmp_path / name)[0] for name in ("a.gpkg", "b.gpkg"))
    assert shapely.equals(first, second).all()


def test_a_folder_of_tiles_is_one_map(tmp_path: Path, ortho: Path, numbers: NDArray[Any]) -> None:
    pixels, folder = image_of(numbers), tmp_path / "tiles & more"
    folder.mkdir()
    for y, x in ((0, 0), (0, 250), (250, 0), (250, 250)):
        part = pixels[y : y + 350, x : x + 350]
        corner = (500_000.0 + x / 2, 5_300_000.0 - y / 2)
        write_map(folder / f"{y}_{x}.tif", part, corner=corner, nodata=0)
    search(ortho, tmp_path / "one.gpkg")
    search(folder, tmp_path / "many.gpkg")
    (one, _), (many, columns) = (read_layer(tmp_path / f"{n}.gpkg") for n in ("one", "many"))
    assert shapely.equals(one, many).all()
    assert {"0_0.tif", "250_250.tif"} <= set(columns["source"])

    write_map(folder / "odd.tif", pixels[:50, :50], corner=(500_000.2, 5_300_000.0))
    with pytest.raises(InputError, match=r"odd.tif is not on the grid"):
        search(folder, tmp_path / "x.gpkg")


def test_a_coarser_ground_sampling_finds_the_same_places(
    tmp_path: Path, ortho: Path, numbers: NDArray[Any]
) -> None:
    with open_map(ortho, gsd=1.0) as scene:
        assert scene.image_hw == (300, 300)
        assert scene.ground == pytest.approx((1.0, 1.0))
    search(ortho, tmp_path / "a.gpkg", gsd=1.0)
    shapes, columns = read_layer(tmp_path / "a.gpkg")
    areas = np.bincount(numbers.ravel())[1:] * 0.25
    assert sorted(shapely.area(shapes)) == pytest.approx(sorted(areas), rel=0.15)


def test_pixels_outside_of_the_map_are_no_things(tmp_path: Path, numbers: NDArray[Any]) -> None:
    pixels = image_of(numbers)
    pixels[:, 300:] = 255  # nodata, and lighter than any thing
    path = write_map(tmp_path / "a.tif", pixels, nodata=255)
    search(path, tmp_path / "a.gpkg", tmp_path / "a.tiff")
    shapes, _ = read_layer(tmp_path / "a.gpkg")
    assert shapely.bounds(shapes)[:, 2].max() <= 500_150
    with rasterio.open(tmp_path / "a.tiff") as labels:
        found = labels.read(1)
        assert (found[:, 300:] == labels.nodata).all()
        assert (found[:, :300] != labels.nodata).all()


@pytest.mark.parametrize(
    ("make", "telling"),
    [
        (lambda path: write_map(path, np.zeros((64, 64, 3), np.uint8), crs=None), "no CRS"),
        (lambda path: path.write_bytes(b"II*\0 no picture"), "cannot be read as a map"),
        (lambda path: path.mkdir(), "contains no map"),
        (lambda path: None, "File not found"),
    ],
)
def test_what_is_no_map_is_refused(tmp_path: Path, make: Any, telling: str) -> None:
    path = tmp_path / "a.tif"
    make(path)
    with pytest.raises(InputError, match=telling), open_map(path):
        pass


def test_a_broken_file_is_told_and_what_was_done_is_kept(tmp_path: Path, ortho: Path) -> None:
    data = ortho.read_bytes()
    ortho.write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match="the file is complete"):
        search(ortho, tmp_path / "a.gpkg")
    assert (tmp_path / ".a.gpkg.work").exists()


# Bands.


def bands_map(path: Path, **more: Any) -> Path:
    """Red 10, green 20, blue 30, near infrared 90, in that order."""
    pixels = np.tile(np.array([10, 20, 30, 90], np.uint8), (64, 64, 1))
    return write_map(path, pixels, **more)


@pytest.mark.parametrize(
    ("colors", "seen"),
    [
        ("auto", (10, 20, 30)),
        ("rgb", (10, 20, 30)),
        ("nir-r-g", (90, 10, 20)),
        ("rgb=3,2,1", (30, 20, 10)),
        ("ndvi", (230, 230, 230)),  # (90 - 10) / (90 + 10) = .8 of -1..1
        ("ndwi", (46, 46, 46)),  # (20 - 90) / (20 + 90)
    ],
)
def test_presets_pick_bands(tmp_path: Path, colors: str, seen: tuple[int, ...]) -> None:
    path = bands_map(tmp_path / "a.tif", photometric="MINISBLACK", alpha="unspecified")
    with open_map(path, colors=colors) as scene:
        assert scene.read((0, 0, 64, 64))[0][5, 5].tolist() == list(seen)


def test_bands_are_known_by_their_descriptions(tmp_path: Path) -> None:
    path = bands_map(tmp_path / "a.tif", names=("B08", "B04", "B03", "B11"))
    with open_map(path, colors="swir-nir-r") as scene:
        assert scene.read((0, 0, 64, 64))[0][0, 0].tolist() == [90, 10, 20]
    with pytest.raises(InputError, match="requires a blue band.*1 B08"):
        open_map(path, colors="rgb").__enter__()


def test_a_map_has_the_same_bands_at_every_door(tmp_path: Path) -> None:
    """Four bands of int16 without names; with other names, the first three or none are read."""
    values = np.random.default_rng(0).integers(0, 3000, (96, 96, 4)).astype(np.int16)
    path = write_map(tmp_path / "scene.tif", values, photometric="MINISBLACK", alpha="unspecified")
    right = load_image(values[..., :3])  # in the scale of an array
    np.testing.assert_array_equal(load_image(path), right)
    with open_map(path, ranges=((0, 3000),)) as scene:
        bands = np.rint(values[..., :3] * (255 / 3000)).astype(int)
        assert abs(scene.read((0, 0, 96, 96))[0] - bands).max() <= 1
    assert run("segment", path, "--model", "nano", "--point", "9,9", "-o", tmp_path / "a.png") == 0
    with Image.open(tmp_path / "a.png") as image:
        cut = np.asarray(image)
    solid = cut[..., 3] == 255
    assert solid.any()
    np.testing.assert_array_equal(cut[solid][:, :3], right[solid])
    named = bands_map(tmp_path / "b.tif", names=("nir", "red", "green", "swir"),
                      photometric="MINISBLACK", alpha="unspecified")  # fmt: skip
    with open_map(named) as scene:
        assert scene.view.bands == (1, 2, 3)
    with pytest.raises(ImageError, match="does not declare which are red"):
        load_image(named)


def test_sixteen_bits_have_the_same_black_and_white_in_all_windows(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(1000, 3000, 600)[None, :, None], (600, 1, 3)).astype(np.uint16)
    with open_map(write_map(tmp_path / "a.tif", ramp)) as scene:
        whole, _ = scene.read((0, 0, 600, 600))
        part, _ = scene.read((200, 100, 400, 300))
    assert (part == whole[100:300, 200:400]).all()
    assert whole.min() == 0
    assert whole.max() == 255


# Layers and areas.


def ellipsoid_area(west: float, south: float, east: float, north: float) -> float:
    """Of a cell between meridians and parallels of WGS 84, by its closed form."""
    radius, flat = 6378137.0, 1 / 298.257223563
    e = np.sqrt(flat * (2 - flat))

    def zone(latitude: float) -> float:
        s = np.sin(np.radians(latitude))
        return s / (1 - (e * s) ** 2) + np.log((1 + e * s) / (1 - e * s)) / (2 * e)

    share = np.radians(east - west) * radius**2 * (1 - e**2) / 2
    return float(share * (zone(north) - zone(south)))


@pytest.mark.parametrize("latitude", [0.0, 47.0, -70.0])
def test_areas_are_those_of_the_ellipsoid_in_any_crs(tmp_path: Path, latitude: float) -> None:
    step = 1e-4
    pixels = np.zeros((64, 64, 3), np.uint8)
    path = write_map(tmp_path / "a.tif", pixels, "EPSG:4326", (10.0, latitude + 0.01), step)
    expected = ellipsoid_area(
        10 + 10 * step, latitude + 0.01 - 30 * step, 10 + 40 * step, latitude + 0.01
    )
    with open_map(path) as scene:
        assert GroundArea(scene)(shapely.box(10, 0, 40, 30)) == pytest.approx(expected, rel=1e-7)
        x, y = pixel_meters(scene.dataset)
        assert x * y * 900 == pytest.approx(expected, rel=1e-4)


def test_web_mercator_does_not_enlarge_areas(tmp_path: Path) -> None:
    from rasterio.warp import transform

    pixels = np.zeros((64, 64, 3), np.uint8)
    path = write_map(tmp_path / "a.tif", pixels, "EPSG:3857", (1_000_000.0, 8_000_000.0), 2.0)
    (west, east), (north, south) = transform(
        "EPSG:3857", "EPSG:4326", [1_000_000, 1_000_100], [8_000_000, 7_999_900]
    )
    with open_map(path) as scene:
        area = GroundArea(scene)(shapely.box(0, 0, 50, 50))
    assert area == pytest.approx(ellipsoid_area(west, south, east, north), rel=1e-6)
    assert area < 100 * 100 / 2.5


def test_layers_agree_and_geojson_is_in_degrees(tmp_path: Path, ortho: Path) -> None:
    from rasterio.warp import transform_geom

    paths = [tmp_path / f"a.{ending}" for ending in ("gpkg", "fgb", "geojson")]
    search(ortho, *paths)
    (gpkg, columns), (fgb, others), (degrees, _) = map(read_layer, paths)
    assert columns["crs"] == others["crs"] == UTM
    assert sorted(shapely.area(gpkg)) == pytest.approx(sorted(shapely.area(fgb)))
    assert list(columns)[:5] == ["source", "prompt", "label", "score", "area_m2"]
    assert set(columns["source"]) == {"ortho.tif"}
    assert set(columns["prompt"]) == {"everything"}
    assert columns["area_m2"] == pytest.approx(shapely.area(gpkg) / 0.9996**2, rel=1e-4)
    document = json.loads(paths[2].read_text())
    assert "crs" not in document  # RFC 7946
    for feature, shape in zip(document["features"], gpkg, strict=True):
        ring = np.array(feature["geometry"]["coordinates"][0])
        assert shapely.is_ccw(shapely.LinearRing(ring))
        placed = transform_geom(UTM, "EPSG:4326", shapely.geometry.mapping(shape))
        mine = shapely.geometry.shape(placed)
        assert (
            shapely.geometry.shape(feature["geometry"]).equals_exact(mine, 1e-7, normalize=True)
            or abs(mine.area - shapely.geometry.shape(feature["geometry"]).area) < 1e-3 * mine.area
        )
    assert shapely.is_valid(degrees).all()


def test_small_things_are_left_out_and_a_map_without_things_is_a_layer(
    tmp_path: Path, ortho: Path, numbers: NDArray[Any]
) -> None:
    areas = np.bincount(numbers.ravel())[1:] * 0.25
    report = search(ortho, tmp_path / "a.gpkg", min_area=400)
    assert report.objects == (areas > 400).sum()
    for ending in ("gpkg", "fgb", "shp", "geojson", "tif"):
        search(ortho, tmp_path / f"b.{ending}", min_area=1e9)
        assert (tmp_path / f"b.{ending}").exists()
    assert len(read_layer(tmp_path / "b.fgb")[0]) == 0


# Shapes.


def test_buildings_get_right_angles_and_round_things_stay() -> None:
    walls = shapely.Polygon([(0, 0), (40, 0), (40, 20), (20, 20), (20, 35), (0, 35)])
    rng = np.random.default_rng(0)
    turned = shapely.affinity.rotate(walls, 27)
    rough = shapely.transform(
        shapely.segmentize(turned, 1.0),
        lambda xy: xy + rng.normal(0, 0.3, (len(xy) - 1, 2))[[*range(len(xy) - 1), 0]],
    )
    straight = right_angled(rough, 2.0)
    ring = shapely.get_coordinates(straight.exterior)[:-1]
    sides = np.roll(ring, -1, axis=0) - ring
    sides /= np.hypot(*sides.T)[:, None]
    assert len(ring) == 6
    assert np.abs((sides * np.roll(sides, 1, axis=0)).sum(axis=1)).max() < 1e-9
    both = straight.intersection(turned).area
    assert both / (straight.area + turned.area - both) > 0.95
    ring_road = shapely.Point(0, 0).buffer(30).difference(shapely.Point(0, 0).buffer(26))
    kept = right_angled(ring_road, 1.0)
    assert kept.intersection(ring_road).area > 0.8 * ring_road.area


# Prompts.


def prompted(scene: Any, *prompts: Any, **how: Any) -> NDArray[Any]:
    out = Path(scene.dataset.name).with_suffix(".gpkg")
    segment_tiles(
        scene, PromptProcessor(scene, ThresholdModel(), prompts, **how), [out], simplify=0
    )
    return read_layer(out)[0]


def test_pixels_and_map_coordinates_mean_the_same_place(ortho: Path, numbers: NDArray[Any]) -> None:
    from rasterio.warp import transform

    rows, columns = np.nonzero(numbers == 4)
    x, y = float(np.median(columns)) + 0.5, float(np.median(rows)) + 0.5
    with open_map(ortho) as scene:
        east, north = scene.dataset.transform * (x, y)
        (lon,), (lat,) = transform(UTM, "EPSG:4326", [east], [north])
        for crs, point in ((None, (x, y)), ("map", (east, north)), ("EPSG:4326", (lon, lat))):
            prompt = placed_prompt(scene, crs, [point], None, None)
            (shape,) = prompted(scene, prompt, tile=128)  # smaller than the thing's window may be
            assert shape.area == (numbers == 4).sum() / 4
        with pytest.raises(PromptError, match="Check --crs"):
            on_the_map([placed_prompt(scene, None, [(lon, -lat)], None, None)], scene, "x")
        with pytest.raises(PromptError, match="Invalid CRS"):
            placed_prompt(scene, "EPSG:x", [(1, 1)], None, None)


@pytest.mark.parametrize("ending", ["gpkg", "geojson"])
def test_prompts_come_from_points_and_boxes_of_a_layer(
    ortho: Path, tmp_path: Path, numbers: NDArray[Any], ending: str
) -> None:
    from rasterio.warp import transform

    places = [np.argwhere(numbers == n)[:, ::-1] for n in (1, 2, 3)]
    middles = np.array([np.median(one, axis=0) + 0.5 for one in places])
    east, north = 500_000 + middles[:, 0] / 2, 5_300_000 - middles[:, 1] / 2
    lon, lat = transform(UTM, "EPSG:4326", east, north)
    shapes = [*shapely.points(lon[:2], lat[:2]), shapely.Point(lon[2], lat[2]).buffer(1e-5)]
    shapes.append(shapely.Point(0, 0))  # off the map
    path = tmp_path / f"where.{ending}"
    names = np.array(["roof", "tree", "pond", "sea"], object)
    pyogrio.raw.write(
        path, shapely.to_wkb(np.array(shapes, object)), [names], np.array(["Name"], object),
        geometry_type="Unknown", crs="EPSG:4326",
    )  # fmt: skip
    with open_map(ortho) as scene:
        found = prompted(scene, *read_prompts(path, scene), tile=256)
    _, columns = read_layer(ortho.with_suffix(".gpkg"))
    assert sorted(columns["label"]) == ["pond", "roof", "tree"]
    assert sorted(shapely.area(found) * 4) == sorted((numbers == n).sum() for n in (1, 2, 3))


# Change.


def test_change_tells_what_appeared_and_what_vanished_also_on_another_grid(tmp_path: Path) -> None:
    from rasterio.enums import Resampling
    from rasterio.transform import from_origin
    from rasterio.warp import reproject

    numbers = field(600, 20, seed=5, radius=(15, 45))
    old = write_map(tmp_path / "old.tif", image_of(np.where(numbers == 20, 0, numbers)))
    later = np.where(np.isin(numbers, (3, 8)), 0, numbers)
    brighter = np.clip(image_of(later, seed=9) * 0.95 + 8, 0, 255).astype(np.uint8)
    new = write_map(tmp_path / "new.tif", brighter)
    turned = np.zeros((3, 700, 700), np.uint8)
    place = from_origin(499_980.0, 5_300_020.0, 0.55, 0.55)
    with rasterio.open(new) as file:
        reproject(
            file.read(), turned, src_transform=file.transform, src_crs=UTM, dst_transform=place,
            dst_crs=UTM, resampling=Resampling.bilinear,
        )  # fmt: skip
    other = write_map(
        tmp_path / "other.tif",
        turned.transpose(1, 2, 0),
        corner=place[2::3][:2],
        step=0.55,
        nodata=0,
    )
    for second in (new, other):
        out, model = tmp_path / "change.gpkg", ThresholdModel()
        with open_map(old) as a, open_map(second) as b, aligned(b, a) as on_a:
            processor = ChangeProcessor(a, on_a, model, model.everything, tile=256)
            segment_tiles(a, processor, [out], simplify=0)
        _, columns = read_layer(out)
        found = sorted(zip(columns["label"], columns["area_m2"], strict=True))
        sizes = np.bincount(numbers.ravel()) * 0.25 / 0.9996**2
        assert [label for label, _ in found] == ["appeared", "vanished", "vanished"]
        places = dict(zip(columns["label"], columns["source"], strict=True))
        assert places == {"appeared": second.name, "vanished": "old.tif"}
        expected = [sizes[20], *sorted((sizes[3], sizes[8]))]
        assert [area for _, area in found] == pytest.approx(expected, rel=0.05)


def test_the_bare_ground_of_a_house_that_went_is_no_new_object(tmp_path: Path) -> None:
    """The model finds only what is lighter than 150: not the black house, but its ground."""
    before, after = np.full((2, 128, 128, 3), 140, np.uint8)
    before[40:80, 50:90] = 20
    after[40:80, 50:90] = 160
    model: Any = ThresholdModel()
    for pair, label in (((before, after), "vanished"), ((after, before), "appeared")):
        old, new = (
            write_map(tmp_path / f"{n}.tif", one, compress=None) for n, one in enumerate(pair)
        )
        with open_map(old) as first, open_map(new) as second:
            processor = ChangeProcessor(first, second, model, model.everything)
            (piece,) = processor.detect((0, 0, 128, 128))
        assert (piece.label, piece.outline.area) == (label, 40 * 40)


# Commands.


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_commands_write_layers_with_the_bundled_model(
    tmp_path: Path, ortho: Path, numbers: NDArray[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "all.gpkg"
    assert run("everything", ortho, "-o", out, "--grid", 16) == 0
    shapes, _ = read_layer(out)
    with rasterio.open(ortho) as image:
        place = image.transform
    masks = [
        rasterio.features.rasterize([one], numbers.shape, transform=place) > 0 for one in shapes
    ]
    found = {
        number
        for number in range(1, 26)
        for mask in masks
        if (mask & (numbers == number)).sum() > 0.75 * (mask | (numbers == number)).sum()
    }
    assert len(found) >= 20
    y, x = np.argwhere(numbers == 4).mean(axis=0)
    assert run("segment", ortho, "--point", f"{x},{y}", "-o", tmp_path / "one.geojson") == 0
    (feature,) = json.loads((tmp_path / "one.geojson").read_text())["features"]
    assert feature["properties"]["area_m2"] == pytest.approx((numbers == 4).sum() / 4, rel=0.2)
    assert "wrote" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "step", "roofs", "told"),
    [
        ("everything --model nano-roofs", 0.2, 4, ()),  # all are found
        ("everything --model nano-roofs --gsd 0.1", 0.2, 4, ()),
        ("everything --model nano-roofs --gsd 0.5", 0.2, 4, ()),
        # Tiles of 100 m: 200 pixels become 512.
        ("everything --model nano-roofs", 0.5, 0, ("0.19 m per", "than 6.2 m")),
        # 400 pixels become 512: 0.78 m, and 32 pixels are 25 m, more than a house has.
        ("everything --model nano-roofs --tile 400", 1.0, 4, ("0.78 m per", "than 25 m", "--tile")),
        ("everything --model nano --grid 4", 0.2, 0, ("--model nano-roofs", "--tile")),
        ("find building", 0.2, 0, ("nano-roofs", "--detector or --like", "roofs.tif --prompts")),
    ],
)
def test_little_on_a_map_for_its_resolution_is_told(
    command: str, step: float, roofs: int, told: tuple[str, ...], tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    no_words = SimpleNamespace(
        model=Model(ColorRuntime()), segment_tile=lambda _: Masks(), about={}
    )
    monkeypatch.setattr(FindTask, "open", lambda _: no_words)  # the network takes half a minute
    ground = np.full((400, 400, 3), 65, np.uint8)
    for x, y in ((60, 60), (250, 80), (90, 260), (280, 290))[:roofs]:
        ground[y : y + 60, x : x + 80] += 140
    (name, *words), out = command.split(), tmp_path / "a.gpkg"
    assert run(name, write_map(tmp_path / "roofs.tif", ground, step=step), *words, "-o", out) == 0
    said = capsys.readouterr().err
    assert [one in said for one in ("To find more", *told)] == [bool(told)] + len(told) * [True]
    assert told or [len(shapely.get_coordinates(one)) for one in read_layer(out)[0]] == 4 * [
        5
    ]  # rectangles


def test_maps_of_different_places_are_not_compared(tmp_path: Path, ortho: Path) -> None:
    far = write_map(tmp_path / "far.tif", np.ones((64, 64, 3), np.uint8), corner=(6e5, 5e6))
    with (
        open_map(ortho) as a,
        open_map(far) as b,
        pytest.raises(InputError, match="do not overlap"),
        aligned(b, a),
    ):
        pass
