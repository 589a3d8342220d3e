"""GeoJSON (RFC 7946): a file for each image, a feature for each mask.

QuPath's files are read as well: a list of features or a collection in pixels, with classes in
`classification`; the image is the one of the same name beside the file, or in `image_root`.

Without a transform, coordinates are pixels of the image, x to the right and y down, not longitudes
as in RFC 7946: map viewers show them upside down. `to_geojson` accepts the affine transform of a
map. Name and size of the image are a foreign member, `anymask`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from anymask.base import DataError, Floats, InputError
from anymask.formats.annotations import (
    AnnotatedImage,
    LossReport,
    extras_of,
    report_unsupported_fields,
    with_extras,
)
from anymask.formats.documents import (
    OutFile,
    checked_hw,
    image_beside,
    output_paths,
    read_each,
    read_hw,
    read_json,
    to_json,
)
from anymask.formats.fields import (
    ExceptKeys,
    as_corners,
    as_list,
    as_number,
    as_record,
    as_text,
    as_whole,
    held,
    other_keys,
    shown,
)
from anymask.formats.metadata import report_dataset_fields
from anymask.formats.outlines import Policy, outline, polygons_to_rle
from anymask.images import is_georeferenced
from anymask.masks import (
    IN_PIXELS,
    Affine,
    Mask,
    Masks,
    Polygon,
    empty_rle,
    polygons_to_geometry,
    rle_area,
)

COLOR = "color"  # key in `Mask.extra` for the class: red, green, blue
PLANE = "plane"  # key of QuPath's geometries: channel, slice and time of a stack
QUPATH_KEYS = ("name", "objectType", "isLocked", "measurements", "metadata")
# Other keys of properties and documents are kept; a classification is the label and its color.
OF_PROPERTIES = ExceptKeys("id", "area", "score", "label", "group", "crowd", "classification")
OF_DOCUMENT = ExceptKeys("type", "anymask", "features", "bbox", "crs")
_WITHOUT_AREA = ("Point", "MultiPoint", "LineString", "MultiLineString", "GeometryCollection")


def read(source: Path, report: LossReport, image_root: Path | None = None) -> list[AnnotatedImage]:
    """Read files in pixel coordinates; features without area are reported.

    Raises DataError that names file, feature and reason; also for map coordinates.
    """
    return read_each(
        source, ".geojson", report, lambda path: _image(read_json(path), path, report, image_root)
    )


def _image(
    document: Any, path: Path, report: LossReport, image_root: Path | None
) -> AnnotatedImage:
    document = {"features": document} if isinstance(document, list) else document
    if (about := as_record(document, "the document").get("anymask")) is None:
        if (file := image_beside(path, path.name, image_root)) is None:
            raise DataError("The image size is missing. Pass the folder of the images.")
        name, hw = file.name, read_hw(file)
    else:
        name, hw = (
            as_text(about["file_name"], "file_name"),
            checked_hw(about["height"], about["width"]),
        )
        if about.get("transform", list(IN_PIXELS)) != list(IN_PIXELS):
            raise DataError(
                "The coordinates are map coordinates, but pixel coordinates are required."
            )
    masks = []
    for number, feature in enumerate(as_list(document["features"], "features")):
        with report.record(f"feature {number}"):
            if (mask := _mask(as_record(feature, "feature"), hw, report)) is None:
                kind = shown(feature["geometry"]["type"])
                report.skip(name, f"geometries of type {kind} have no area")
            else:
                masks.append(mask)
                if "nucleusGeometry" in feature:
                    report.add("shapes", name, len(masks) - 1, "nuclei of cells are not read")
    return AnnotatedImage(
        file_name=name, hw=hw, masks=Masks(masks), extra=other_keys(held(document, OF_DOCUMENT), ())
    )


def _mask(feature: Any, hw: tuple[int, int], report: LossReport) -> Mask | None:
    empty = feature["geometry"] is None  # written for empty masks
    geometry = {"type": "MultiPolygon", "coordinates": []} if empty else feature["geometry"]
    kind = as_record(geometry, "geometry")["type"]
    if kind in _WITHOUT_AREA:
        return None
    if kind not in ("Polygon", "MultiPolygon"):
        raise DataError(f"Unknown shape type. Given: {shown(kind)}.")
    parts = as_list(geometry["coordinates"], "coordinates")
    polygons, listed = [], [parts] if kind == "Polygon" else parts
    for number, rings in enumerate(listed):
        with report.record(f"polygon {number}") if len(listed) > 1 else nullcontext():
            first, *holes = _rings(rings)
            if ((first < 0) | (first > [hw[1], hw[0]])).any(axis=1).all():
                raise DataError(
                    f"All polygon corners are outside the image of {hw[1]} x {hw[0]} pixels, the "
                    f"first at {first[0].tolist()}. Expected pixel coordinates."
                )
            polygons.append(Polygon(first, tuple(holes)))
    about = as_record(feature.get("properties") or {}, "properties")
    group, label, extra = about.get("group"), about.get("label"), dict[str, Any]()
    if "label" not in about:
        label, extra = _of_qupath(about)
    mask = Mask(
        empty_rle(hw) if empty else polygons_to_rle(polygons, hw),
        None if label is None else as_text(label, "label"),
        score=as_number(extra.pop("score", about.get("score", 0.0)), "score"),
        id=None if group is None else as_whole(group, "group"),
        crowd=bool(about.get("crowd", False)),
    )
    known = () if "label" in about else QUPATH_KEYS
    plane = as_record(geometry.get(PLANE) or {}, PLANE)
    if any(plane.get(axis) for axis in "zt"):
        extra[PLANE] = dict(plane)
    return with_extras(mask, other_keys(held(about, OF_PROPERTIES), known) | extra)


def _of_qupath(about: Any) -> tuple[Any, dict[str, Any]]:
    """Return the class of a QuPath object, and its score and other properties."""
    category = as_record(about.get("classification") or {}, "classification")
    names = as_list(category.get("names") or [], "names")
    label = category.get("name") or (": ".join(as_text(name, "names") for name in names) or None)
    extra = {key: about[key] for key in QUPATH_KEYS if about.get(key)}
    if extra.get("objectType") == "annotation":
        del extra["objectType"]
    measured = extra.pop("measurements", {})
    if isinstance(measured, list):  # QuPath before 0.4
        pairs = [as_record(row, "measurement") for row in measured]
        measured = {pair.get("name"): pair.get("value") for pair in pairs}
    measured = dict(as_record(measured, "measurements"))
    if "score" in measured:
        extra["score"] = measured.pop("score")
    if measured:
        extra["measurements"] = measured
    if "color" in category:
        color = [as_whole(part, "color") for part in as_list(category["color"], "color")]
        if len(color) != 3 or not all(0 <= part <= 255 for part in color):
            raise DataError(f"`color` is not three numbers from 0 to 255. Given: {shown(color)}.")
        extra[COLOR] = color
    elif "colorRGB" in category:  # old versions: a number 0xAARRGGBB
        number = as_whole(category["colorRGB"], "colorRGB")
        extra[COLOR] = [number >> 16 & 255, number >> 8 & 255, number & 255]
    return label, extra


def _rings(rings: Any) -> list[Floats]:
    """Return the rings of a polygon without the repeated last corners."""
    polygon = []
    for ring in as_list(rings, "coordinates"):
        corners = [as_list(corner, "corner")[:2] for corner in as_list(ring, "coordinates")]
        polygon.append(as_corners(corners[:-1], "coordinates"))
    if not polygon:
        raise DataError("The polygon has too few points: it has no ring.")
    return polygon


# Writing.


def to_geojson(
    image: AnnotatedImage,
    transform: Affine | None = None,
    policy: Policy | None = None,
    report: LossReport | None = None,
) -> dict[str, Any]:
    """Convert an image to a FeatureCollection.

    Exteriors are counterclockwise and holes clockwise, as the RFC requires, also after a transform
    that mirrors. An empty mask is a feature without a geometry. Raises InputError for a degenerate
    transform, and for a georeferenced image without a transform.

    Args:
        transform: (a, b, c, d, e, f) of a map: its x = a x + b y + c, its y = d x + e y + f,
            with x and y in pixels and (0, 0) the outer corner of the first one.
        policy: Policy whose tolerance simplifies the outlines.
    """
    sources = {id(mask.source_image): mask.source_image for mask in (image.masks, *image.masks)}
    if transform is None and (
        any(source is not None and source.georeferenced for source in sources.values())
        or is_georeferenced(image.source)
    ):
        refuse_map(image.name)
    affine = transform or IN_PIXELS
    a, b, _, d, e, _ = affine
    if not np.isfinite(affine).all() or a * e == b * d:
        raise InputError(f"Invalid transform {affine}. Expected 6 numbers with a nonzero area.")
    report = LossReport() if report is None else report
    report_unsupported_fields(
        report,
        image,
        frozenset({"labels", "scores", "ids", "crowds", "annotator"}),
        OF_PROPERTIES,
        OF_DOCUMENT,
    )
    features = []
    for number, mask in enumerate(image.masks):
        geometry = polygons_to_geometry(outline(image, number, report, policy or Policy()), affine)
        about = {"id": number + 1, "area": rle_area(mask.rle), "score": mask.score}
        optional = {"label": mask.label, "group": mask.id, "crowd": mask.crowd or None}
        properties = extras_of(mask, OF_PROPERTIES) | about
        properties |= {key: value for key, value in optional.items() if value is not None}
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    about_image = image_member(image)
    if transform is not None:
        about_image["transform"] = list(transform)
    return held(image.extra, OF_DOCUMENT) | {
        "type": "FeatureCollection",
        "anymask": about_image,
        "features": features,
    }


def refuse_map(name: str) -> NoReturn:
    """Raise InputError, because GeoJSON of a map requires map coordinates."""
    raise InputError(
        f"{name} is georeferenced, but this GeoJSON would have pixel coordinates. For map "
        "coordinates, use anymask segment, everything or find with the 'maps' extra (pip install "
        "'anymask[maps]') and -o FILE.geojson. The file requires a CRS; set one with gdal_edit.py "
        "-a_srs EPSG:NUMBER. For pixel coordinates, write .json or .svg."
    )


def image_member(image: AnnotatedImage) -> dict[str, Any]:
    """Return the foreign member with name and size of the image."""
    return {"file_name": image.file_name, "height": image.hw[0], "width": image.hw[1]}


def encode(
    images: list[AnnotatedImage], target: Path, report: LossReport, policy: Policy
) -> Iterator[OutFile]:
    """Write a file for each image, in pixels."""
    for image, path in zip(images, output_paths(images, target, ".geojson"), strict=True):
        yield path, to_json(to_geojson(image, None, policy, report))
    report_dataset_fields(report, images, policy)
