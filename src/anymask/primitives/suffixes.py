"""Names of outputs: whether one means a file or a folder, by its end; never by a guess.

A folder is one that is there, or a name without a suffix, or with a slash at its end. A page of a
picture file is a picture of its own in files of masks: page 3 of stack.tif is stack.tif.page3.png.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path

_SUFFIX = re.compile(r"\.[a-z][a-z0-9]{0,11}")  # run.5 and v1.5 have none
_PAGE = re.compile(r"(?P<photo>.+)\.page(?P<page>[0-9]{1,7})\.png", re.DOTALL)
_NEAR = 0.7  # .jsn is near .json, .xml is near none


def is_folder(output: str | Path) -> bool:
    """Whether an output names a folder for sure: it is there, or ends in a slash."""
    return str(output).endswith(("/", os.sep)) or Path(output).is_dir()


def file_suffix(output: str | Path) -> str:
    """What makes it the name of a file, in small letters with its dot; empty for a folder."""
    suffix = Path(output).suffix.lower()
    return suffix if _SUFFIX.fullmatch(suffix) and not is_folder(output) else ""


def near_suffix(suffix: str, known: Sequence[str]) -> str | None:
    """The suffix that was probably meant."""
    near = difflib.get_close_matches(suffix, known, 1, _NEAR)
    return near[0] if near else None


def page_name(name: str, page: int) -> str:
    """What a page of a photo is called outside of its file; pages are counted from 0."""
    return f"{name}.page{page}.png"


def split_page_name(name: str) -> tuple[str, int] | None:
    """The photo that a page's name is of, and the page; None for other names."""
    found = _PAGE.fullmatch(name)
    return (found["photo"], int(found["page"])) if found else None
