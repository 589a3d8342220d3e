"""Write and read the origins of masks: in a document that supports it, else in a side file.

SA-1B and COCO documents have a list `origins`, and each record the index of its origin. For all
other formats a side file holds the same, one JSON line each: the origins, then the masks by image.

    {"origin": 0, "model": "nano", "weights": "6f0c...", "licence": "Apache-2.0"}
    {"image": "a.jpg", "masks": [0, 0, null]}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from anymask.base import DataError, parse_json
from anymask.formats.annotations import AnnotatedImage
from anymask.formats.documents import OutFile, read_text
from anymask.masks import Mask, Masks, Origin

SIDE_FILE = "origins.jsonl"
WITH_ROOM = ("sa1b", "coco", "saco")  # modules whose documents have a place for it


def with_origins(document: dict[str, Any], masks: Sequence[Mask]) -> dict[str, Any]:
    """Return the document with the origins of `masks`, which its `annotations` hold in order."""
    known = list(dict.fromkeys(mask.origin for mask in masks if mask.origin))
    if not known:
        return document
    rows = [
        row if mask.origin is None else row | {"origin": known.index(mask.origin)}
        for row, mask in zip(document["annotations"], masks, strict=True)
    ]
    return document | {"annotations": rows, "origins": [one.to_json() for one in known]}


def origin_in(document: Any, row: Any) -> Origin | None:
    """Return the origin of a record in such a document; default: that of the folder job."""
    listed, number = document.get("origins"), row.get("origin")
    if isinstance(listed, list) and type(number) is int and 0 <= number < len(listed):
        return Origin.from_json(listed[number])
    return Origin.from_json(document.get("anymask"))


def side_path(target: Path, name: str = SIDE_FILE) -> Path:
    """Return a side file of a target: in its folder, or beside the file."""
    return target.with_name(f"{target.stem}.{name}") if target.suffix else target / name


def encode_side(images: Sequence[AnnotatedImage], target: Path) -> Iterator[OutFile]:
    """Yield the side file of images whose masks have origins; nothing for others."""
    every = (mask.origin for image in images for mask in image.masks if mask.origin)
    known = list(dict.fromkeys(every))
    if not known:
        return
    lines: list[dict[str, Any]] = [
        {"origin": number} | one.to_json() for number, one in enumerate(known)
    ]
    for image in images:
        numbers = [mask.origin and known.index(mask.origin) for mask in image.masks]
        lines.append({"image": image.file_name, "masks": numbers})
    yield side_path(target), "".join(f"{json.dumps(line)}\n" for line in lines).encode()


def read_side(source: Path) -> dict[str, list[Origin | None]]:
    """Read the origins of each image's masks from the side file; {} without such a file.

    Raises DataError for an invalid one.
    """
    path = side_path(source)
    if not path.is_file():
        return {}
    known, found = dict[int, Origin | None](), dict[str, list[Origin | None]]()
    try:
        for line in read_text(path).splitlines():
            record = parse_json(line, path)
            if "origin" in record:
                known[record["origin"]] = Origin.from_json(record)
            else:
                found[record["image"]] = [known.get(number) for number in record["masks"]]
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{path}: Expected the columns origin and image, one pair per line."
        ) from error
    return found


def take_origins(image: AnnotatedImage, side: dict[str, list[Origin | None]]) -> AnnotatedImage:
    """Return the image with the origins in the side file, if their number matches the masks."""
    origins = side.get(image.file_name, [])
    if len(origins) != len(image.masks) or not origins:
        return image
    masks = [
        mask if mask.origin else replace(mask, origin=origin)
        for mask, origin in zip(image.masks, origins, strict=True)
    ]
    return replace(image, masks=Masks(masks, picture=image.masks.picture))
