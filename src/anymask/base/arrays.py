"""NumPy's array files (.npy) and archives of them (.npz) in, arrays of numbers out.

What a header states is compared with the bytes that are there before memory is taken for it, and
nothing in a file is executed. `check_members` holds for every zip archive: it may not unpack to
many times its size, as weights, features and pictures never do.
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
Floats = NDArray[np.float64]  # figures and coordinates
IntArray = NDArray[np.int64]
UintImage = NDArray[np.uint8]

if TYPE_CHECKING:
    import zipfile

MAX_TIMES = 100  # its size, that an archive may unpack to
SMALL = 64 << 20  # bytes; up to here an archive may be packed as well as it can be


def read_array(file: BinaryIO) -> NDArray[Any]:
    """The one array of a file that can be sought in. Raises DataError."""
    with _explain("Not a NumPy array file (.npy)"):
        start = file.tell()
        size = file.seek(0, io.SEEK_END)
        file.seek(start)
        version = npy.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise DataError(f"Its format version {version} is not supported.")
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read_header(file)
        wanted = math.prod(shape) * dtype.itemsize
        if dtype.kind not in "buif" or min(shape, default=0) < 0:
            raise DataError(f"Expected a numeric array, got dtype {dtype} with shape {shape}.")
        if wanted > size - file.tell():
            raise DataError(
                f"Its header declares {wanted} bytes with shape {shape}, but the file "
                f"contains only {size - file.tell()}. Copy it again."
            )
        file.seek(start)
        return np.asarray(npy.read_array(file, allow_pickle=False))


def read_arrays(file: BinaryIO, ends: tuple[str, ...] = ("",)) -> dict[str, NDArray[Any]]:
    """The arrays of an archive by name, without the suffix. Raises DataError.

    Args:
        ends: Of the names of those that are read.
    """
    import zipfile  # which only archives need

    with _explain("Not a NumPy archive (.npz)"), zipfile.ZipFile(file) as archive:
        check_members(archive)
        found = {}
        for member in archive.infolist():
            name, dot, suffix = member.filename.rpartition(".")
            if (dot, suffix) != (".", "npy"):
                raise DataError(f"Its member {member.filename[:60]!r} is not an array.")
            if name.endswith(ends):
                found[name] = read_array(io.BytesIO(archive.read(member)))
        return found


def check_members(archive: zipfile.ZipFile) -> None:
    """Raises DataError for an archive that unpacks to far more than it is.

    All members count together, and against the bytes of the file: many small ones unpack to as much
    as a large one, and those that lie over each other state more bytes than there are.
    """
    members = archive.infolist()
    assert archive.fp is not None
    packed = archive.fp.seek(0, io.SEEK_END)
    total = sum(member.file_size for member in members)
    if total > max(SMALL, MAX_TIMES * packed):
        largest = max(members, key=lambda member: member.file_size)
        raise DataError(
            f"Its {packed} bytes unpack to {total}, which is more than is allowed. The "
            f"largest of its {len(members)} members is {largest.filename[:60]!r}. "
            "Unpack it manually if you trust the source."
        )


@contextmanager
def _explain(what: str) -> Iterator[None]:
    """Turn what readers raise on altered bytes, which is almost anything, into DataError."""
    try:
        yield
    except AnymaskError:
        raise
    except Exception as error:
        raise DataError(f"{what}, or corrupted.") from error
