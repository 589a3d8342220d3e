"""Scenes of spheres on a plane with exact depth, masks and poses, by casting a ray a pixel."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anymask_points.views import Camera, View

FLOOR = 0  # number of the plane z = 0; spheres are 1, 2, ...
COLORS = np.array([(70, 90, 60), (220, 40, 40), (40, 60, 220), (230, 200, 40)], np.uint8)
SPHERES = ((0.0, 0.0, 0.5, 0.5), (1.2, 0.3, 0.35, 0.35), (-0.9, 0.8, 0.4, 0.4))  # x y z radius


@dataclass
class Rendered:
    """A view with the object of each pixel."""

    view: View
    numbers: NDArray[np.int64]
    image: NDArray[np.uint8]


def look_at(eye: Sequence[float], target: Sequence[float] = (0, 0, 0.3)) -> NDArray[np.float64]:
    """Camera to world, x right, y down, z forward; the world's z is up."""
    forward = np.subtract(target, eye)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, (0, 0, 1))
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = eye
    return pose


def render(pose: NDArray[np.float64], hw: tuple[int, int] = (96, 128), name: str = "v") -> Rendered:
    height, width = hw
    camera = Camera.of((1.1 * width, 1.1 * width, width / 2, height / 2), pose)
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = np.stack([(x - width / 2) / (1.1 * width), (y - height / 2) / (1.1 * width)], 2)
    rays = np.concatenate([rays, np.ones((*hw, 1))], 2) @ pose[:3, :3].T  # z of the camera is 1
    eye = pose[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = -eye[2] / rays[..., 2]
    depth = np.where(t > 0, t, np.inf)
    numbers = np.where(np.isfinite(depth), FLOOR, -1)
    for number, (*center, radius) in enumerate(SPHERES, start=1):
        offset = eye - center
        a, b = (rays**2).sum(2), 2 * rays @ offset
        root = b**2 - 4 * a * (offset @ offset - radius**2)
        hit = np.where(root >= 0, (-b - np.sqrt(np.maximum(root, 0))) / (2 * a), np.inf)
        nearer = (hit > 0) & (hit < depth)
        depth, numbers = np.where(nearer, hit, depth), np.where(nearer, number, numbers)
    depth = np.where(np.isfinite(depth), depth, 0.0)
    image = np.where(numbers[..., None] >= 0, COLORS[numbers], 255).astype(np.uint8)
    return Rendered(View(name, camera, depth, lambda: image), numbers, image)


def ring(count: int, radius: float = 4.0, height: float = 2.0, **how: Any) -> list[Rendered]:
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return [
        render(look_at((radius * np.cos(a), radius * np.sin(a), height)), name=f"{n:02}.png", **how)
        for n, a in enumerate(angles)
    ]


def write_scene(folder: Path, scene: Sequence[Rendered], **more: Any) -> Path:
    """Write a transforms.json with 16-bit depth in millimeters, as nerfstudio reads it."""
    frames = []
    for one in scene:
        Image.fromarray(one.image).save(folder / one.view.name)
        millimeters = np.round(one.view.depth * 1000).astype(np.uint16)
        Image.fromarray(millimeters).save(folder / f"depth_{one.view.name}")
        pose = one.view.camera.pose @ np.diag([1, -1, -1, 1])
        frames.append({
            "file_path": one.view.name, "depth_file_path": f"depth_{one.view.name}",
            "transform_matrix": pose.tolist(),
        })  # fmt: skip
    camera, (height, width) = scene[0].view.camera, scene[0].numbers.shape
    about = {
        "fl_x": camera.focal[0], "fl_y": camera.focal[1], "cx": camera.center[0],
        "cy": camera.center[1], "w": width, "h": height, **more, "frames": frames,
    }  # fmt: skip
    path = folder / "transforms.json"
    path.write_text(json.dumps(about))
    return path
