"""A user's own names: labelled masks in, a small file of their mean vectors out, and back.

The file is JSON: `network` names the network of names that made the vectors, `names` has for each
label how many masks it was learned from and their mean vector. What a mask is called is then the
nearest of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from anymask.primitives.errors import DataError, InputError
from anymask.primitives.name_table import ChosenNames, NameTable
from anymask.primitives.notation import parse_json
from anymask.primitives.storage import write_json
from anymask.primitives.types import FloatArray

FORMAT = 1
DIGITS = 5


def write_own_names(
    path: Path, table: NameTable, examples: Iterable[tuple[str, FloatArray]]
) -> dict[str, int]:
    """Write the mean vectors of labels, (n, D) of some masks each time; how many each had.

    Raises InputError where there is no example.
    """
    sums: dict[str, FloatArray] = {}
    counts: dict[str, int] = {}
    for label, vectors in examples:
        sums[label] = sums.get(label, np.zeros(vectors.shape[1], np.float32)) + vectors.sum(axis=0)
        counts[label] = counts.get(label, 0) + len(vectors)
    if not counts:
        raise InputError("wanted masks with labels to learn names from, found none")
    means = {
        label: total / max(float(np.linalg.norm(total)), 1e-6) for label, total in sums.items()
    }
    names = {
        label: {"masks": counts[label], "vector": [round(float(x), DIGITS) for x in means[label]]}
        for label in sorted(means)
    }
    write_json(path, {"format": FORMAT, "network": table.network, "names": names})
    return counts


def read_own_names(path: Path, table: NameTable) -> ChosenNames:
    """The names of such a file. Raises InputError, DataError for a file of other things."""
    if not path.is_file():
        raise InputError(
            f"{path}: wanted a file of your own names, there is none; make one with `anymask "
            "names`, or give names as a list"
        )
    told = parse_json(path.read_bytes(), path)
    try:
        if told["format"] != FORMAT:
            raise DataError(f"{path} has format {told['format']!r}, this anymask reads {FORMAT}")
        vectors = np.array([one["vector"] for one in told["names"].values()], np.float32)
        labels, network = tuple(map(str, told["names"])), told["network"]
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is no file of own names; make one with `anymask names`") from error
    if vectors.ndim != 2 or vectors.shape[1] != table.vectors.shape[1] or network != table.network:
        raise InputError(
            f"{path}: its names were learned with another network of names; make it again with "
            "`anymask names`"
        )
    return ChosenNames(labels, vectors, table.scale)
