"""Shared code of scan readers: lazy access to three axes of an array, limits and errors."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.base import (
    AnymaskError,
    DataError,
    InputError,
    LimitError,
    MissingExtra,
    brief,
    check_volume_bytes,
)

MEMORY_DIVISOR = 8  # a deflated slice or a chunk may use 1/8 of the memory limit
MILLIMETERS = {  # by unit names of NIfTI, OME and ImageJ
    **dict.fromkeys(("m", "meter", "metre"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 10.0),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1.0),
    **dict.fromkeys(("um", "µm", "μm", "\\u00b5m", "micron", "microns", "micrometer"), 1e-3),
    **dict.fromkeys(("micrometre",), 1e-3),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-6),
    **dict.fromkeys(("inch", "in"), 25.4),
}


def import_library(name: str, purpose: str, extra: str = "volumes") -> Any:
    """Import a library of an extra. Raises MissingExtra.

    Args:
        purpose: Feature that requires it, for the message.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtra(name, extra, purpose) from error


@contextmanager
def explain(path: Path) -> Iterator[None]:
    """Convert library exceptions for broken files to one clear error."""
    try:
        yield
    except MemoryError:
        raise LimitError(
            f"{path.name!r} does not fit into memory. Save a smaller region, or use a "
            "machine with more memory."
        ) from None
    except Exception as error:  # readers have no common exception class
        if isinstance(error, AnymaskError | PermissionError) or not path.exists():
            raise
        raise DataError(
            f"{path.name!r} cannot be read as a scan: it is corrupted or in an unsupported "
            "variant of its format. Copy it again, or convert it to .nii.gz."
        ) from error


@brief
@dataclass(frozen=True)
class Selected:
    """Lazy view of three axes of an array, in the order (z, y, x)."""

    source: Any  # NumPy, nibabel or zarr array: any object indexed by integers and slices
    axes: tuple[int, int, int]  # Source axes of z, y and x
    fixed: Mapping[int, int]  # Other source axes to index
    path: Path  # File name for error messages
    holds: float = math.inf  # Maximum number of voxel bytes in the file

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(self.source.shape[axis]) for axis in self.axes)

    @property
    def dtype(self) -> np.dtype[Any]:
        known = getattr(self.source, "dtype", None)
        scaled = (getattr(self.source, "slope", 1), getattr(self.source, "inter", 0)) != (1, 0)
        return np.dtype(np.float64) if known is None or scaled else np.dtype(known)

    def __getitem__(self, key: tuple[int | slice, ...], /) -> NDArray[Any]:
        """Read a part. Raises LimitError above the memory limit, DataError for a broken file."""
        indices: list[int | slice] = [0] * len(self.source.shape)
        for axis, index in self.fixed.items():
            indices[axis] = index
        for axis, part in zip(self.axes, key, strict=True):
            indices[axis] = part
        if not isinstance(self.source, np.ndarray):
            sides = [
                len(range(*part.indices(side))) if isinstance(part, slice) else 1
                for part, side in zip(key, self.shape, strict=True)
            ]
            check_volume_bytes(math.prod(sides) * self.dtype.itemsize, repr(self.path.name))
            stored = np.dtype(getattr(self.source, "dtype", np.uint8)).itemsize
            if math.prod(sides) * stored > self.holds:
                raise DataError(
                    f"{self.path.name!r} is truncated: its header declares {self.shape} voxels (z, "
                    f"y, x), but the file contains at most {self.holds:.0f} bytes. Copy it again."
                )
        with explain(self.path):
            read = np.asarray(self.source[tuple(indices)])
        kept = [axis for axis, part in zip(self.axes, key, strict=True) if isinstance(part, slice)]
        return read.transpose(np.argsort(np.argsort(kept))) if kept else read


def select(
    source: Any, axes: Sequence[int], frame: int | None, path: Path, holds: float = math.inf
) -> Selected:
    """Select z, y and x of an array, and one frame of its other axes."""
    shape = tuple(int(side) for side in source.shape)
    others = [axis for axis in range(len(shape)) if axis not in axes]
    count = math.prod(shape[axis] for axis in others)
    if count != 1 and frame is None:
        raise InputError(
            f"{path.name!r} contains {count} volumes (times or channels). Select one with "
            f"--frame N (in Python frame=N), N from 0 to {count - 1}."
        )
    index = frame or 0
    if not 0 <= index < count:
        raise InputError(
            f"Volume {frame} is out of range: {path.name!r} contains {count} (times or "
            f"channels). --frame (in Python frame=) accepts 0 to {count - 1}."
        )
    indices = np.unravel_index(index, [shape[axis] for axis in others]) if others else ()
    z, y, x = axes
    fixed = dict(zip(others, map(int, indices), strict=True))
    return Selected(source, (z, y, x), fixed, path, holds)
