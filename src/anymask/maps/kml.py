"""Convert KML and KMZ of Google Earth to GeoJSON features in WGS 84.

Only placemarks are read. Links to other documents and images are not followed.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET

from anymask.base import AnymaskError, PromptError, check_members

_ZIP = b"PK\x03\x04"


def is_kml(head: bytes) -> bool:
    """Whether a file starts like KML or KMZ."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith(_ZIP) or (
        text.startswith((b"<?xml", b"<kml")) and b"kml" in text.lower()
    )


def kml_features(data: bytes, name: str) -> list[dict[str, Any]]:
    """Convert each placemark with a geometry to a feature.

    Its data become properties. Its name becomes the label, unless the data contain one. Raises
    PromptError if the document is corrupted or has no placemark.
    """
    if data.startswith(_ZIP):
        data = _unpacked(data, name)
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise PromptError(f"{name} declares XML entities, which are not read.")
    try:
        root = ET.fromstring(data)
    except (ET.ParseError, ValueError, LookupError) as error:
        raise PromptError(f"{name} is not valid XML. Copy or save it again.") from error
    features = []
    for placemark in _all(root, "Placemark"):
        try:
            geometries = [geometry for part in placemark for geometry in _geometries(part)]
        except (ValueError, IndexError) as error:
            about = (placemark.findtext("{*}name") or "").strip()
            raise PromptError(
                f"{name}: The coordinates of the placemark {about!r} are not numbers. "
                "Expected longitude,latitude pairs."
            ) from error
        shape = geometries[0] if len(geometries) == 1 else None
        if len(geometries) > 1:
            shape = {"type": "GeometryCollection", "geometries": geometries}
        features.append(
            {"type": "Feature", "properties": _properties(placemark), "geometry": shape}
        )
    if not features:
        raise PromptError(
            f"{name} contains no placemark. Links to other documents are not followed. "
            "Save the placemarks in this file."
        )
    return features


def _unpacked(data: bytes, name: str) -> bytes:
    """Extract the document of a KMZ."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            check_members(archive)
            inside = [member for member in archive.namelist() if member.lower().endswith(".kml")]
            if not inside:
                raise PromptError(
                    f"{name} is a zip archive without a .kml file. Add the .kml file, as in a KMZ."
                )
            return archive.read(inside[0])
    except AnymaskError as error:
        raise PromptError(str(error)) from error
    except Exception as error:  # zipfile and zlib raise many exception types for corrupted data
        raise PromptError(f"{name} is a corrupted KMZ. Copy or save it again.") from error


def _properties(place: ET.Element) -> dict[str, Any]:
    texts: dict[str, Any] = {}
    for data in (*_all(place, "Data"), *_all(place, "SimpleData")):
        text = data.findtext("{*}value") if _tag(data) == "Data" else data.text
        texts[data.get("name", "")] = (text or "").strip()
    name = (place.findtext("{*}name") or "").strip()
    values = {key: text for key, text in texts.items() if text}
    return ({"label": name, "name": name} if name else {}) | values


def _geometries(element: ET.Element) -> Iterator[dict[str, Any]]:
    kind = _tag(element)
    if kind == "Point":
        yield {"type": "Point", "coordinates": _corners(element)[0]}
    elif kind in ("LineString", "LinearRing"):
        yield {"type": "LineString", "coordinates": _corners(element)}
    elif kind == "Polygon":
        borders = ("outerBoundaryIs", "innerBoundaryIs")
        rings = [_corners(ring) for border in borders for ring in _all(element, border)]
        yield {"type": "Polygon", "coordinates": rings}
    elif kind == "MultiGeometry":
        for part in element:
            yield from _geometries(part)


def _corners(element: ET.Element) -> list[list[float]]:
    """Longitude and latitude pairs, without altitude. Raises ValueError, IndexError."""
    text = next(_all(element, "coordinates")).text or ""
    pairs = [corner.split(",") for corner in text.replace(", ", ",").split()]
    if not (corners := [[float(pair[0]), float(pair[1])] for pair in pairs]):
        raise ValueError
    return corners


def _all(element: ET.Element, tag: str) -> Iterator[ET.Element]:
    return (node for node in element.iter() if _tag(node) == tag)


def _tag(element: ET.Element) -> str:
    return str(element.tag).rpartition("}")[2]
