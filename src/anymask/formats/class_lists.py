"""Lists of class names beside pictures of classes: PASCAL VOC, CVAT, CamVid, Roboflow, labelme.

    labelmap.txt      name:r,g,b:parts:actions for each value from 0 (CVAT, datumaro)
    class_names.txt   name for each value from 0 (labelme's converter)
    label_colors.txt  r g b name for each value from 0 (CamVid)
    class_dict.csv    name,r,g,b with a header (copies of CamVid)
    _classes.csv      value, name with a header (Roboflow)

Black is the background. Without a black row, it has the value 0, before the listed classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anymask.base import UintImage
from anymask.formats.documents import located, read_rows, read_text
from anymask.formats.fields import as_whole

LABEL_MAP = "labelmap.txt"
CLASS_FILES = (LABEL_MAP, "class_names.txt", "label_colors.txt", "class_dict.csv", "_classes.csv")


@dataclass(frozen=True)
class ClassList:
    """Names of classes by pixel value without the background's, and colors (K, 3) if listed."""

    names: dict[int, str]
    background: int = 0
    palettes: tuple[UintImage, ...] = ()


def find_classes(folders: Iterable[Path]) -> ClassList | None:
    """Read the first list in one of the folders; None without one. Raises DataError."""
    for path in (folder / name for folder in folders for name in CLASS_FILES):
        if path.is_file():
            with located(path):
                return _read(path)
    return None


def class_lines(path: Path) -> list[str]:
    """Return the lines of a list without comments; none if there is no such file."""
    lines = read_text(path).splitlines() if path.is_file() else ()
    return [line for line in lines if line.strip() and line[0] != "#"]


def _read(path: Path) -> ClassList:
    rows = read_rows(path)[1:] if path.suffix == ".csv" else [[line] for line in class_lines(path)]
    if path.name == "_classes.csv":
        names = {as_whole(value, "value"): name.strip() for value, name, *_ in rows}
        return ClassList({value: name for value, name in names.items() if value})
    if path.name == "class_names.txt":
        return ClassList({value: line.strip() for value, (line,) in enumerate(rows) if value})
    if path.name == LABEL_MAP:
        parts = [line.rsplit(":", 3) for (line,) in rows]
        rows = [[part[0], *",".join(part[1:2]).split(",")] for part in parts]
    elif path.name == "label_colors.txt":
        rows = [[name, *rgb] for *rgb, name in (line.split(maxsplit=3) for (line,) in rows)]
    if not all(len(row) == 4 and all(map(str.strip, row)) for row in rows):  # colors are incomplete
        return ClassList({value: row[0] for value, row in enumerate(rows) if value})
    colors = [[as_whole(part, "color") for part in row[1:]] for row in rows]
    if [0, 0, 0] not in colors:
        rows, colors = [["background"], *rows], [[0, 0, 0], *colors]
    background = colors.index([0, 0, 0])
    names = {value: row[0].strip() for value, row in enumerate(rows) if value != background}
    return ClassList(names, background, (np.array(colors, np.uint8),))
