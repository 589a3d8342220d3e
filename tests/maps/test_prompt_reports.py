"""What is said of prompts on a map: which have no mask and why, with all digits of their places."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from anymask.cli import main as door
from anymask.cli.maps import read_map_prompts
from anymask.jobs import MapSettings

rasterio = pytest.importorskip("rasterio")
pyogrio = pytest.importorskip("pyogrio")
shapely = pytest.importorskip("shapely")

from anymask.maps import PromptProcessor, open_map, placed_prompt, read_prompts, segment_tiles  # noqa: E402
from tests.maps.made import UTM, ThresholdModel, field, image_of, write_map  # noqa: E402


def place(x: float, y: float) -> tuple[float, float]:
    """The coordinates of a pixel of the made maps."""
    return 500_000 + x / 2, 5_300_000 - y / 2


@pytest.fixture(scope="module")
def numbers() -> NDArray[Any]:
    return field(300, 6, seed=3, radius=(10, 30))


@pytest.fixture
def torn(tmp_path: Path, numbers: NDArray[Any]) -> Path:
    """A map whose right half has no data."""
    pixels = image_of(numbers)
    pixels[:, 150:] = 255
    return write_map(tmp_path / "torn.tif", pixels, nodata=255)


def center(numbers: NDArray[Any], columns: slice) -> tuple[float, float]:
    """The middle of the largest object in some columns."""
    inside = numbers[:, columns]
    largest = np.bincount(inside[inside > 0]).argmax()
    y, x = np.median(np.argwhere(inside == largest), axis=0)
    return float(x) + 0.5, float(y) + 0.5


@pytest.mark.parametrize("killed", [False, True], ids=["whole", "resumed"])
def test_each_prompt_without_a_mask_is_listed_with_the_reason(
    torn: Path, tmp_path: Path, numbers: NDArray[Any], killed: bool
) -> None:
    good = center(numbers, slice(0, 140))
    ground = next((x + 0.5, y + 0.5) for y, x in np.argwhere(numbers[:, :140] == 0))
    shapes = [
        shapely.Point(place(*good)),
        shapely.Point(place(250, 100)),  # no data
        shapely.box(*place(200, 120), *place(240, 80)),  # no data
        shapely.Point(place(*good)),  # the same again
        shapely.Point(place(*ground)),
        shapely.Point(0, 0),  # off the map
        shapely.Point(),
    ]
    layer = tmp_path / "where.gpkg"
    pyogrio.raw.write(
        layer, shapely.to_wkb(np.array(shapes, object)), [np.arange(7)], np.array(["n"], object),
        geometry_type="Unknown", crs=UTM,
    )  # fmt: skip

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    out = tmp_path / "a.gpkg"
    with open_map(torn) as scene:
        prompts = read_prompts(layer, scene)

        def survey(**how: Any) -> Any:
            return segment_tiles(
                scene, PromptProcessor(scene, ThresholdModel(), prompts, tile=64), [out], **how
            )

        if killed:
            with pytest.raises(KeyboardInterrupt):
                survey(progress=stop)
        steps: list[tuple[int, int]] = []
        report = survey(progress=lambda *step: steps.append(step))
        assert steps == [(done, 5) for done in range(6 - len(steps), 6)]  # prompts, not windows
        assert (len(steps) < 5) == killed
        small = survey(min_area=1e6)
    empty, nothing = (
        "the map has no data at this location",
        "the model found no object at this location",
    )
    assert report.objects == 2
    assert report.without == (
        ("where.gpkg 2", empty), ("where.gpkg 3", empty), ("where.gpkg 5", nothing)
    )  # fmt: skip
    assert [text for text, _ in small.without] == [f"where.gpkg {n}" for n in range(1, 6)]
    assert "--min-area" in dict(small.without)["where.gpkg 1"]


def test_prompts_off_the_map_are_named(
    torn: Path, numbers: NDArray[Any], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    layer = tmp_path / "where.gpkg"
    shapes = np.array([shapely.Point(place(5, 5)), shapely.Point(0, 0), shapely.Point()], object)
    pyogrio.raw.write(
        layer, shapely.to_wkb(shapes), [np.arange(3)], np.array(["n"], object),
        geometry_type="Point", crs=UTM,
    )  # fmt: skip
    with open_map(torn) as scene:
        assert len(read_prompts(layer, scene)) == 1
    assert "1 of 2 prompts are outside the map: where.gpkg 2" in caplog.text
    assert "without a geometry were skipped: where.gpkg 3" in caplog.text


@pytest.mark.parametrize("value", [9_849_850.25, 250_150, 1e-7, -179.12345678901, 0.0])
def test_coordinates_keep_all_digits(torn: Path, value: float) -> None:
    with open_map(torn) as scene:
        point = placed_prompt(scene, "map", [(value, 5_299_990)], None, None).source or ""
        box = placed_prompt(scene, None, None, None, (1, 2, 3, value)).source or ""
    x, y = map(float, point.removeprefix("point ").split(","))
    assert (x, y) == (value, 5_299_990)
    assert float(box.split(",")[-1]) == value
    assert "e" not in point.removeprefix("point ")


@pytest.mark.parametrize(
    ("option", "text", "expected"),
    [
        ("--point", "500005.1,5299990.3", [(10.2, 19.4)]),
        ("--scribble", "500005.1,5299990.3 500020.1,5299990.3", [(12.7, 19.4), (37.7, 19.4)]),
        ("--box", "500005.1,5299980.3,500020.1,5299990.3", [(10.2, 19.4), (40.2, 39.4)]),
    ],
)
def test_coordinates_on_the_command_line_keep_their_decimals(
    torn: Path, option: str, text: str, expected: list[tuple[float, float]]
) -> None:
    """A northing in float32 has steps of half a meter, which is a pixel of this map."""
    command = door.load(door.commands()["segment"])
    args = command.parser("segment").parse_args(["a.tif", option, text, "-o", "b.gpkg"])
    with open_map(torn) as scene:
        (found,) = read_map_prompts(args, scene, MapSettings(crs="map"))
    points = found.points if found.box is None else found.box.reshape(2, 2)
    np.testing.assert_allclose(points[[0, -1]][: len(expected)], expected, atol=0.01)
    assert found.source == f"{option[2:]} {text}"
