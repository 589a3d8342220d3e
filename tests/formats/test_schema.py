"""The schema fits what is written and refuses what is not meant."""

import json
from pathlib import Path
from typing import Any

import pytest

from anymask.formats import record_schema, write_annotations
from tests.formats.annotated import rings

TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float)}


def faults(value: Any, schema: dict[str, Any], where: str = "$") -> list[str]:
    """A validator of the few words that the schema uses; an unknown word is an error."""
    known = {"type", "required", "properties", "items", "minItems", "maxItems", "minimum"}
    known |= {"maximum", "enum", "anyOf", "description", "title", "$schema"}
    assert set(schema) <= known
    if "anyOf" in schema:
        return [] if any(not faults(value, one) for one in schema["anyOf"]) else [where]
    if "enum" in schema:
        return [] if value in schema["enum"] else [where]
    if not isinstance(value, TYPES[schema["type"]]) or isinstance(value, bool):
        return [where]
    found = []
    if isinstance(value, dict):
        found += [f"{where}.{key}" for key in schema.get("required", []) if key not in value]
        for key, inner in schema.get("properties", {}).items():
            found += faults(value[key], inner, f"{where}.{key}") if key in value else []
    elif isinstance(value, list):
        good = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        found += [] if good else [where]
        for number, item in enumerate(value):
            found += faults(item, schema["items"], f"{where}[{number}]")
    elif not isinstance(value, str):
        good = schema.get("minimum", value) <= value <= schema.get("maximum", value)
        found += [] if good else [where]
    return found


def test_what_we_write_fits(tmp_path: Path) -> None:
    write_annotations([rings()], tmp_path / "a.json", "sa1b")
    document = json.loads((tmp_path / "a.json").read_text())
    assert faults(document, record_schema()) == []
    known = record_schema()["properties"]["annotations"]["items"]["properties"]
    assert all(set(row) <= set(known) for row in document["annotations"])


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"segmentation": {"size": [3], "counts": "x"}}, "$.annotations[0].segmentation.size"),
        ({"segmentation": {"size": [3, 4]}}, "$.annotations[0].segmentation.counts"),
        ({"area": -1}, "$.annotations[0].area"),
        ({"bbox": [1, 2, 3]}, "$.annotations[0].bbox"),
        ({"iscrowd": 2}, "$.annotations[0].iscrowd"),
        ({"label": 3}, "$.annotations[0].label"),
    ],
)
def test_what_is_not_meant_is_refused(change: dict[str, Any], where: str) -> None:
    row = {"segmentation": {"size": [3, 4], "counts": [12]}}
    image = {"width": 4, "height": 3, "file_name": "a.jpg"}
    assert faults({"image": image, "annotations": [row]}, record_schema()) == []
    assert faults({"image": image, "annotations": [row | change]}, record_schema()) == [where]


def test_a_changed_copy_changes_no_other() -> None:
    record_schema()["properties"]["image"]["properties"]["width"]["minimum"] = 9
    assert record_schema()["properties"]["image"]["properties"]["width"]["minimum"] == 1
