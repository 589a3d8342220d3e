"""Writes and reads where masks come from: in a document that has room, else in a file beside it.

SA-1B and COCO documents have a list `origins`, and each record the number of its own. Of all other
formats a side file tells the same, a JSON line each: first the origins, then each picture's masks.

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
WITH_ROOM = ("sa1b", "coco")  # modules whose documents have a place for it


def origins_of(images: Sequence[AnnotatedImage]) -> list[Origin]:
    """Each origin of their masks once, in order."""
    every = (mask.origin for image in images for mask in image.masks if mask.origin)
    return list(dict.fromkeys(every))


def with_origins(document: dict[str, Any], masks: Sequence[Mask]) -> dict[str, Any]:
    """The document, with the origins of the masks that its `annotations` are of, in order."""
    known = list(dict.fromkeys(mask.origin for mask in masks if mask.origin))
    if not known:
        return document
    rows = [
        row if mask.origin is None else row | {"origin": known.index(mask.origin)}
        for row, mask in zip(document["annotations"], masks, strict=True)
    ]
    return document | {"annotations": rows, "origins": [one.to_json() for one in known]}


def origin_in(document: Any, row: Any) -> Origin | None:
    """Of a record in such a document: its own, else that of a folder job's records."""
    listed, number = document.get("origins"), row.get("origin")
    if isinstance(listed, list) and type(number) is int and 0 <= number < len(listed):
        return Origin.from_json(listed[number])
    return Origin.from_json(document.get("anymask"))


def side_path(target: Path) -> Path:
    """The side file of a target: in its folder, or beside the file."""
    return target.with_name(f"{target.stem}.{SIDE_FILE}") if target.suffix else target / SIDE_FILE


def encode_side(images: Sequence[AnnotatedImage], target: Path) -> Iterator[OutFile]:
    """The side file of pictures whose masks say where they come from; none of others."""
    known = origins_of(images)
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
    """The origins of each picture's masks beside a source; {} where there is no such file.

    Raises DataError for a broken one.
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
    """The picture with the origins that the side file tells of as many masks."""
    told = side.get(image.file_name, [])
    if len(told) != len(image.masks) or not told:
        return image
    masks = [
        mask if mask.origin else replace(mask, origin=origin)
        for mask, origin in zip(image.masks, told, strict=True)
    ]
    return replace(image, masks=Masks(masks, picture=image.masks.picture))
