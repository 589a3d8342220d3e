"""3D scans: voxels (z, y, x) and their positions in the patient.

Positions are in mm in the RAS frame (x to the right, y to the front, z to the head), as in NIfTI.
DICOM, ITK and Slicer's NRRD use LPS, which is RAS with the first two axes inverted. The affine maps
(x, y, z, 1), the reversed voxel index, to the voxel center, as in nibabel. Voxels are never
resampled or reoriented: a slice is a slice of the file.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from anymask.base import Floats, InputError, UintImage, explain_keywords, preview_html
from anymask.masks import preview_of

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SHEAR = 1e-3  # maximum cosine between two axes; allows for float32 and rounded headers
_GOLDEN = 0.61803398875  # hue step that separates consecutive labels

Color = tuple[int, int, int]


class Voxels(Protocol):
    """Interface of voxel arrays, in memory or in a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels along z, y and x."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the voxels."""
        ...

    def __getitem__(self, key: tuple[int | slice, ...], /) -> Any:
        """Read a part."""
        ...


@explain_keywords
@dataclass(frozen=True, eq=False)
class Volume:
    """A scan, or labels of a scan.

    Raises:
        InputError: The voxels do not have three dimensions, or the affine is sheared.
    """

    voxels: Voxels  # Voxels (z, y, x), in memory or in a file. Read them with `array` and `slice`.
    affine: Floats  # Matrix (4, 4) from voxel (x, y, z, 1) to mm, RAS
    names: Mapping[int, str] = field(default_factory=dict)  # Label value to name
    # Label value to color: red, green, blue, 0 to 255
    colors: Mapping[int, Color] = field(default_factory=dict)
    source: str = ""  # File that it was read from

    def __post_init__(self) -> None:
        shape, dtype = tuple(self.voxels.shape), self.voxels.dtype
        if len(shape) != 3 or min(shape) < 1:
            raise InputError(f"Voxels must have three dimensions (z, y, x), not shape {shape}.")
        if dtype.kind not in "buif":
            raise InputError(f"Voxels must be numbers, got {dtype}.")
        affine = np.array(self.affine, np.float64)
        if (
            affine.shape != (4, 4)
            or not np.isfinite(affine).all()
            or not np.allclose(affine[3], (0, 0, 0, 1))
        ):
            raise InputError(
                "Invalid affine. Pass a 4 x 4 matrix of finite numbers that maps voxels to "
                "millimeters. Its last row must be 0, 0, 0, 1."
            )
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        if lengths.min() < 1e-9:
            raise InputError("Invalid affine. The voxel size along one axis is 0 mm.")
        directions = affine[:3, :3] / lengths
        cosines = np.abs(directions.T @ directions - np.eye(3))
        if cosines.max() > _SHEAR:
            degrees = np.degrees(np.arccos(np.clip(cosines.max(), 0, 1)))
            raise InputError(
                f"The axes of this scan are sheared: two of them meet at {degrees:.1f} degrees "
                "instead of 90 (gantry tilt). Resample it to a rectilinear grid first (3D "
                "Slicer: Resample Scalar Volume)."
            )
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)
        for name in ("names", "colors"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __repr__(self) -> str:
        sides, steps = ("x".join(f"{n:g}" for n in three) for three in (self.shape, self.spacing))
        named = f", {len(self.names)} labels" if self.names else ""
        kind = self.voxels.dtype.name
        return f"<Volume of {sides} {kind}, {steps} mm, {self.orientation}{named}>"

    def _repr_html_(self) -> str:
        """Preview of the middle slice. A compressed file is decompressed up to that slice."""
        return preview_html(repr(self), (), preview_of(lambda: self.image(self.shape[0] // 2)))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along z, y and x."""
        z, y, x = self.voxels.shape
        return int(z), int(y), int(x)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along z, y and x, in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)

    @property
    def orientation(self) -> str:
        """Approximate directions of x, y and z in the patient: LPS is left, posterior, superior."""
        directions = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        letters, free = [""] * 3, {0, 1, 2}
        for axis in np.argsort(-np.abs(directions).max(axis=0)):
            ahead = max(free, key=lambda row: abs(directions[row, axis]))
            free.remove(ahead)
            letters[axis] = ("LR", "PA", "IS")[ahead][int(directions[ahead, axis] > 0)]
        return "".join(letters)

    @cached_property
    def array(self) -> NDArray[Any]:
        """All voxels (z, y, x), raw values, read on first access.

        Raises:
            LimitError: The voxels need more memory than ANYMASK_VOLUME_MEGABYTES.
        """
        whole = slice(None)
        return _native(np.asarray(self.voxels[whole, whole, whole]))

    def slice(self, index: int, axis: int = 0) -> NDArray[Any]:
        """Read the raw values of one slice across an axis (0 is z, 1 is y, 2 is x).

        Raises:
            InputError: The axis or slice does not exist.
        """
        check_axis(axis)
        position: object = index
        if not isinstance(position, int | np.integer) or not 0 <= position < self.shape[axis]:
            raise InputError(
                f"Slice {index} is out of range: this volume has slices 0 to "
                f"{self.shape[axis] - 1}."
            )
        key: list[int | slice] = [slice(None)] * 3
        key[axis] = int(index)
        voxels = self.array if "array" in self.__dict__ else self.voxels
        return _native(np.asarray(voxels[tuple(key)]))

    def image(
        self, index: int, axis: int = 0, window: tuple[float, float] | None = None
    ) -> UintImage:
        """Read one slice as an 8-bit image for display or a model.

        Args:
            window: Intensity window (level, width), centered on the level. Default: the 0.5th to
                the 99.5th percentile of this slice.

        Raises:
            InputError: The window is invalid.
        """
        pixels = self.slice(index, axis).astype(np.float64)
        finite = np.isfinite(pixels)
        if window is None:
            low, high = np.percentile(pixels[finite], (0.5, 99.5)) if finite.any() else (0.0, 1.0)
        else:
            check_window(window)
            level, width = window
            low, high = level - width / 2, level + width / 2
        gray = (np.where(finite, pixels, low) - low) / max(high - low, 1e-12)
        return np.rint(gray.clip(0, 1) * 255).astype(np.uint8)


def check_axis(axis: object) -> None:
    """Raise InputError if `axis` is not 0, 1 or 2."""
    if axis not in (0, 1, 2) or isinstance(axis, bool):
        raise InputError(f"Invalid axis {axis!r}. Use 0 (z), 1 (y) or 2 (x).")


def check_window(window: object) -> None:
    """Raise InputError if `window` is not (level, width) with a width above 0."""
    if window is None:
        return
    try:
        level, width = (float(part) for part in window)  # type: ignore[attr-defined]  # user's
    except (TypeError, ValueError):
        raise InputError(f"Invalid window {window!r}. Use (level, width).") from None
    if not (np.isfinite(level) and 0 < width < np.inf):
        raise InputError(
            f"The width of a window (level, width) must be above 0, but the window is {window}."
        )


def scaled_affine(spacing: tuple[float, float, float]) -> Floats:
    """Affine of a stack without directions, from the spacing (z, y, x) in mm, as in ITK."""
    z, y, x = spacing
    return LPS_TO_RAS @ np.diag([x, y, z, 1.0])


def label_color(labels: Volume, value: int) -> Color:
    """Color of a label, or a generated one."""
    if value in labels.colors:
        return labels.colors[value]
    red, green, blue = colorsys.hsv_to_rgb(value * _GOLDEN % 1, 0.65, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def _native(array: NDArray[Any]) -> NDArray[Any]:
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
