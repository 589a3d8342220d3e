"""Memory of a session: an object in, the arrays that it refers to and their bytes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Holdings:
    """Arrays and tensors that something refers to, and their bytes; shared ones count once."""

    count: int
    nbytes: int


def held_by(thing: object) -> Holdings:
    """Everything that is reached through containers and through objects of this package."""
    count, total, known = 0, 0, set()
    ahead: list[Any] = [thing]
    while ahead:
        one = ahead.pop()
        if id(one) in known:
            continue
        known.add(id(one))
        if isinstance(one, np.ndarray) or type(one).__module__.partition(".")[0] == "torch":
            count, total = count + 1, total + int(one.nbytes)
        else:
            ahead += _parts(one)
    return Holdings(count, total)


def _parts(one: Any) -> list[Any]:
    if isinstance(one, dict):
        return list(one.values())
    if isinstance(one, list | tuple | set):
        return list(one)
    if type(one).__module__.startswith("anymask"):
        return [value for name, value in getattr(one, "__dict__", {}).items() if name != "model"]
    return []
