"""Whatever a field of a file holds, messages are sentences: no text of a Python exception.

Each node of a small sound file of every format is replaced by values that nobody expects there.
"""

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from anymask.base import AnymaskError
from anymask.formats import find_format, read_annotations, write_annotations
from anymask.formats.registry import FORMATS
from tests.formats import test_label_studio_exports as label_studio
from tests.formats import test_results as results
from tests.formats.annotated import rings

ODD: list[Any] = [
    None, True, -1, 1e300, float("nan"), "x", "0.0", "", [], {}, [None], [[["a"]]], {"a": 1}, "1,2",
]  # fmt: skip
PYTHON = re.compile(
    r"\w+Error\b|invalid literal|could not convert|not enough values|too many values|object is not"
    r"|NoneType|unsupported operand|list ind|broadcast|unexpected keyword|must be real number"
    r"|not subscriptable|has no attribute|not iterable|<class|unhashable|embedded null|<unicode"
)
WRITTEN = sorted(
    name for name, one in FORMATS.items()
    if ".json" in one.suffixes or ".geojson" in one.suffixes or ".xml" in one.suffixes
    if one.module not in ("voc", "panoptic")
)  # fmt: skip
MOST = 150  # files that are tried of each format


def nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all values in a document; of long lists the first ones."""
    yield path
    inside = value.items() if isinstance(value, dict) else []
    if isinstance(value, list):
        inside = enumerate(value[:3])
    for key, one in inside:
        yield from nodes(one, (*path, key))


def changed(document: Any, path: tuple[Any, ...], odd: Any) -> Any:
    """A copy with another value at a place."""
    if not path:
        return odd
    found = copy.deepcopy(document)
    place = found
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = odd
    return found


def messages(path: Path, form: str | None) -> Iterator[str]:
    """What reading a file says."""
    for on_bad in ("skip", "error"):
        try:
            _, report = read_annotations(path, form, on_bad=on_bad)  # type: ignore[arg-type]
        except AnymaskError as error:
            yield str(error)
            continue
        yield from (str(loss) for loss in report.losses)
        yield from report.notes


def check(path: Path, form: str | None, document: Any) -> None:
    """Every changed document gives sentences."""
    every = [(place, odd) for place in nodes(document) for odd in ODD]
    for place, odd in every[:: max(1, len(every) // MOST)]:
        path.write_text(json.dumps(changed(document, place, odd)))
        for message in messages(path, form):
            assert not PYTHON.search(message.replace(str(path.parent), "")), (place, odd, message)


@pytest.mark.parametrize("form", WRITTEN)
def test_odd_values_are_named_in_sentences(tmp_path: Path, form: str) -> None:
    image = rings()
    write_annotations([image], tmp_path / f"in{find_format(form).ending}", form)
    Image.new("RGB", (12, 9)).save(tmp_path / "rings.png")
    ends = (".json", ".geojson", ".xml")
    files = [path for path in sorted(tmp_path.rglob("*")) if path.name.endswith(ends)]
    path = next(path for path in files if "config" not in path.name and path.name != "meta.json")
    if path.suffix != ".xml":
        check(path, form, json.loads(path.read_text()))
        return
    text = path.read_text()
    for number in range(len([*ET.fromstring(text).iter()])):
        for odd in [str(one) for one in ODD if isinstance(one, (str, float))]:
            root = ET.fromstring(text)
            element = [*root.iter()][number]
            for key in list(element.attrib)[:: max(1, len(element.attrib) // 3)]:
                element.set(key, odd)
                path.write_text(ET.tostring(root, "unicode"))
                for message in messages(path, form):
                    assert not PYTHON.search(message), (element.tag, key, odd, message)


DOCUMENTS: dict[str, Callable[[], Any]] = {
    "results": lambda: [results.result(1), results.result(2, segmentation=[results.POLYGON])],
    "label-studio": lambda: [label_studio.ROW],
    "x-anylabeling": lambda: {
        "shapes": [
            {"label": "a", "points": [[1, 1], [5, 1], [5, 5], [1, 5]], "shape_type": "rotation",
             "score": 0.5, "group_id": 1}
        ],
        "imagePath": "a.jpg", "imageHeight": 10, "imageWidth": 20,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTS)
def test_odd_values_of_neighbours_are_named_in_sentences(tmp_path: Path, name: str) -> None:
    for photo in ("a.jpg", "b.jpg"):
        Image.new("RGB", (20, 10)).save(tmp_path / photo)
    document = json.loads(json.dumps(DOCUMENTS[name]()))
    form = "labelme" if name == "x-anylabeling" else name.split()[0]
    check(tmp_path / "in.json", form, document)
