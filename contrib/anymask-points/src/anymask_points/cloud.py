"""Point clouds, and their files: PLY, NumPy arrays and tables of text.

Points of a file that are not finite are skipped and counted. In NumPy and text files, columns 4 to
6 are the colors red, green and blue. Unsigned integers are relative to the largest value of their
type. Other numbers are in 0..1, or in 0..255 if one of them is above 1.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anymask.base import (
    BoolArray,
    DataError,
    FloatArray,
    Floats,
    InputError,
    brief,
    read_array,
    read_arrays,
    write_whole,
)
from anymask_points.ply import ply_bytes, read_ply

SUFFIXES = (".ply", ".npz", ".npy", ".xyz", ".txt", ".csv", ".pts")
WRITTEN = (".ply", ".npz")
POINT_NAMES = ("points", "coordinates", "coords", "xyz", "pos")  # arrays of an .npz file
COLOR_NAMES = ("colors", "colours", "rgb")
MAX_BYTES = 255.0


@brief
@dataclass(frozen=True, eq=False)
class PointCloud:
    """Points with optional colors.

    Attributes:
        points: Coordinates (N, 3) in any unit.
        colors: Red, green and blue (N, 3) in 0..1, or None.
        skipped: Number of points of the file that were skipped because they are not finite.
    """

    points: Floats
    colors: FloatArray | None = None
    skipped: int = 0

    @classmethod
    def of(cls, points: ArrayLike, colors: ArrayLike | None = None) -> PointCloud:
        """Create a cloud from arrays.

        Args:
            points: Coordinates (N, 3).
            colors: Colors (N, 3), integers or numbers in 0..1 or 0..255.

        Raises:
            InputError: An array has another shape, is empty, or a value is not finite.
        """
        at = _table(points, "points")
        if not len(at):
            raise InputError("The point cloud is empty. At least one point is required.")
        if bad := int((~np.isfinite(at).all(axis=1)).sum()):
            raise InputError(
                f"{bad} of {len(at)} points have coordinates that are not finite. Remove them: "
                "points[np.isfinite(points).all(axis=1)]."
            )
        if colors is None:
            return cls(at)
        given = _table(colors, "colors")
        if len(given) != len(at):
            raise InputError(f"Expected one color for each of {len(at)} points, got {len(given)}.")
        try:
            return cls(at, _unit_colors(np.asarray(colors)))
        except DataError as error:
            raise InputError(str(error)) from error

    def write(self, path: Path, mask: BoolArray) -> None:
        """Write the points with a mask: `.ply` (a property `mask`, 0 or 1) or `.npz`.

        Raises:
            InputError: The suffix is unknown.
        """
        if path.suffix.lower() == ".ply":
            write_whole(path, ply_bytes(self.points, self.colors, mask))
            return
        check_written(path)
        found = io.BytesIO()
        arrays: dict[str, NDArray[Any]] = {"points": self.points, "mask": mask}
        if self.colors is not None:
            arrays["colors"] = self.colors
        np.savez_compressed(found, **arrays)  # type: ignore[arg-type]  # stub mixes up allow_pickle
        write_whole(path, found.getvalue())


def check_written(path: Path) -> None:
    """Raise InputError unless a point cloud can be written with this suffix."""
    if path.suffix.lower() not in WRITTEN:
        raise InputError(
            f"Unsupported suffix of {str(path)!r}. Point clouds are written as .ply or .npz."
        )


def read_points(path: str | Path) -> PointCloud:
    """Read a point cloud.

    Args:
        path: `.ply` (text or binary, vertices only), `.npz` with the arrays `points` and `colors`,
            `.npy` (N, 3) or (N, 6), or a table of text with 3 or 6 columns.

    Raises:
        DataError: The file is not a point cloud, is empty or corrupted.
        InputError: The suffix is unknown.
        FileNotFoundError: The file does not exist.
    """
    path = Path(path).expanduser()
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"{str(path)!r} is not a point cloud. Expected a file that ends in "
            f"{', '.join(SUFFIXES)}. Convert it to .ply, for example with CloudCompare or MeshLab."
        )
    data = path.read_bytes()
    try:
        if suffix == ".ply":
            at, given = read_ply(data)
        elif suffix == ".npz":
            at, given = _from_archive(read_arrays(io.BytesIO(data)))
        elif suffix == ".npy":
            at, given = _columns(read_array(io.BytesIO(data)))
        else:
            at, given = _columns(_from_text(data, header=suffix == ".pts"))
        colors = None if given is None else _unit_colors(given)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    at = np.asarray(at, np.float64)
    finite = np.isfinite(at).all(axis=1)
    if not len(at):
        raise DataError(f"{path} has no points. Export the point cloud again.")
    if not finite.any():
        raise DataError(
            f"{path} has {len(at)} points, none of which has finite coordinates. Export the point "
            "cloud again."
        )
    kept = None if colors is None else colors[finite]
    return PointCloud(at[finite], kept, int((~finite).sum()))


def _from_archive(arrays: dict[str, NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Find the points and colors among the arrays of an .npz file."""
    at = next((arrays[name] for name in POINT_NAMES if name in arrays), None)
    if at is None:
        raise DataError(
            f"Its arrays are {', '.join(arrays) or 'none'}. Expected an array named 'points', and "
            "optionally 'colors'."
        )
    colors = next((arrays[name] for name in COLOR_NAMES if name in arrays), None)
    if colors is None:
        return _columns(at)
    for name, one in (("points", at), ("colors", colors)):
        if one.ndim != 2 or one.shape != (len(at), 3):
            raise DataError(f"Array {name!r} has the shape {one.shape}. Expected (N, 3).")
    return at, colors


def _columns(table: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Split a table into points and colors."""
    if table.ndim != 2 or table.shape[1] not in (3, 6):
        raise DataError(
            f"Its table has the shape {table.shape}. Expected 3 columns (x, y, z) or 6 (x, y, z, "
            "red, green, blue)."
        )
    return table[:, :3], table[:, 3:] if table.shape[1] == 6 else None


def _from_text(data: bytes, header: bool) -> Floats:
    """Read numbers separated by blanks, commas or semicolons; # and // start a comment."""
    try:
        lines = list(_lines(data.decode("utf-8-sig")))
    except UnicodeDecodeError as error:
        raise DataError("It is not text. Save the point cloud as text, or as .ply.") from error
    if header and lines and len(lines[0].split()) == 1:  # the number of points
        lines = lines[1:]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a file without lines, which is reported by name
            table: Floats = np.loadtxt(lines, np.float64, ndmin=2)
    except ValueError as error:
        raise DataError(
            "It is not a table of numbers. Expected x, y and z, or x, y, z, red, green and blue "
            "on each line."
        ) from error
    return table if table.size else table.reshape(0, 3)


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        bare = line.partition("#")[0].partition("//")[0].replace(",", " ").replace(";", " ")
        if bare.strip():
            yield bare


def _unit_colors(colors: NDArray[Any]) -> FloatArray:
    """Convert colors to 0..1. Raises DataError if a value is out of range."""
    kind = colors.dtype
    values = np.asarray(colors, np.float64)
    if kind.kind == "u" or (kind.kind == "i" and kind.itemsize == 1):
        values = values / float(np.iinfo(kind).max)
    elif kind.kind == "i" or (len(values) and np.nanmax(values, initial=0.0) > 1):
        values = values / MAX_BYTES
    wrong = ~((values >= 0) & (values <= 1)).all(axis=1)
    if wrong.any():
        raise DataError(
            f"{int(wrong.sum())} of {len(values)} colors are out of range. Expected values in "
            "0..1 or 0..255."
        )
    return values.astype(np.float32)


def _table(given: ArrayLike, name: str) -> Floats:
    try:
        table = np.asarray(given, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be an array (N, 3) of numbers.") from error
    if table.ndim != 2 or table.shape[1] != 3:
        raise InputError(f"{name} must be an array (N, 3), got the shape {table.shape}.")
    return table
