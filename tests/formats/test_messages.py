"""Whatever a field of a file holds, messages are sentences: no text of a Python exception.

A small sound file of every format is damaged, mostly by values of unexpected types and sizes.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from anymask.base import AnymaskError
from anymask.formats import find_format, read_annotations, write_annotations
from anymask.formats.registry import FORMATS
from tests.formats.annotated import rings
from tests.fuzz.mutations import mutate

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


def check(path: Path, form: str | None) -> None:
    """Every damaged version of a file gives sentences."""
    sound = path.read_bytes()
    for seed in range(MOST):
        path.write_bytes(mutate(sound, seed, text=True))
        for message in messages(path, form):
            assert not PYTHON.search(message.replace(str(path.parent), "")), (seed, message)


@pytest.mark.parametrize("form", WRITTEN)
def test_odd_values_are_named_in_sentences(tmp_path: Path, form: str) -> None:
    image = rings()
    write_annotations([image], tmp_path / f"in{find_format(form).ending}", form)
    Image.new("RGB", (12, 9)).save(tmp_path / "rings.png")
    ends = (".json", ".geojson", ".xml")
    files = [path for path in sorted(tmp_path.rglob("*")) if path.name.endswith(ends)]
    check(next(one for one in files if "config" not in one.name), form)
