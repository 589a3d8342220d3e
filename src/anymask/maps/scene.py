"""Windowed access to a map of any size: one file, or a folder of tiles.

Supported rasters are those of `maps.sources`. The image is never rotated or reprojected: its pixels
are those of the file, or resampled to a ground sampling distance (`gsd`). Tiles of one grid form a
VRT in memory, so that windows can cross file borders.

Coordinates: pixels (x, y) of the scene, with borders at whole numbers; map coordinates, by the
affine transform of the file; longitude and latitude. Letters: h w a window, n points.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import ArrayLike

from anymask.base import (
    AnymaskError,
    BoolArray,
    Floats,
    ImageError,
    InputError,
    MissingExtra,
    UintImage,
    preview_html,
)
from anymask.images import suggest_command
from anymask.maps.bands import BandView, choose_bands, choose_ranges
from anymask.maps.sources import EXPECTED, check_overviews, offline_rasters, raster_driver
from anymask.masks import PREVIEW_SIDE, Window, preview_of

try:
    import pyogrio  # noqa: F401 - of `layers`; who opens a map needs all three
    import rasterio
    import shapely  # noqa: F401 - of `shapes`
    from rasterio.crs import CRS
    from rasterio.enums import Resampling
    from rasterio.transform import Affine
    from rasterio.warp import transform as transform_points
except ImportError as error:
    raise MissingExtra(str(error.name), "maps", "a map") from error

RASTER_SUFFIXES = frozenset({".tif", ".tiff", ".vrt", ".jp2", ".j2k"})
GDAL_CACHE_BYTES = 256 * 2**20  # size of the GDAL cache; the default is a share of the RAM
WGS_84 = CRS.from_epsg(4326)
_RADIUS, _FLATTENING = 6378137.0, 1 / 298.257223563  # WGS 84 ellipsoid
_ALIGNED = 0.02  # maximum offset of a tile from the common grid, in pixels


@dataclass(frozen=True, eq=False)
class Scene:
    """An open map. Created by `open_map`."""

    dataset: Any  # Rasterio dataset
    name: str  # Name of the file or folder
    view: BandView  # Selected bands
    step: tuple[float, float]  # File pixels per scene pixel, along x and y
    # Names of the tiles, and their boxes (n, 4) in file pixels. One for a single file.
    files: tuple[tuple[str, ...], Floats]
    about: dict[str, Any]  # Settings that affect results

    def __repr__(self) -> str:
        height, width = self.image_hw
        x, y = self.ground
        crs = self.crs.to_string()[:40] if self.crs else "no CRS"
        return f"<Scene {self.name[:60]!r} of {width}x{height}, {x:.3g} x {y:.3g} m, {crs}>"

    def _repr_html_(self) -> str:
        """Preview of the whole map, reduced."""
        (height, width), box = self.image_hw, (0, 0, *self.image_hw[::-1])
        scale = min(1.0, PREVIEW_SIDE / max(height, width))
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        return preview_html(repr(self), (), preview_of(lambda: self.read_scaled(box, size)[0]))

    @property
    def image_hw(self) -> tuple[int, int]:
        """Size of the scene (H, W) in pixels."""
        height, width = self.dataset.shape
        return max(1, round(height / self.step[1])), max(1, round(width / self.step[0]))

    @property
    def crs(self) -> Any:
        """CRS of the map."""
        return self.dataset.crs

    @property
    def transform(self) -> Any:
        """Affine transform from scene pixels to map coordinates."""
        return self.dataset.transform * Affine.scale(*self.step)

    @property
    def ground(self) -> tuple[float, float]:
        """Size of a scene pixel along x and y at the center of the map, in meters."""
        return tuple(a * b for a, b in zip(pixel_meters(self.dataset), self.step, strict=True))  # type: ignore[return-value]  # two values

    def read(self, window: Window) -> tuple[UintImage, BoolArray]:
        """Read a window as an RGB image (h, w, 3), and its valid pixels (h, w).

        Raises:
            ImageError: The file cannot be read.
        """
        x0, y0, x1, y1 = window
        return self.read_scaled(window, (y1 - y0, x1 - x0))

    def read_scaled(self, window: Window, size_hw: tuple[int, int]) -> tuple[UintImage, BoolArray]:
        """Read a window resampled to another size. See `read`."""
        (x0, y0, x1, y1), (fx, fy) = window, self.step
        right, bottom = min(x1 * fx, self.dataset.width), min(y1 * fy, self.dataset.height)
        extent = rasterio.windows.Window(x0 * fx, y0 * fy, right - x0 * fx, bottom - y0 * fy)
        bands = list(self.view.bands)
        coarser = extent.width > size_hw[1] and self.view.palette is None
        how = Resampling.average if coarser else Resampling.nearest
        try:
            pixels = self.dataset.read(
                bands, window=extent, out_shape=(len(bands), *size_hw), resampling=how
            )
            valid = self.dataset.dataset_mask(window=extent, out_shape=size_hw) > 0
        except Exception as error:  # GDAL exception classes are not public
            raise ImageError(
                f"{self.name} cannot be read at x={x0 * fx:.0f}, y={y0 * fy:.0f}. "
                "Check that the file is complete."
            ) from error
        image = self.view.image(pixels)
        image[~valid] = 0
        return image, valid

    def to_pixels(self, points: ArrayLike, crs: Any = None) -> Floats:
        """Convert points (n, 2) of a CRS to scene pixels. None: the points are file pixels."""
        xy = np.asarray(points, np.float64).reshape(-1, 2)
        if crs is None:
            return xy / self.step
        if crs != self.crs:
            xy = transformed(xy, crs, self.crs)
        return moved(xy, ~self.transform)

    def source_at(self, x: float, y: float) -> str:
        """Name of the file that contains a scene pixel."""
        names, boxes = self.files
        px, py = x * self.step[0], y * self.step[1]
        inside = (boxes[:, :2] <= (px, py)).all(axis=1) & (boxes[:, 2:] > (px, py)).all(axis=1)
        return names[int(inside.argmax())] if inside.any() else names[0]


@contextlib.contextmanager
def open_map(
    sources: str | Path | Sequence[str | Path],
    *,
    colors: str = "auto",
    bands: tuple[int, ...] | None = None,
    stretch: tuple[float, ...] | None = None,
    ranges: tuple[tuple[float, float] | None, ...] | None = None,
    gsd: float | None = None,
) -> Iterator[Scene]:
    """Open a map: a file, several tiles of one grid, or a folder of them.

    Args:
        colors: "auto" (natural colors), "rgb", "nir-r-g", "swir-nir-r", "ndvi", "ndwi", or with
            band numbers, such as "nir-r-g=4,1,2".
        bands: One or three band numbers instead, from 1.
        stretch: Two percentiles of black and white.
        ranges: Values of black and white instead.
        gsd: Ground sampling distance in meters per pixel. Default: the pixels of the file.

    Raises:
        InputError: A setting is invalid, the map has no CRS, or the tiles have different grids.
        ImageError: GDAL cannot read the file.
        MissingExtra: A required library is not installed.
    """
    paths = _tiles(
        [Path(source) for source in ([sources] if isinstance(sources, str | Path) else sources)]
    )
    with offline_rasters(GDAL_CACHEMAX=GDAL_CACHE_BYTES), contextlib.ExitStack() as stack:
        if len(paths) == 1:
            dataset = stack.enter_context(_open(paths[0]))
            boxes = np.array([[0, 0, dataset.width, dataset.height]], np.float64)
        else:
            text, boxes = mosaic(paths)
            dataset = stack.enter_context(rasterio.open(text, driver="VRT"))
        name = paths[0].name if len(paths) == 1 else paths[0].parent.name
        _check_place(dataset, name)
        view = choose_bands(dataset, colors, bands)
        view = replace(view, ranges=choose_ranges(dataset, view, stretch, ranges))
        step = (1.0, 1.0)
        if gsd is not None:
            if not 0 < gsd < math.inf:
                raise InputError(f"Invalid gsd {gsd}. Use a number of meters above 0.")
            x, y = pixel_meters(dataset)
            step = (gsd / x, gsd / y)
        stamps = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
        about = {"files": stamps, "step": step, **view.about()}
        yield Scene(dataset, name, view, step, (tuple(p.name for p in paths), boxes), about)


def is_map(path: Path) -> bool:
    """Whether a file, or the first tile of a folder, has a CRS."""
    with contextlib.suppress(InputError), _open(_tiles([path])[0]) as dataset:
        return dataset.crs is not None
    return False


def moved(points: Floats, transform: Any) -> Floats:  # (n, 2) -> (n, 2)
    """Apply an affine transform to points, such as pixels to map coordinates."""
    a, b, c, d, e, f = tuple(transform)[:6]
    return points @ np.array([[a, d], [b, e]]) + (c, f)


def transformed(points: Floats, source: Any, target: Any) -> Floats:  # (n, 2) -> (n, 2)
    """Convert points to another CRS, x or longitude first. Raises InputError outside its area."""
    with contextlib.suppress(Exception):  # an invalid latitude; PROJ exceptions are not public
        x, y = transform_points(source, target, points[:, 0], points[:, 1])
        converted = np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)], axis=1)
        if np.isfinite(converted).all():
            return converted
    raise InputError(
        f"Some points are outside the area of {target}. Check their CRS and the order of x and y."
    )


def pixel_meters(dataset: Any) -> tuple[float, float]:
    """Size of a pixel along x and y at the center of a map in meters, on the WGS 84 ellipsoid."""
    steps = np.array([[-0.5, 0], [0.5, 0], [0, -0.5], [0, 0.5]])
    corners = steps + np.array([dataset.width, dataset.height]) / 2
    degrees = transformed(moved(corners, dataset.transform), dataset.crs, WGS_84)
    square = _FLATTENING * (2 - _FLATTENING)
    curve = 1 - square * np.sin(np.radians(degrees[:, 1].mean())) ** 2
    east = _RADIUS / np.sqrt(curve) * np.cos(np.radians(degrees[:, 1].mean()))
    north = _RADIUS * (1 - square) / curve**1.5
    meters = np.radians(degrees[1::2] - degrees[::2]) * (east, north)
    x, y = np.linalg.norm(meters, axis=1).tolist()
    return x, y


def _open(path: Path) -> Any:
    if not path.exists():
        raise InputError(f"File not found: {str(path)!r}. Check the path.")
    try:
        driver = raster_driver(path)
    except OSError as error:
        raise ImageError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from error
    except ImageError as error:
        if message := suggest_command(path, "map"):
            raise ImageError(message) from error
        raise
    try:
        with warnings.catch_warnings(), offline_rasters():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)  # checked
            dataset = rasterio.open(path, driver=driver)
        check_overviews(dataset, path.name)
        return dataset
    except AnymaskError:
        raise
    except Exception as error:  # GDAL exception classes are not public
        raise ImageError(
            f"{path.name} cannot be read as a map. Expected {EXPECTED}. Copy or create it again."
        ) from error


def _tiles(paths: Sequence[Path]) -> list[Path]:
    """Map files of the given paths. Raises InputError if a folder contains none."""
    tiles = []
    for path in paths:
        inside = [
            file
            for file in (sorted(path.rglob("*")) if path.is_dir() else [])
            if file.suffix.lower() in RASTER_SUFFIXES
        ]
        if path.is_dir() and not inside:
            raise InputError(
                suggest_command(path, "map")
                or (
                    f"The folder {str(path)!r} contains no map. Expected files ending in "
                    f"{', '.join(sorted(RASTER_SUFFIXES))}."
                )
            )
        tiles += inside or [path]
    return tiles


def _check_place(dataset: Any, name: str) -> None:
    if dataset.crs is None or not (dataset.crs.is_geographic or dataset.crs.is_projected):
        raise InputError(
            f"{name} has no CRS, so its location is unknown. Set one with gdal_edit.py "
            "-a_srs EPSG:NUMBER -a_ullr LEFT TOP RIGHT BOTTOM FILE, or choose an "
            "output name that is not a map."
        )
    if dataset.transform.is_identity:
        raise InputError(
            f"{name} has a CRS but no geotransform, so the location of its pixels is "
            "unknown. Set one with gdal_edit.py -a_ullr, or warp it by its ground "
            "control points with gdalwarp."
        )


_GDAL_TYPES = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32"}
_GDAL_TYPES |= {"int32": "Int32", "float32": "Float32", "float64": "Float64"}


def mosaic(paths: Sequence[Path]) -> tuple[str, Floats]:
    """Build the VRT text for tiles of one grid, and the box of each tile in its pixels.

    Raises InputError if the tiles differ in CRS, pixel size, bands or grid.
    """
    with _open(paths[0]) as first:
        _check_place(first, paths[0].name)
        crs, grid, nodata = first.crs, first.transform, first.nodata
        bands = list(zip(first.dtypes, first.colorinterp, first.descriptions, strict=True))
    boxes = []
    for path in paths:
        with _open(path) as tile:
            x, y = moved(np.array([tile.transform.c, tile.transform.f]), ~grid).tolist()
            off = max(abs(x - round(x)), abs(y - round(y)))
            same = np.allclose(tuple(tile.transform)[:2], tuple(grid)[:2], rtol=1e-6, atol=0)
            alike = tile.crs == crs and tile.dtypes == tuple(kind for kind, _, _ in bands)
            if not same or not alike or off > _ALIGNED:
                raise InputError(
                    f"{path.name} is not on the grid of {paths[0].name}: they differ "
                    "in CRS, pixel size, grid origin or bands. Align them with "
                    "gdalwarp -t_srs -tr -tap, or pass one file."
                )
            boxes.append((round(x), round(y), round(x) + tile.width, round(y) + tile.height))
    placed = np.array(boxes, np.float64)
    corner, (width, height) = placed[:, :2].min(axis=0), np.ptp(placed.reshape(-1, 2), axis=0)
    placed -= np.tile(corner, 2)
    parts = []
    for number, (kind, color, text) in enumerate(bands, start=1):
        if kind not in _GDAL_TYPES:
            raise InputError(
                f"Tiles of type {kind} cannot be combined. Convert the tiles to another "
                "data type first."
            )
        value = "" if nodata is None else f"<NoDataValue>{nodata}</NoDataValue>"
        parts.append(
            f"<VRTRasterBand dataType='{_GDAL_TYPES[kind]}' band='{number}'><Description>"
            f"{escape(text or '')}</Description><ColorInterp>{color.name.title()}</ColorInterp>"
            f"{value}{_vrt_sources(paths, placed, str(number), nodata)}</VRTRasterBand>"
        )
    if nodata is None:  # else the GDAL masks of the tiles are wrong
        covered = _vrt_sources(paths, placed, "mask,1", None)
        parts.append(
            f"<MaskBand><VRTRasterBand dataType='Byte'>{covered}</VRTRasterBand></MaskBand>"
        )
    left, top = moved(corner, grid).tolist()
    a, b, _, d, e, _ = tuple(grid)[:6]
    return (
        f"<VRTDataset rasterXSize='{width:.0f}' rasterYSize='{height:.0f}'>"
        f"<SRS>{escape(crs.to_wkt())}</SRS>"
        f"<GeoTransform>{left!r},{a},{b},{top!r},{d},{e}</GeoTransform>"
        f"{''.join(parts)}</VRTDataset>"
    ), placed


def _vrt_sources(paths: Sequence[Path], boxes: Floats, band: str, nodata: float | None) -> str:
    """VRT source elements of all tiles for one band."""
    kind = "SimpleSource" if nodata is None else "ComplexSource"
    empty = "" if nodata is None else f"<NODATA>{nodata}</NODATA>"
    parts = []
    for path, (x0, y0, x1, y1) in zip(paths, boxes.tolist(), strict=True):
        size = f"xSize='{x1 - x0:.0f}' ySize='{y1 - y0:.0f}'"
        parts.append(
            f"<{kind}><SourceFilename>{escape(str(path.resolve()))}</SourceFilename>"
            f"<SourceBand>{band}</SourceBand><SrcRect xOff='0' yOff='0' {size}/>"
            f"<DstRect xOff='{x0:.0f}' yOff='{y0:.0f}' {size}/>{empty}</{kind}>"
        )
    return "".join(parts)
