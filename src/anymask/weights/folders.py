"""The store's folder: platform and environment in, where weights and caches lie out."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from anymask.primitives.errors import WeightsError

HOME = "ANYMASK_HOME"


def home() -> Path:
    """The folder of everything that anymask keeps.

    `ANYMASK_HOME` if set, else the platform's cache folder: `$XDG_CACHE_HOME/anymask` or
    `~/.cache/anymask` on Linux, `~/Library/Caches/anymask` on macOS, `%LOCALAPPDATA%\\anymask` on
    Windows. It is not created by asking.
    """
    if chosen := os.environ.get(HOME):
        return Path(chosen).expanduser().resolve()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "anymask"


def make_folder(folder: Path) -> None:
    """Make a folder of the store. Raises WeightsError where a file is in the way."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise WeightsError(
            f"wanted a folder for the weights, but {str(folder)!r} or a part of it is a file; set "
            f"{HOME} to a folder"
        ) from error
