"""Read scans in a separate process with limited memory and time, for untrusted files.

A malicious file can only block or exhaust this process. It writes the voxels to a file, from which
the caller reads slices, and for DICOM the headers without private and long elements. It exits with
its parent process.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anymask.base import (
    VOLUME_MEGABYTES,
    AnymaskError,
    DataError,
    InputError,
    LimitError,
    MissingExtra,
    check_volume_bytes,
    exit_text,
    parse_json,
    write_json,
)
from anymask.volumes.dicom import DicomSlices, read_headers, write_headers
from anymask.volumes.reading import read_volume
from anymask.volumes.volume import Volume

PIECE = 128 << 20  # bytes of voxels per block
_MORE_MEMORY = 1 << 29  # additional memory limit besides voxels and libraries, in bytes
_RESULT, _VOXELS, _HEADERS = "result.json", "voxels", "headers"
_PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {} import main; main()"
_ERROR_TYPES: dict[str, type[AnymaskError]] = {
    cls.__name__: cls for cls in (MissingExtra, LimitError, InputError, DataError, AnymaskError)
}


@dataclass(frozen=True)
class IsolatedScan:
    """A scan to read in a separate process."""

    path: Path  # As for `read_volume`
    folder: Path  # Existing folder for the results
    most_bytes: int  # Maximum size of the voxels. The process may use about twice as much memory.
    seconds: float  # Time limit
    frame: int | None = None  # As for `read_volume`
    detached: bool = False  # As for `read_volume`

    def read(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """Decode the scan. Get the result with `load`.

        Args:
            stopped: Polled regularly; True ends the process.

        Raises:
            LimitError: The scan exceeds the memory or time limit.
            InterruptedError: The read was cancelled.
            AnymaskError: As for `read_volume`.
        """
        (self.folder / _HEADERS).mkdir(exist_ok=True)
        words = asdict(self) | {"path": str(self.path), "folder": str(self.folder)}
        command = [sys.executable, "-c", _PROGRAM.format(__name__), json.dumps(sys.path)]
        process = subprocess.Popen(
            [*command, json.dumps(words)],
            stdin=subprocess.PIPE,  # closed when this process ends
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, VOLUME_MEGABYTES: str(self.most_bytes / 1e6),
                 "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        deadline = time.monotonic() + self.seconds
        try:
            while process.poll() is None:
                if stopped():
                    raise InterruptedError(f"Reading {self.path.name!r} was cancelled.")
                if time.monotonic() > deadline:
                    raise LimitError(
                        f"Reading {self.path.name!r} exceeds the limit of "
                        f"{self.seconds:g} seconds. Save it uncompressed, or save a smaller region."
                    )
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)
        finally:
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()
        try:
            result = parse_json((self.folder / _RESULT).read_bytes(), _RESULT)
        except FileNotFoundError:
            raise DataError(
                f"{self.path.name!r} cannot be read: its reader "
                f"{exit_text(process.returncode)}. Save it in another format, such as .nii.gz."
            ) from None
        if "shape" in result:
            return
        message, number = str(result["message"]), int(result["number"])
        match result["kind"]:
            case "LimitError":
                raise LimitError(message, number)
            case "MissingExtra":
                error = MissingExtra("", "volumes", "")
                error.msg, error.args = message, (message,)
                raise error
            case "OSError":
                raise OSError(number, message)
            case kind:
                raise _ERROR_TYPES[kind](message)

    def load(self) -> tuple[Volume, Volume]:
        """Return the decoded voxels, and the scan that labels refer to: for DICOM its headers."""
        result: dict[str, Any] = parse_json((self.folder / _RESULT).read_bytes(), _RESULT)
        shape = tuple(int(side) for side in result["shape"])
        voxels = np.memmap(self.folder / _VOXELS, np.dtype(result["dtype"]), "r", shape=shape)
        affine = np.array(result["affine"], np.float64)
        unpacked = Volume(voxels, affine, source=str(self.path))
        if not result["dicom"]:
            return unpacked, unpacked
        slices = DicomSlices(read_headers(self.folder / _HEADERS))
        return unpacked, Volume(slices, affine, source=str(self.path))


def unpack(scan: Volume, path: Path) -> None:
    """Write the voxels of a scan to a file, block by block."""
    kind = scan.voxels.dtype.newbyteorder("=")
    rows, columns = scan.shape[1:]
    step = max(1, PIECE // (rows * columns * kind.itemsize))
    with path.open("wb") as file:
        for first in range(0, scan.shape[0], step):
            part = scan.voxels[slice(first, first + step), slice(None), slice(None)]
            np.ascontiguousarray(part, kind).tofile(file)


# Child process.


def main() -> None:
    """Read the scan given on the command line, and write the result or error to its folder."""
    words = parse_json(sys.argv[2], "the command line")
    paths = {name: Path(words[name]) for name in ("path", "folder")}
    job = IsolatedScan(**{**words, **paths})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    limit_process(job.most_bytes, job.seconds)
    try:
        scan = read_volume(job.path, frame=job.frame, detached=job.detached)
        size = math.prod(scan.shape) * scan.voxels.dtype.itemsize
        check_volume_bytes(size, repr(job.path.name))
        unpack(scan, job.folder / _VOXELS)
        if isinstance(scan.voxels, DicomSlices):
            write_headers(scan.voxels, job.folder / _HEADERS)
        result: dict[str, Any] = {
            "shape": scan.shape,
            "dtype": scan.voxels.dtype.newbyteorder("=").str,
            "affine": scan.affine.tolist(),
            "dicom": isinstance(scan.voxels, DicomSlices),
        }
    except MemoryError:
        message = (
            f"Reading {job.path.name!r} requires too much memory. Save a smaller region "
            "of the scan."
        )
        result = {"kind": "LimitError", "message": message, "number": 0}
    except AnymaskError as error:
        kind = next(name for name, cls in _ERROR_TYPES.items() if isinstance(error, cls))
        result = {"kind": kind, "message": str(error), "number": getattr(error, "size", 0)}
    except OSError as error:
        result = {"kind": "OSError", "message": error.strerror or str(error), "number": error.errno}
    write_json(job.folder / _RESULT, result)


def _end_with_parent() -> None:
    """Exit when stdin closes, which happens when the parent process ends."""
    sys.stdin.buffer.read()
    os._exit(1)


def limit_process(voxel_bytes: int, seconds: float) -> None:
    """Limit the resources of this process, if the system supports it (not on Windows).

    Args:
        voxel_bytes: Size of the voxels. The memory limit is twice as much, plus libraries.
        seconds: CPU time limit, with a small reserve, because the parent enforces the time.
    """
    try:
        import resource
    except ImportError:
        return
    try:  # the current address space, mostly libraries
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        mapped = pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        mapped = 1 << 31
    requested = {
        resource.RLIMIT_AS: 2 * voxel_bytes + _MORE_MEMORY + mapped,
        resource.RLIMIT_CPU: math.ceil(seconds) + 10,
        resource.RLIMIT_FSIZE: voxel_bytes + _MORE_MEMORY,
        resource.RLIMIT_CORE: 0,
    }
    for name, most in requested.items():
        with contextlib.suppress(ValueError, OSError):  # the limit is already lower
            resource.setrlimit(name, (most, resource.getrlimit(name)[1]))
    with contextlib.suppress(OSError):
        os.nice(5)
