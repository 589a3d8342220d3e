"""QuPath GeoJSON: a file per image, a feature per annotation or detection; read by `geojson`.

Based on files that QuPath 0.5 exports and imports: a class is `classification` with name and
color; a score is a measurement. The foreign member `anymask` holds name and size of the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anymask.formats.annotations import AnnotatedImage, LossReport, report_unsupported_fields
from anymask.formats.documents import OutFile, name_uuid, output_paths, to_json
from anymask.formats.fields import held
from anymask.formats.geojson import COLOR, PLANE, QUPATH_KEYS, image_member
from anymask.formats.geojson import read as read  # shared reader
from anymask.formats.metadata import report_dataset_fields
from anymask.formats.outlines import Policy, outline
from anymask.masks import colors, polygons_to_geometry


def encode(
    images: list[AnnotatedImage], target: Path, report: LossReport, policy: Policy
) -> Iterator[OutFile]:
    """Yield one file per image; a class has the same color in all files."""
    masks = [mask for image in images for mask in image.masks if mask.label]
    labels = sorted({mask.label for mask in masks if mask.label})
    palette = {label: [*color] for label, color in zip(labels, colors(len(labels)), strict=True)}
    for mask in masks:
        color = mask.extra.get(COLOR)
        if isinstance(color, list) and len(color) == 3 and all(type(part) is int for part in color):
            palette[str(mask.label)] = color
    for image, path in zip(images, output_paths(images, target, ".geojson"), strict=True):
        report_unsupported_fields(
            report, image, frozenset({"labels", "scores"}), (*QUPATH_KEYS, COLOR, PLANE)
        )
        features = []
        for number, mask in enumerate(image.masks):
            geometry = polygons_to_geometry(outline(image, number, report, policy))
            if geometry is None:
                report.add("empty", image.file_name, number, "an empty mask was omitted")
                continue
            about: dict[str, Any] = {"objectType": "annotation", "isLocked": False}
            about |= held(mask.extra, QUPATH_KEYS)
            if mask.label:
                about["classification"] = {"name": mask.label, "color": palette[mask.label]}
            if mask.score:
                about["measurements"] = {**about.get("measurements", {}), "score": mask.score}
            feature = {"type": "Feature", "id": name_uuid(f"{image.file_name}#{number}")}
            geometry |= held(mask.extra, (PLANE,))
            features.append(feature | {"geometry": geometry, "properties": about})
        document = {"type": "FeatureCollection", "anymask": image_member(image)}
        yield path, to_json(document | {"features": features})
    report_dataset_fields(report, images, policy)
