"""Which outputs a command may write; what they hold is `primitives.mask_files`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from anymask.primitives.errors import InputError
from anymask.primitives.mask_files import (
    FoundMask,
    Kind,
    output_kind,
    shows_photo,
    write_found,
)

__all__ = ["FoundMask", "Kind", "check_outputs", "output_kind", "shows_photo", "write_found"]


def check_outputs(paths: Sequence[Path], photo: Path) -> None:
    """Refuse what cannot or must not be written, before any work. Raises InputError."""
    for path in paths:
        if path.is_dir():
            raise InputError(f"wanted a file to write, {str(path)!r} is a folder; add a file name")
        if path.exists() and photo.exists() and path.samefile(photo):
            raise InputError(f"the output {str(path)!r} is the photo itself; choose another name")
