"""Names of outputs: whether one means a file or a folder, by its end; never by a guess.

A folder is one that is there, or a name without a suffix, or with a slash at its end.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path

_SUFFIX = re.compile(r"\.[a-z][a-z0-9]{0,11}")  # run.5 and v1.5 have none
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
