"""Sample photos: the name of one in the package in, its path out.

They are those of scikit-image's `data` module that their photographers gave to the public domain;
NOTICE names them.
"""

from __future__ import annotations

from pathlib import Path

from anymask.primitives.errors import InputError
from anymask.primitives.keywords import name_keywords

SAMPLES = ("cat", "coffee", "rocket")
_FOLDER = Path(__file__).parents[1] / "assets" / "photos"


@name_keywords
def sample(name: str = "coffee") -> Path:
    """The path of a photo to begin with: "coffee" (600 x 400), "cat" or "rocket".

    Raises InputError for another name.
    """
    if name not in SAMPLES:
        raise InputError(f"there is no sample {name!r}; there are {', '.join(SAMPLES)}")
    return _FOLDER / f"{name}.jpg"
