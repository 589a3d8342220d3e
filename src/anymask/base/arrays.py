"""Read NumPy array files (.npy) and archives of arrays (.npz).

The size that a header declares is compared with the size of the file before memory is allocated,
and pickled objects are never loaded. `check_members` applies to all zip archives: weights, features
and images never unpack to many times their size.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from anymask.base.errors import AnymaskError, DataError

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float32]
Floats = NDArray[np.float64]  # metrics and coordinates
IntArray = NDArray[np.int64]
UintImage = NDArray[np.uint8]

if TYPE_CHECKING:
    import zipfile

MAX_TIMES = 100  # maximum ratio of unpacked to packed size
ANY_RATIO_BYTES = 64 << 20  # bytes; archives that unpack to less may have any ratio


def read_array(file: BinaryIO) -> NDArray[Any]:
    """Read the array of a seekable .npy file.

    Raises:
        DataError: The file is invalid or truncated.
    """
    with _explain("Not a NumPy array file (.npy)"):
        start = file.tell()
        size = file.seek(0, io.SEEK_END)
        file.seek(start)
        version = npy.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise DataError(f"Its format version {version} is not supported.")
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read_header(file)
        requested = math.prod(shape) * dtype.itemsize
        if dtype.kind not in "buif" or min(shape, default=0) < 0:
            raise DataError(f"Expected a numeric array, got dtype {dtype} with shape {shape}.")
        if requested > size - file.tell():
            raise DataError(
                f"Its header declares {requested} bytes with shape {shape}, but the file "
                f"contains only {size - file.tell()}. Copy it again."
            )
        file.seek(start)
        return np.asarray(npy.read_array(file, allow_pickle=False))


def read_arrays(file: BinaryIO, ends: tuple[str, ...] = ("",)) -> dict[str, NDArray[Any]]:
    """Read the arrays of an .npz archive by name, without the .npy suffix.

    Args:
        file: Seekable binary file.
        ends: Suffixes of array names to read. Defaults to all arrays.

    Raises:
        DataError: The archive is invalid or corrupted.
    """
    import zipfile  # imported here because only archives need it

    with _explain("Not a NumPy archive (.npz)"), zipfile.ZipFile(file) as archive:
        check_members(archive)
        arrays = {}
        for member in archive.infolist():
            name, dot, suffix = member.filename.rpartition(".")
            if (dot, suffix) != (".", "npy"):
                raise DataError(f"Its member {member.filename[:60]!r} is not an array.")
            if name.endswith(ends):
                arrays[name] = read_array(io.BytesIO(archive.read(member)))
        return arrays


def check_members(archive: zipfile.ZipFile) -> None:
    """Raise DataError if an archive unpacks to far more than its size.

    The limit applies to the sum of all members, relative to the size of the file: this also covers
    archives of many small members and members that overlap.
    """
    members = archive.infolist()
    assert archive.fp is not None
    packed = archive.fp.seek(0, io.SEEK_END)
    total = sum(member.file_size for member in members)
    if total > max(ANY_RATIO_BYTES, MAX_TIMES * packed):
        largest = max(members, key=lambda member: member.file_size)
        raise DataError(
            f"Its {packed} bytes unpack to {total}, which is more than is allowed. The "
            f"largest of its {len(members)} members is {largest.filename[:60]!r}. "
            "Unpack it manually if you trust the source."
        )


@contextmanager
def _explain(what: str) -> Iterator[None]:
    """Convert any exception of a reader on corrupted bytes to DataError."""
    try:
        yield
    except AnymaskError:
        raise
    except Exception as error:
        raise DataError(f"{what}, or corrupted.") from error
