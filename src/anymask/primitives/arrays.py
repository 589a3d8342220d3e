"""NumPy's array files (.npy) and archives of them (.npz) in, arrays of numbers out.

What a header states is compared with the bytes that are there before memory is taken for it, and
nothing in a file is executed. `check_members` holds for every zip archive: a member may not unpack
to many times its size, as weights, features and pictures never do.
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

from anymask.primitives.errors import AnymaskError, DataError

if TYPE_CHECKING:
    import zipfile

MOST_TIMES = 100  # its packed size, that a member of an archive may unpack to
SMALL_MEMBER = 64 << 20  # bytes; members up to here may be packed as well as they can be
LARGEST_MEMBER = 16 << 30  # bytes
_REASON = 120  # characters of a reader's own message that are told


def read_array(file: BinaryIO) -> NDArray[Any]:
    """The one array of a file that can be sought in. Raises DataError."""
    with _explain("no array file"):
        start = file.tell()
        size = file.seek(0, io.SEEK_END)
        file.seek(start)
        version = npy.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise DataError(f"its version {version} is not that of an array of numbers")
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read_header(file)
        wanted = math.prod(shape) * dtype.itemsize
        if dtype.kind not in "buif" or min(shape, default=0) < 0:
            raise DataError(f"it holds {dtype} of the shape {shape}, not numbers")
        if wanted > size - file.tell():
            raise DataError(
                f"its header states {wanted} bytes of the shape {shape}, the file has "
                f"{size - file.tell()}; copy it again"
            )
        file.seek(start)
        return np.asarray(npy.read_array(file, allow_pickle=False))


def read_arrays(file: BinaryIO) -> dict[str, NDArray[Any]]:
    """The arrays of an archive by name, without the suffix. Raises DataError."""
    import zipfile  # which only archives need

    with _explain("no archive of arrays"), zipfile.ZipFile(file) as archive:
        check_members(archive)
        found = {}
        for member in archive.infolist():
            name, dot, suffix = member.filename.rpartition(".")
            if (dot, suffix) != (".", "npy"):
                raise DataError(f"its member {member.filename[:60]!r} is no array")
            found[name] = read_array(io.BytesIO(archive.read(member)))
        return found


def check_members(archive: zipfile.ZipFile) -> None:
    """Raises DataError for a member that unpacks to far more than it is."""
    for member in archive.infolist():
        most = max(SMALL_MEMBER, MOST_TIMES * member.compress_size)
        if member.file_size > min(most, LARGEST_MEMBER):
            raise DataError(
                f"its member {member.filename[:60]!r} of {member.compress_size} bytes unpacks to "
                f"{member.file_size}; unpack it by hand if you trust it"
            )


@contextmanager
def _explain(what: str) -> Iterator[None]:
    """Turn what readers raise on altered bytes, which is almost anything, into DataError."""
    try:
        yield
    except AnymaskError:
        raise
    except Exception as error:
        told = f"{type(error).__name__}: {str(error)[:_REASON]}"
        raise DataError(f"{what} ({told})") from error
