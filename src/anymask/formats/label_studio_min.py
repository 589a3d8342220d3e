"""Label Studio's short exports: rows of JSON-MIN, CSV or TSV, converted to tasks of its JSON.

A row has the task's data (`image`), the values of each control of the labeling interface (a list,
each with `original_width` and `original_height`), and metadata of the annotation. In CSV and TSV,
lists are JSON in a cell. Layout: "Export annotations" in Label Studio's documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from anymask.base import parse_json
from anymask.formats.documents import parse_table, read_text

IGNORED_KEYS = frozenset(["annotation_id", "annotator", "lead_time", "created_at", "updated_at"])
_KINDS = {  # type of a region by the first of these keys that it has
    **{f"{shape}labels": f"{shape}labels"
       for shape in ("brush", "polygon", "rectangle", "ellipse", "keypoint", "")},
    "text": "textarea", "points": "polygon", "radiusX": "ellipse", "rle": "brush",
    "height": "rectangle",
}  # fmt: skip
_SIZE_KEYS = ("original_width", "original_height", "image_rotation")


def is_row(row: Mapping[str, Any]) -> bool:
    """Return whether a record is a JSON-MIN row, by annotation metadata or control regions."""
    return "data" not in row and (len(IGNORED_KEYS & row.keys()) > 1 or any(_regions(row)))


def is_table(head: str) -> bool:
    """Return whether the first line of a text is the header of a CSV or TSV export."""
    line = head.partition("\n")[0]
    names = [name.strip('"\r ') for name in line.split("\t" if "\t" in line else ",")]
    return len(IGNORED_KEYS & {*names}) > 1


def task_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a row of JSON-MIN to a task."""
    data = {key: value for key, value in row.items() if isinstance(value, (str, int, float))}
    return {"data": data, "annotations": [{"result": list(_regions(row))}]}


def read_table(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a CSV or TSV export. Raises DataError."""
    text = read_text(path)
    if "\t" in text.partition("\n")[0]:
        cells = (line.split("\t") for line in text.splitlines())  # without tabs inside
        quoted = ([cell if cell.startswith('"') else f'"{cell}"' for cell in row] for row in cells)
        text = "\n".join(",".join(row) for row in quoted)
    return [
        {
            name: parse_json(cell, f"{path}, line {line}")
            if cell.startswith(("[", "{"))  # a list of regions
            else cell
            for name, cell in row.items()
        }
        for line, row in enumerate(parse_table(text, path), start=2)
    ]


def _regions(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the regions of all controls in the form of a task."""
    for control, values in row.items():
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, Mapping) and "original_width" in value:
                kind = next((kind for key, kind in _KINDS.items() if key in value), "keypoint")
                size = {key: value[key] for key in _SIZE_KEYS if key in value}
                yield {"from_name": control, "type": kind, "value": value} | size
