"""Calibrated views: a depth map, a pinhole camera and its pose, and files that describe them.

`read_views` reads a `transforms.json` as written by nerfstudio, instant-ngp and most capture apps:
intrinsics (fl_x, fl_y, cx, cy, or camera_angle_x), and for each frame the pose (camera to world, x
right, y up, z backward) and the path of its depth map.

Coordinates of a camera: x right, y down, z forward, in meters. Depth is the distance along z, not
the distance from the camera center. Pixel centers are at whole numbers plus one half. Letters: H W
an image, n points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, DataError, Floats, InputError, UintImage, parse_json, read_array
from anymask.images import image_hw, load_channels, load_image

_UP_BACK = np.diag([1.0, -1.0, -1.0, 1.0])  # from y down, z forward to y up, z backward
_MILLIMETERS = 0.001
_DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")
_SUFFIXES = ("", ".png", ".jpg", ".jpeg")  # of paths without a suffix, as in the data of NeRF
_ROTATION = 1e-3  # maximum error of a rotation matrix


@dataclass(frozen=True, eq=False)
class Camera:
    """Pinhole camera.

    Attributes:
        focal: Focal lengths (fx, fy) in pixels.
        center: Principal point (cx, cy) in pixels.
        pose: Transform (4, 4) from the camera to the world.
    """

    focal: tuple[float, float]
    center: tuple[float, float]
    pose: Floats

    @classmethod
    def of(cls, intrinsics: tuple[float, ...], pose: Floats | None = None) -> Camera:
        """Create a camera from fx, fy, cx, cy. Raises InputError if they are invalid."""
        if len(intrinsics) != 4 or not all(map(math.isfinite, intrinsics)):
            raise InputError(f"Intrinsics are four numbers fx, fy, cx, cy. Given: {intrinsics}.")
        fx, fy, cx, cy = intrinsics
        if min(fx, fy) <= 0:
            raise InputError(f"Focal lengths must be above 0 pixels. Given: {fx}, {fy}.")
        return cls((fx, fy), (cx, cy), np.eye(4) if pose is None else pose)

    def back_project(self, depth: Floats) -> Floats:  # (H, W) -> (H, W, 3)
        """Convert a depth map to points of the world; NaN where the depth is not above 0."""
        height, width = depth.shape
        x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
        z = np.where(np.isfinite(depth) & (depth > 0), depth, np.nan)
        at = np.stack(
            [(x - self.center[0]) / self.focal[0] * z, (y - self.center[1]) / self.focal[1] * z, z],
            axis=2,
        )
        points: Floats = at @ self.pose[:3, :3].T + self.pose[:3, 3]
        return points

    def project(self, points: Floats) -> tuple[Floats, Floats]:  # (n, 3) -> (n, 2), (n,)
        """Convert points of the world to pixels (x, y) and depth, negative behind the camera."""
        at = (points - self.pose[:3, 3]) @ self.pose[:3, :3]
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels = at[:, :2] / at[:, 2:] * self.focal + self.center
        return pixels, at[:, 2]


@dataclass(frozen=True, eq=False)
class View:
    """Image with depth and camera.

    Attributes:
        name: Name in reports.
        depth: Depth (H, W) in meters; other values than positive numbers are unknown.
        image: Function that reads the image (H, W, 3).
    """

    name: str
    camera: Camera
    depth: Floats
    image: Callable[[], UintImage]

    def seen(self, points: Floats, tolerance: float) -> tuple[NDArray[np.intp], BoolArray]:
        """Find the pixels of points, and the points that no surface hides.

        Args:
            points: Points (n, 3) of the world.
            tolerance: Maximum difference to the depth map, as a share of the depth.

        Returns:
            Flat pixel index (n,), 0 outside the image; whether the point is visible (n,).
        """
        pixels, z = self.camera.project(points)
        height, width = self.depth.shape
        with np.errstate(invalid="ignore"):
            inside = (z > 0) & (pixels >= 0).all(axis=1) & (pixels < (width, height)).all(axis=1)
        columns, rows = np.where(inside[:, None], pixels, 0).astype(np.intp).T
        index = rows * width + columns
        with np.errstate(invalid="ignore"):
            visible = inside & (np.abs(self.depth.ravel()[index] - z) <= tolerance * z)
        return index, visible


def read_depth(path: Path, scale: float | None = None) -> Floats:  # -> (H, W)
    """Read a depth map in meters.

    Args:
        path: Image of one channel (16-bit PNG, TIFF), or .npy array (H, W).
        scale: Meters per unit. Default: 0.001 for integers, 1 for other numbers.

    Raises:
        ImageError: The file is not a readable depth map.
        InputError: It has several channels, or the scale is invalid.
    """
    if scale is not None and not 0 < scale < math.inf:
        raise InputError(f"The depth scale must be above 0. Given: {scale}.")
    if path.suffix.lower() == ".npy":
        values = _array_of(path)
    else:
        values = load_channels(path)
        if values.shape[2] == 3 and (values == values[..., :1]).all():
            values = values[..., :1]
    values = values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values
    if values.ndim != 2 or values.dtype.kind not in "iuf":
        raise InputError(
            f"{path} is not a depth map. Expected one number for each pixel, got the shape "
            f"{values.shape}. Pass the depth as a 16-bit PNG, TIFF or .npy file."
        )
    unit = scale or (_MILLIMETERS if values.dtype.kind in "iu" else 1.0)
    return values.astype(np.float64) * unit


def _array_of(path: Path) -> NDArray[np.generic]:
    """Read an .npy file. Raises InputError or DataError."""
    if not path.is_file():
        raise InputError(f"File not found: {str(path)!r}. Check the path.")
    try:
        with path.open("rb") as file:
            return read_array(file)
    except (DataError, ValueError) as error:
        raise DataError(
            f"{path} is not a NumPy array, or is corrupted. Write it again with numpy.save."
        ) from error


def read_views(path: Path, depth_scale: float | None = None) -> list[View]:
    """Read image, depth map and camera of each frame of a `transforms.json` of nerfstudio.

    Args:
        path: File, whose folder contains the images and depth maps.
        depth_scale: Meters per unit of the depth maps. See `read_depth`.

    Raises:
        DataError: The file is invalid, has no frames with depth, or an image or depth map cannot
            be read.
    """
    document = parse_json(path.read_bytes(), path)
    frames = document.get("frames") if isinstance(document, Mapping) else None
    if not isinstance(frames, list) or not frames:
        raise DataError(f"{path} has no list `frames`. Expected a transforms.json of nerfstudio.")
    found = []
    for number, frame in enumerate(frames):
        try:
            found.append(_view(path, {**document, **frame}, depth_scale))
        except (ArithmeticError, KeyError, TypeError, ValueError, IndexError) as error:
            raise DataError(
                f"{path}: frame {number}: {error}"
                if isinstance(error, InputError)
                else f"{path}: frame {number} is invalid. Expected file_path, depth_file_path, a "
                "transform_matrix of 4 x 4 numbers, and fl_x, fl_y, cx and cy, or camera_angle_x."
            ) from error
    return found


def _view(path: Path, frame: Mapping[str, Any], scale: float | None) -> View:
    name = str(frame["file_path"])
    if bent := [key for key in _DISTORTION if frame.get(key)]:
        raise DataError(
            f"{path}: the camera of {name} has lens distortion ({', '.join(bent)}), which is not "
            "supported. Undistort the images first, for example with colmap image_undistorter."
        )
    if not frame.get("depth_file_path"):
        raise DataError(
            f"{path}: frame {name} has no depth_file_path. Lifting requires a depth map for each "
            "frame; add them, for example rendered from a mesh or predicted by a depth model."
        )
    places = [path.parent / f"{name}{suffix}" for suffix in _SUFFIXES]
    image = next((one for one in places if one.is_file()), places[0])
    depth = read_depth(path.parent / str(frame["depth_file_path"]), scale)
    check_same_size(image, depth)
    height, width = depth.shape
    if "fl_x" in frame:
        focal = (float(frame["fl_x"]), float(frame.get("fl_y", frame["fl_x"])))
    else:
        both = width / 2 / math.tan(float(frame["camera_angle_x"]) / 2)
        focal = (both, both)
    center = (float(frame.get("cx", width / 2)), float(frame.get("cy", height / 2)))
    pose = np.array(frame["transform_matrix"], np.float64)
    turn = pose[:3, :3]
    if pose.shape != (4, 4) or not np.allclose(turn @ turn.T, np.eye(3), atol=_ROTATION):
        raise DataError(
            f"{path}: the transform_matrix of {name} is not a rigid transform. Expected 4 x 4 "
            "numbers with a rotation. Export the poses again."
        )
    camera = Camera.of((*focal, *center), pose @ _UP_BACK)
    return View(Path(name).name, camera, depth, lambda: load_image(image))


def check_same_size(image: Path, depth: Floats) -> None:
    """Raise InputError unless an image has the size of its depth map."""
    hw = image_hw(image)
    if hw != depth.shape:
        raise InputError(
            f"The depth map of {image.name} has {depth.shape[1]} x {depth.shape[0]} pixels, but "
            f"the image has {hw[1]} x {hw[0]}. Resample the depth map to the image."
        )
