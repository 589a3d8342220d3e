"""A network of names on ONNX Runtime: close-ups in, vectors and logits out; its names from a file.

names.npz holds arrays of numbers only: `words` is UTF-8 text, a JSON object of `words` (a list) and
`also` (other spellings to places); `vectors` (N, D), `learned` (N,) and `scale`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.primitives.arrays import read_arrays
from anymask.primitives.errors import DataError, WeightsError
from anymask.primitives.name_table import NameTable
from anymask.primitives.notation import parse_json
from anymask.primitives.types import FloatArray, UintImage

AT_ONCE = 16  # close-ups: larger batches are no faster


class OnnxNames:
    """See `MaskNaming`.

    run    the graph, with close-ups and masks
    table  reads the names
    """

    def __init__(
        self, run: Callable[..., list[FloatArray]], table: Callable[[], NameTable]
    ) -> None:
        self._run, self._table = run, cache(table)

    def name_table(self) -> NameTable:
        """See `MaskNaming`."""
        return self._table()

    def look(self, photos: UintImage, masks: UintImage) -> tuple[FloatArray, FloatArray]:
        """See `MaskNaming`."""
        vectors, logits = [], []
        for start in range(0, len(photos), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            planes = np.ascontiguousarray(photos[part].transpose(0, 3, 1, 2), np.float32)
            covered = masks[part, None].astype(np.float32) / 255
            vector, logit = self._run(planes, covered)
            vectors.append(vector)
            logits.append(logit)
        return np.concatenate(vectors), np.concatenate(logits)


def table_to_arrays(table: NameTable) -> dict[str, NDArray[Any]]:
    """The arrays of `names.npz`."""
    told = json.dumps({"words": table.words, "also": dict(table.also)}, ensure_ascii=False)
    return {
        "words": np.frombuffer(told.encode(), np.uint8),
        "vectors": table.vectors.astype(np.float16),
        "learned": table.learned,
        "scale": np.array(table.scale, np.float32),
    }


def read_table(path: Path, network: str = "") -> NameTable:
    """The names of a bundle, made for `network`. Raises WeightsError for a file of other things."""
    try:
        with path.open("rb") as file:
            arrays = read_arrays(file)
        told = parse_json(arrays["words"].tobytes(), path)
        words, also = tuple(map(str, told["words"])), dict(told["also"])
        vectors = arrays["vectors"].astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-6)
        learned = arrays["learned"].astype(np.bool_)
        if not len(words) == len(vectors) == len(learned):
            raise DataError(f"{len(words)} names, {len(vectors)} vectors")
    except (DataError, KeyError, TypeError, ValueError, IndexError) as error:
        raise WeightsError(
            f"{path}: not the names of a network ({str(error)[:120]}); train it again"
        ) from error
    return NameTable(words, vectors, learned, also, float(arrays["scale"]), network)
