"""Map layers: write objects as GPKG, FlatGeobuf, Shapefile, GeoJSON or labels; read prompts.

Objects are written one at a time, never all in memory. GeoJSON is in WGS 84, as its
standard requires; the others use the CRS of the map. A label image has the CRS, transform and
nodata value of the map file, and object numbers as values. Where objects overlap, the smaller one
is on top.

Letters: n objects, h w a strip of rows.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import rasterio
import shapely
from rasterio.crs import CRS
from rasterio.features import rasterize

from anymask.base import AnymaskError, FloatArray, Floats, InputError, PromptError, whole_file
from anymask.formats import suffix_instead
from anymask.maps.scene import WGS_84, Scene
from anymask.maps.shapes import on_map
from anymask.maps.sources import REQUESTED_LAYERS, layer_source, offline_layers
from anymask.maps.tile_store import MapObject, TileStore
from anymask.masks import Prompt

VECTORS = (".gpkg", ".fgb", ".shp", ".geojson")
LABEL_IMAGE_SUFFIXES = (".tif", ".tiff")
FIELDS = ("source", "prompt", "label", "score", "area_m2")
_WRITE_BATCH_SIZE = 5000  # objects per write call
_STRIP_PIXELS = 1 << 24  # pixels of a label image per strip
_BLOCK_SIDE = 256
_LABEL_COLUMNS = ("label", "name", "class", "category", "type")  # label columns of a prompt layer

log = logging.getLogger(__name__)


def check_map_outputs(paths: Sequence[Path]) -> None:
    """Validate output paths. Raises InputError if a format is not supported or no path is given."""
    for path in paths:
        if path.suffix.lower() not in (*VECTORS, *LABEL_IMAGE_SUFFIXES):
            near = suffix_instead(path.suffix.lower())
            raise InputError(
                (
                    f"Unsupported output {path.name!r}. For maps, use "
                    f"{', '.join(VECTORS)} or {LABEL_IMAGE_SUFFIXES[0]} (labels)."
                )
                + (f" Did you mean {path.with_suffix(near)}?" if near in VECTORS else "")
            )
    if not paths:
        raise InputError("An output file is required, such as -o objects.gpkg")


def write_objects(path: Path, scene: Scene, work: TileStore, sources: Sources) -> None:
    """Write all objects in the format of the suffix, atomically. Raises OSError.

    Args:
        sources: Source of the objects with some labels, instead of the file of the scene.
    """
    suffix = path.suffix.lower()
    path.parent.mkdir(parents=True, exist_ok=True)
    if suffix == ".geojson":
        with whole_file(path) as file:
            file.write(b'{"type": "FeatureCollection", "features": [')
            for number, map_object in enumerate(work.finished()):
                placed = on_map(map_object.shape, scene, WGS_84)
                rounded = shapely.transform(placed, lambda xy: xy.round(8))  # to about 1 mm
                placed = rounded if rounded.is_valid else placed
                placed = shapely.orient_polygons(placed)  # RFC 7946: exteriors are counterclockwise
                shown = placed.geoms[0] if len(placed.geoms) == 1 else placed
                feature = {
                    "type": "Feature",
                    "id": map_object.number,
                    "properties": dict(
                        zip(FIELDS, attributes(map_object, scene, sources), strict=True)
                    ),
                    "geometry": shapely.geometry.mapping(shown),
                }
                file.write((b",\n" if number else b"\n") + json.dumps(feature).encode())
            file.write(b"\n]}\n")
        return
    draft = path.with_name(f".{path.stem}.part{suffix}")
    try:
        if suffix in LABEL_IMAGE_SUFFIXES:
            _write_labels(draft, scene, work)
        else:
            _write_layer(draft, path.stem, scene, work, sources)
        for part in _parts(draft):
            part.replace(path.with_suffix(part.suffix))
    finally:
        for part in _parts(draft):
            part.unlink()


def _parts(draft: Path) -> list[Path]:
    """Existing files of a layer, main file last. A Shapefile has several."""
    several = (".shx", ".dbf", ".prj", ".cpg", ".shp")
    suffixes = several if draft.suffix == ".shp" else (draft.suffix,)
    return [part for suffix in suffixes if (part := draft.with_suffix(suffix)).is_file()]


Sources = Mapping[str | None, str]
Attributes = tuple[str, str, str | None, float, float]


def attributes(one: MapObject, scene: Scene, sources: Sources) -> Attributes:
    """Attributes of an object, in the order of FIELDS."""
    middle = shapely.get_coordinates(shapely.point_on_surface(one.shape))[0]
    source = sources.get(one.label) or scene.source_at(float(middle[0]), float(middle[1]))
    return source, one.prompt, one.label, round(one.score, 4), round(one.area, 3)


def _write_layer(draft: Path, name: str, scene: Scene, work: TileStore, sources: Sources) -> None:
    """Write GPKG and Shapefile in batches, FlatGeobuf as a stream from a temporary GPKG, because
    it does not support appending."""
    if draft.suffix == ".fgb":
        aside = draft.with_suffix(".gpkg")
        try:
            _write_layer(aside, name, scene, work, sources)
            with pyogrio.open_arrow(aside, use_pyarrow=False) as (meta, stream):
                pyogrio.write_arrow(
                    stream, draft, driver="FlatGeobuf", layer=name, crs=meta["crs"],
                    geometry_type="MultiPolygon", geometry_name=meta["geometry_name"] or "geom",
                )  # fmt: skip
        finally:
            aside.unlink(missing_ok=True)
        return
    for part in _parts(draft):
        part.unlink()
    is_shapefile = draft.suffix == ".shp"
    rows, first = work.finished(), True
    while (some := list(islice(rows, _WRITE_BATCH_SIZE))) or first:
        shapes = [on_map(map_object.shape, scene) for map_object in some]
        values = [attributes(map_object, scene, sources) for map_object in some]
        columns = list(zip(*values, strict=True)) or [()] * 5
        kinds = (object, object, object, np.float64, np.float64)
        pyogrio.raw.write(
            draft,
            np.array([shapely.to_wkb(shape) for shape in shapes], object),
            [np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)],
            np.array(FIELDS, object),
            layer=name,
            driver="ESRI Shapefile" if is_shapefile else "GPKG",
            geometry_type="Polygon" if is_shapefile else "MultiPolygon",
            encoding="UTF-8" if is_shapefile else None,
            crs=scene.crs.to_wkt(),
            append=not first,
        )
        first = False


# Labels.


def _write_labels(draft: Path, scene: Scene, work: TileStore) -> None:
    source, missing = scene.dataset, scene.dataset.nodata
    if missing is not None:  # 0 if a label image does not support the value of the map
        is_whole = np.isfinite(missing) and abs(missing) < 2**31 and missing == int(missing)
        missing = int(missing) if is_whole else 0
    profile = {
        "driver": "GTiff", "dtype": "int32", "count": 1, "crs": source.crs,
        "width": source.width, "height": source.height, "transform": source.transform,
        "nodata": missing, "tiled": True, "blockxsize": _BLOCK_SIDE, "blockysize": _BLOCK_SIDE,
        "compress": "deflate", "bigtiff": "if_safer",
    }  # fmt: skip
    rows = max(1, _STRIP_PIXELS // source.width // _BLOCK_SIDE) * _BLOCK_SIDE
    with rasterio.open(draft, "w", **profile) as file:
        for top in range(0, source.height, rows):
            height = min(rows, source.height - top)
            strip = np.zeros((height, source.width), np.int32)
            shapes = [
                # The value of an object is its number, but the nodata value is skipped.
                (
                    _in_strip(map_object.shape, scene.step, top),
                    map_object.number + (missing is not None and 0 < missing <= map_object.number),
                )
                for map_object in work.in_rows(top / scene.step[1], (top + height) / scene.step[1])
            ]
            if shapes:
                rasterize(shapes, out=strip)
            window = rasterio.windows.Window(0, top, source.width, height)
            if missing is not None:
                strip[source.dataset_mask(window=window) == 0] = missing
            file.write(strip, 1, window=window)


def _in_strip(shape: shapely.Geometry, step: tuple[float, float], top: int) -> shapely.Geometry:
    return shapely.transform(shape, lambda xy: xy * step - (0, top))


# Prompts.


def crs_of(text: str | None, scene: Scene) -> Any:
    """Parse a CRS. "map" is the CRS of the map, None means pixels. Raises PromptError."""
    if text is None:
        return None
    if text.strip().lower() == "map":
        return scene.crs
    try:
        return CRS.from_user_input(text.strip())
    except (rasterio.errors.CRSError, ValueError) as error:
        raise PromptError(
            f'Invalid CRS {text!r}. Use a CRS such as EPSG:4326, or "map".'
        ) from error


def placed_prompt(scene: Scene, crs: str | None, points: Any, labels: Any, box: Any) -> Prompt:
    """Create a prompt in pixels of the scene, with its coordinates as `source`.

    Args:
        points: Points (n, 2), in the CRS or in pixels of the file.
        box: Box (4,), likewise.

    Raises:
        PromptError: The CRS or the prompt is invalid.
    """
    coords, system = np.asarray([] if points is None else points, float), crs_of(crs, scene)
    words = [f"point {_numbers(point)}" for point in coords.reshape(-1, 2)]
    around = None
    if box is not None:
        words.append(f"box {_numbers(np.asarray(box, np.float64))}")
        around = _box_in_pixels(scene, np.asarray(box, np.float64), system)
    clicks = scene.to_pixels(coords, system) if coords.size else None
    return replace(Prompt.of(clicks, labels, around), source="; ".join(words))


def _numbers(values: Floats) -> str:
    """Format coordinates with all digits: a northing in meters has seven integer digits."""
    return ",".join(np.format_float_positional(value, trim="-") for value in values)


def _box_in_pixels(scene: Scene, box: Floats, crs: Any) -> Floats:
    """Bounding box of a box's four corners, which may be rotated in the map."""
    x0, y0, x1, y1 = box.tolist()
    corners = scene.to_pixels([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], crs)
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


def read_prompts(path: Path, scene: Scene, crs: str | None = None) -> list[Prompt]:
    """Read one prompt per point or shape of a layer, with labels from a label column.

    Args:
        crs: CRS of a layer that does not declare one.

    Raises:
        PromptError: The layer cannot be read, declares no CRS, or is outside the map.
    """
    try:
        source, declared = layer_source(path, crs)
        with offline_layers():
            meta, _, geometries, columns = pyogrio.raw.read(source, read_geometry=True)
        shapes, named = shapely.from_wkb(geometries), declared or meta["crs"] or crs
    except AnymaskError:
        raise
    except OSError as error:
        raise PromptError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # GDAL and GEOS exceptions, and IndexError for corrupted files
        raise PromptError(
            f"{path.name} is corrupted or not a layer. Expected {REQUESTED_LAYERS}. Copy "
            "or create it again."
        ) from error
    if named is None:
        raise PromptError(f"{path.name} does not declare its CRS. Pass --crs EPSG:NUMBER")
    system, fields = crs_of(named, scene), [str(name).lower() for name in meta["fields"]]
    column = next((columns[fields.index(name)] for name in _LABEL_COLUMNS if name in fields), None)
    prompts, without, flat = [], list[str](), list[str]()
    for number, shape in enumerate(shapes, start=1):
        text = f"{path.name} {number}"
        if shape is None or shape.is_empty:
            without.append(text)
            continue
        value = None if column is None else column[number - 1]
        try:
            if shape.geom_type in ("Point", "MultiPoint"):
                prompt = Prompt.of(scene.to_pixels(shapely.get_coordinates(shape), system))
            else:
                box = _box_in_pixels(scene, np.array(shape.bounds), system)
                if np.isfinite(box).all() and not (box[2:] > box[:2]).all():
                    flat.append(text)
                    continue
                prompt = Prompt.of(box=box)
        except InputError as error:
            raise PromptError(
                f"{text} has coordinates that are invalid in {str(named)[:40]}. "
                "GeoJSON without a CRS is read as longitude and latitude. Pass the "
                "CRS of the file: --crs EPSG:NUMBER."
            ) from error
        prompts.append(replace(prompt, source=text, label=None if value is None else str(value)))
    if without:
        log.warning("Features without a geometry were skipped: %s", name_some(without))
    if flat:
        log.warning("Features whose box has no area were skipped: %s", name_some(flat))
    return on_the_map(prompts, scene, str(path))


def name_some(texts: Sequence[str], most: int = 10) -> str:
    """List the first texts, and the number of the others."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def on_the_map(prompts: list[Prompt], scene: Scene, source: str) -> list[Prompt]:
    """Select the prompts inside the map and log the others.

    Raises:
        PromptError: All prompts are outside the map.
    """
    lies = [_lies_on(prompt, scene.image_hw[::-1]) for prompt in prompts]
    inside = [prompt for prompt, here in zip(prompts, lies, strict=True) if here]
    if not inside:
        height, width = scene.image_hw
        if not prompts:
            raise PromptError(f"{source} has no prompt. Add a point or a shape for each object.")
        x, y = corners_of(prompts[0])[0]
        raise PromptError(
            f"All prompts of {source} are outside the map: the first prompt is at pixel "
            f"{x:.0f},{y:.0f}, but the map has {width} x {height} pixels. Check --crs."
        )
    if len(inside) < len(prompts):
        off = [str(prompt.source) for prompt, here in zip(prompts, lies, strict=True) if not here]
        log.warning(
            "%d of %d prompts are outside the map: %s", len(off), len(prompts), name_some(off)
        )
    return inside


def corners_of(prompt: Prompt) -> FloatArray:
    """Points (n, 2) of a prompt, or the two corners of its box."""
    if prompt.box is not None:
        return prompt.box.reshape(2, 2)
    assert prompt.points is not None  # masks, lassos and words are refused before
    return prompt.points


def _lies_on(prompt: Prompt, size: tuple[int, int]) -> bool:
    """Whether all points of a prompt, or a part of its box, lie inside a map of (W, H)."""
    corners = corners_of(prompt)
    if prompt.box is not None:
        return bool((corners[0] < size).all() and (corners[1] > 0).all())
    return bool(((corners >= 0) & (corners < size)).all())
