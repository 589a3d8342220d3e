"""Security checks of files for GDAL: rasters, layers, and the files that they refer to.

GDAL selects one of two hundred drivers by content, and some of them download data: a file named
`.tif` may describe a web map service, and a VRT may refer to `/vsicurl/` or any local file. Each
file is therefore opened only with the driver of its magic bytes. VRTs may refer to rasters below
their own folder; side files (overviews, masks, `.aux.xml`) are checked in the same way. GeoJSON is
reduced to its features, because GDAL follows links to a CRS, and so is KML (`kml`).

As a second defense, `offline_rasters` and `offline_layers` block all network requests of GDAL.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from anymask.base import DataError, ImageError, MissingExtra, PromptError, parse_json, parse_text
from anymask.maps.kml import is_kml, kml_features

try:
    import pyogrio
    import rasterio
except ImportError as error:
    raise MissingExtra(str(error.name), "maps", "a map") from error

OFFLINE = {
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": "{none}",
    "GDAL_HTTP_PROXY": "http://127.0.0.1:9",  # discard port, unused
    "GDAL_HTTPS_PROXY": "http://127.0.0.1:9",
    "GDAL_HTTP_MAX_RETRY": "0",
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",  # check side files by name instead
    "GDAL_VRT_ENABLE_PYTHON": "NO",
}
RASTERS: tuple[tuple[bytes, tuple[str, ...]], ...] = (  # magic bytes -> possible drivers
    (b"II*\0", ("GTiff",)),
    (b"MM\0*", ("GTiff",)),
    (b"II+\0", ("GTiff",)),  # BigTIFF
    (b"MM\0+", ("GTiff",)),
    (b"\0\0\0\x0cjP  ", ("JP2OpenJPEG", "JP2KAK", "JP2ECW", "JP2MrSID")),
    (b"\xff\x4f\xff\x51", ("JP2OpenJPEG", "JP2KAK", "JP2ECW", "JP2MrSID")),
    (b"\x89PNG\r\n", ("PNG",)),
    (b"\xff\xd8\xff", ("JPEG",)),
    (b"EHFA_HEADER_TAG", ("HFA",)),  # Erdas Imagine
)
EXPECTED = "GeoTIFF, COG, VRT, JPEG 2000, PNG, JPEG or Erdas Imagine"
SHAPEFILE_MAGIC = b"\0\0\x27\x0a"
LAYER_MAGIC = (b"SQLite format 3\0", b"fgb\x03fgb", SHAPEFILE_MAGIC)  # GDAL reads these directly
REQUESTED_LAYERS = "GeoPackage, FlatGeobuf, GeoJSON, Shapefile or KML"
LAYER_CRS = "EPSG:4326"  # CRS of GeoJSON (RFC 7946) and KML
_HEADER_BYTES, _MAX_VRT_DEPTH = 1024, 8
_MAX_XML = 100_000_000  # maximum size of a VRT, in bytes
_KEYS = ("dataset", "file", "path", "dem")  # parts of option keys whose value is a file name
_OF_METADATA = ("overview_file", "x_dataset", "y_dataset")  # metadata keys with file names
_REMOTE = re.compile(r"/vsi|\w://|<", re.IGNORECASE)
_PREFIX = re.compile(r"[A-Za-z][\w+.-]+:")  # NETCDF:..., vrt:...; drives have one letter
_GEOMETRIES = {"Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon",
               "GeometryCollection"}  # fmt: skip
_pyogrio_lock = threading.Lock()


# Rasters.


@contextlib.contextmanager
def offline_rasters(**options: Any) -> Iterator[None]:
    """Configure GDAL of rasterio without network access, with additional options."""
    with rasterio.Env(**OFFLINE, **options):
        yield


def check_overviews(dataset: Any, name: str) -> None:
    """Raise ImageError if the metadata of an open raster refer to an external overview file."""
    if dataset.tags(ns="OVERVIEWS").get("OVERVIEW_FILE"):
        raise _refused(name, "refers to another file for its overviews")


def raster_driver(path: Path, above: frozenset[Path] = frozenset()) -> str:
    """Select the safe driver of a raster.

    Raises ImageError if the format is not supported, or a VRT or side file refers to anything but
    rasters below its own folder; OSError.

    Args:
        above: VRTs that contain the file.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"<"):
        if path in above or len(above) >= _MAX_VRT_DEPTH:
            raise _refused(path.name, "refers to itself or is nested too deeply")
        _check_vrt(path, above | {path})
        driver = "VRT"
    else:
        names = next((names for begin, names in RASTERS if head.startswith(begin)), ())
        known = rasterio.Env().drivers() if len(names) > 1 else names
        driver = next((name for name in names if name in known), "")
        if not driver:
            raise ImageError(
                f"{path.name} is not a supported raster: its first bytes are {head[:8]!r}. "
                f"Expected {EXPECTED}. Convert it with gdal_translate."
            )
    for suffix in (".ovr", ".OVR", ".msk", ".MSK"):
        side = path.with_name(path.name + suffix)
        if side.is_file() and raster_driver(side, above | {path}) == "VRT":
            raise _refused(side.name, "is a VRT used as overviews or a mask")
    side = path.with_name(f"{path.name}.aux.xml")
    if side.is_file():
        for element in _parsed(side).iter():
            if _key(element) in _OF_METADATA:
                raise _refused(side.name, f"refers to another file by {_key(element)}")
    return driver


def _check_vrt(path: Path, above: frozenset[Path]) -> None:
    """Raise ImageError if a VRT refers to anything but rasters below its folder."""
    root = _parsed(path)
    if _tag(root) != "vrtdataset":
        raise ImageError(
            f"{path.name} is an XML description of other data (<{root.tag[:40]}>), not a raster. "
            f"Expected {EXPECTED}. Download the data first, for example with gdal_translate."
        )
    raw = {
        id(inside)
        for band in root.iter()
        if "vrtrawrasterband" in [str(value).lower() for value in band.attrib.values()]
        for inside in band
    }
    for element in root.iter():
        text, key = (element.text or "").strip(), _key(element)
        texts = [text, *element.attrib.values()]
        if _tag(element) == "pixelfunctioncode" or text.lower() == "python":
            raise _refused(path.name, "contains Python code")
        is_option = _tag(element) in ("option", "ooi", "argument")
        is_file = key in _OF_METADATA or _tag(element).endswith(("filename", "dataset", "dempath"))
        if text and (is_file or (is_option and any(part in key for part in _KEYS))):
            source = _source(path, element, text)
            if id(element) not in raw:
                raster_driver(source, above)
        elif _tag(element) not in ("mdi", "description", "srs") and any(map(_REMOTE.search, texts)):
            raise _refused(path.name, f"refers to {_REMOTE.sub('...', text)[:60]!r}")


def _source(path: Path, element: ET.Element, text: str) -> Path:
    """Resolve a file reference of a VRT. Raises ImageError if it is not below its folder."""
    attributes = {name.lower(): value.strip() for name, value in element.attrib.items()}
    if _REMOTE.search(text) or _PREFIX.match(text):
        raise _refused(path.name, f"refers to {text[:60]!r}")
    folder = path.parent.resolve()
    beside = path.parent if attributes.get("relativetovrt") == "1" else Path()
    try:
        source = (beside / text).resolve()
        inside, there = source.is_relative_to(folder), source.is_file()
    except (OSError, ValueError, RuntimeError):  # invalid file name
        inside, there = False, False
    if not inside:
        raise _refused(path.name, f"refers to {text[:60]!r}, which is not below its folder")
    if not there:
        raise ImageError(f"{path.name} refers to the missing file {text[:60]!r}. Copy it there.")
    return source


def _parsed(path: Path) -> ET.Element:
    """Parse an XML file. Raises ImageError if it is invalid."""
    if (size := path.stat().st_size) > _MAX_XML:
        raise ImageError(
            f"{path.name} has {size} bytes of XML, but at most {_MAX_XML} are read. Pass "
            "the raster files themselves."
        )
    try:
        text = parse_text(path.read_bytes(), path.name)
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise _refused(path.name, "declares XML entities")
        return ET.fromstring(text.lstrip())
    except DataError as error:
        raise ImageError(f"{path.name} is not valid UTF-8. Save it again as UTF-8.") from error
    except ET.ParseError as error:
        raise ImageError(
            f"{path.name} is not valid XML (line {error.position[0]}). Copy or create it again."
        ) from error


def _refused(name: str, what: str) -> ImageError:
    return ImageError(
        f"{name} {what}. A map may only refer to raster files below its own folder. Move the files "
        "there, or pass the tiles themselves, such as 'tiles/*.tif'."
    )


def _tag(element: ET.Element) -> str:
    """Element name in lower case, as GDAL compares it."""
    return str(element.tag).rpartition("}")[2].lower()


def _key(element: ET.Element) -> str:
    attributes = {name.lower(): value for name, value in element.attrib.items()}
    return (attributes.get("key") or attributes.get("name") or "").strip().lower()


# Layers.


@contextlib.contextmanager
def offline_layers() -> Iterator[None]:
    """Disable network access of pyogrio's GDAL, whose options are shared by all threads."""
    with _pyogrio_lock:
        before = {name: pyogrio.get_gdal_config_option(name) for name in OFFLINE}
        pyogrio.set_gdal_config_options(OFFLINE)
        try:
            yield
        finally:
            pyogrio.set_gdal_config_options(before)


def layer_source(path: Path, crs: str | None = None) -> tuple[Path | bytes, str | None]:
    """Return a safe input for pyogrio, and the CRS to use instead of the declared one or None.

    Args:
        path: Layer file. The format is detected by content.
        crs: CRS given by the user, for GeoJSON without one. Defaults to WGS 84 (RFC 7946).

    Raises:
        PromptError: The format is not supported, or GeoJSON refers to its CRS by a link.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    if head.startswith(SHAPEFILE_MAGIC):
        beside = {sibling.name.lower() for sibling in path.parent.iterdir()}
        parts = (path.stem + suffix for suffix in (".shx", ".dbf"))  # index and attributes
        if missing := [part for part in parts if part.lower() not in beside]:
            raise PromptError(
                f"{path.name} is a Shapefile, but {' and '.join(missing)} is missing. Copy all "
                "files of the Shapefile to one folder."
            )
    if head.startswith(LAYER_MAGIC):
        return path, None
    if is_kml(head):
        features = kml_features(path.read_bytes(), path.name)
        return json.dumps({"type": "FeatureCollection", "features": features}).encode(), LAYER_CRS
    if not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        raise PromptError(
            f"{path.name} is not a supported layer: its first bytes are {head[:8]!r}. Expected "
            f"{REQUESTED_LAYERS}. Convert it with ogr2ogr."
        )
    try:
        document = parse_json(path.read_bytes(), path.name)
    except DataError as error:
        raise PromptError(str(error)) from error
    return _features_alone(document, path.name, crs)


def _features_alone(document: Any, name: str, crs: str | None) -> tuple[bytes, str | None]:
    """Reduce a GeoJSON document to its features and a CRS name, without links."""
    kind = document.get("type") if isinstance(document, dict) else None
    if kind in _GEOMETRIES:
        features = [{"type": "Feature", "properties": {}, "geometry": document}]
    else:
        features = [document] if kind == "Feature" else document.get("features")
    if kind not in _GEOMETRIES | {"Feature", "FeatureCollection"} or not isinstance(features, list):
        raise PromptError(f'{name} is not GeoJSON: the value of "type" is {str(kind)[:40]!r}.')
    collection: dict[str, Any] = {"type": "FeatureCollection", "features": features}
    system = document.get("crs")
    if system is not None:
        if isinstance(system, dict) and system.get("type") == "name":
            return json.dumps(collection | {"crs": system}).encode(), None
        if crs is None:
            raise PromptError(
                f"{name} refers to its CRS by a link, which is not followed. Pass "
                "--crs EPSG:NUMBER."
            )
    return json.dumps(collection).encode(), crs or LAYER_CRS
