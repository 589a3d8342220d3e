"""Data sets of polygons: folders of PhraseCut, VISOR, NDD20 in, annotated images out.

    PhraseCut (github.com/ChenyunWu/PhraseCutDataset): refer_val.json, a task a phrase: `image_id`,
        `phrase`, `Polygons` (objects of polygons of [x, y]); images/ID.jpg;
        image_data_split*.json with the sizes. A mask is everything that the phrase means, its label
        the phrase; filled with Pillow as the data set's own tools do it
    VISOR (epic-kitchens.github.io/VISOR), GroundTruth-SparseAnnotations: annotations/val/VIDEO.json
        with `video_annotations`: `image` {name, video, image_path} and `annotations` {name,
        segments}; rgb_frames/val/PERSON/VIDEO/NAME.jpg, whose last digits are the number of the
        frame in its video
    NDD20 (doi.org/10.25405/data.ncl.c.4982342): ABOVE_LABELS.json, BELOW_LABELS.json of the VGG
        Image Annotator: `regions` with `shape_attributes`; photos in ABOVE/ and BELOW/

VISOR's and NDD20's polygons are filled as COCO's are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from anymask.base import DataError
from anymask.formats import AnnotatedImage, SequencePlace, find_place, located, read_hw, read_json
from anymask.formats.annotations import annotated_image
from anymask.formats.documents import checked_hw, find_in_folders
from anymask.masks import Mask, coco_polygons_to_rle, mask_to_rle

# PhraseCut


def read_phrase_cut(root: Path, split: str) -> Iterator[AnnotatedImage]:
    """The photos of a split, a mask a phrase. Raises DataError that names file and task."""
    path = find_place(root, [f"refer_{split}.json", f"*/refer_{split}.json"], f"tasks of {split}")
    sizes = _sizes(path.parent)
    tasks: dict[int, list[tuple[int, dict[str, Any]]]] = {}
    with located(path):
        for number, row in enumerate(read_json(path)):
            tasks.setdefault(int(row["image_id"]), []).append((number, row))
    for image_id, rows in tasks.items():
        with located(f"{path}, image {image_id}"):
            places = [f"images/{image_id}.jpg", f"VG_100K*/{image_id}.jpg"]
            image = find_place(path.parent, places, "photo")
            hw = sizes.get(image_id) or read_hw(image)
        found = []
        for number, row in rows:
            with located(f"{path}, task {number} ({row.get('task_id')})"):
                rings = [ring for polygons in row["Polygons"] for ring in polygons]
                found.append(Mask(mask_to_rle(_drawn(rings, hw)), str(row["phrase"])))
        yield annotated_image(image, hw, found)


def _sizes(folder: Path) -> dict[int, tuple[int, int]]:
    for path in sorted(folder.glob("image_data_split*.json")):
        with located(path):
            return {
                int(row["image_id"]): checked_hw(row["height"], row["width"])
                for row in read_json(path)
            }
    return {}


def _drawn(rings: list[Any], hw: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(H, W) what Pillow fills, outlines included, with corners cut to whole pixels."""
    image = Image.new("L", (hw[1], hw[0]))
    draw = ImageDraw.Draw(image)
    for ring in rings:
        corners = [(int(x), int(y)) for x, y in ring]
        if len(corners) >= 2:
            draw.polygon(corners, outline=1, fill=1)
    return np.asarray(image) > 0


# VISOR


def read_visor(root: Path, split: str) -> Iterator[AnnotatedImage]:
    """The sparse frames of a split of VISOR. Raises DataError that names file and record."""
    inside = ["", "GroundTruth-SparseAnnotations/"]
    folder = find_place(root, [f"{top}annotations/{split}" for top in inside], f"JSON of {split}")
    top = folder.parent.parent
    for path in sorted(folder.glob("*.json")):
        with located(path):
            rows = list(read_json(path)["video_annotations"])
        for number, row in enumerate(rows):
            with located(f"{path}, frame {number}"):
                name, video = str(row["image"]["name"]), str(row["image"]["video"])
                person = top / "rgb_frames" / split / video.split("_")[0]
                image = find_in_folders(name, [person / video, person])
                hw = read_hw(image)
                found: list[Mask] = []
                for place, one in enumerate(row["annotations"]):
                    with located(f"annotation {place}"):
                        rings = [np.ravel(ring).tolist() for ring in one["segments"] if ring]
                        if rings:
                            rle = coco_polygons_to_rle(rings, hw)
                            found.append(Mask(rle, str(one["name"])))
                # The frame whose number ends the name of its picture; None where no number does.
                frame = re.search(r"[0-9]+$", image.stem)
                sequence = SequencePlace(video, int(frame.group())) if frame else None
                yield annotated_image(image, hw, found, place=sequence)


# NDD20


def read_ndd20(root: Path, split: str) -> Iterator[AnnotatedImage]:
    """The photos of a split ("ABOVE" or "BELOW"). Raises DataError that names file and record."""
    path = find_place(root, [f"{split}_LABELS.json"], f"labels of {split}")
    with located(path):
        records = dict(read_json(path))
    for key, row in records.items():
        with located(f"{path}, {key}"):
            image = find_in_folders(str(row["filename"]), [root / split])
            hw = read_hw(image)
            found = []
            regions = row.get("regions") or []  # in the annotator's first version by number
            regions = regions.values() if isinstance(regions, dict) else regions
            for number, region in enumerate(regions):
                with located(f"region {number}"):
                    shape = region["shape_attributes"]
                    xs, ys = shape["all_points_x"], shape["all_points_y"]
                    if len(xs) != len(ys):
                        raise DataError(f"has {len(xs)} x and {len(ys)} y")
                    ring = np.stack([xs, ys], axis=1).ravel().tolist()
                    label = region.get("region_attributes", {}).get("species")
                    found.append(Mask(coco_polygons_to_rle([ring], hw), label or None))
            yield annotated_image(image, hw, found)
