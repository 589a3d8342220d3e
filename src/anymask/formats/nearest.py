"""Find the formats that an unknown JSON file resembles by its keys."""

from __future__ import annotations

import json
from difflib import get_close_matches

from anymask.formats.recognition import Sniffed

KEYS: dict[str, tuple[str, ...]] = {  # keys of a document, or of each record of a list
    "coco": ("images", "annotations", "categories"),
    "sa1b": ("image", "annotations"),
    "labelme": ("shapes", "imagePath", "imageHeight", "imageWidth"),
    "label-studio": ("data", "annotations"),
    "geojson": ("type", "features"),
    "v7": ("item", "annotations"),
    "encord": ("data_units", "label_hash"),
    "supervisely": ("size", "objects"),
    "via": ("_via_img_metadata", "_via_settings", "_via_attributes"),
    "saco": ("text_input", "video_np_pairs"),
    "results": ("image_id", "segmentation", "score"),
    "sav": ("masklet", "masklet_id", "video_id", "video_height", "video_width"),
}
_SHOWN = 3  # formats, and twice as many keys


def nearest(found: Sniffed) -> str:
    """Return a sentence about the keys of a JSON file and the formats that have some of them; ""
    for any other file. Raises DataError for invalid JSON."""
    document = found.first if found.first is not None else found.document
    if found.suffix != ".json" or not isinstance(document, dict):
        return ""
    if not (keys := [*document]):
        return ". The JSON object is empty."
    ranked = sorted(KEYS, key=lambda name: -_share(name, keys))
    matches = [_with_missing_keys(name, keys) for name in ranked if _share(name, keys)][:_SHOWN]
    shown = ", ".join(json.dumps(key) for key in keys[: 2 * _SHOWN])
    listed = "Its records have" if isinstance(found.document, list) else "It has"
    more = f" and {len(keys) - 2 * _SHOWN} more" if len(keys) > 2 * _SHOWN else ""
    near = (
        f" Nearest formats: {'; '.join(matches)}."
        if matches
        else " No supported format has these keys."
    )
    return f". {listed} the keys {shown}{more}.{near}"


def _share(name: str, keys: list[str]) -> float:
    """Return the share of a format's keys that are present, also with small misspellings."""
    there = [key for key in KEYS[name] if key in keys]
    near = [key for key in KEYS[name] if key not in there and get_close_matches(key, keys, 1, 0.8)]
    return (len(there) + 0.5 * len(near)) / len(KEYS[name])


def _with_missing_keys(name: str, keys: list[str]) -> str:
    absent = [json.dumps(key) for key in KEYS[name] if key not in keys]
    return f"{name} (without {', '.join(absent)})" if absent else name
