"""Damaged point clouds and views are refused by an error of anymask, or read."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_clouds import BYTES, POINTS, ply

from anymask_points.cloud import read_points
from anymask_points.lift import lift_masks
from anymask_points.views import read_views
from tests.fuzz.targets import Target
from tests.fuzz.test_damaged_files import ROUNDS, failures


def clouds(root: Path) -> Target:
    root.mkdir(parents=True)
    for name, kind in (("a", "ascii"), ("b", "binary_little_endian"), ("c", "binary_big_endian")):
        (root / f"{name}.ply").write_bytes(ply(kind))
    np.savez(root / "a.npz", points=POINTS, colors=BYTES)
    np.save(root / "a.npy", np.hstack([POINTS, BYTES / 255]))
    for name, text in (("a.csv", "0,0,0\n1.5,-2,3\n"), ("a.pts", "2\n0 0 0 9 9 9\n1 2 3 4 5 6\n")):
        (root / name).write_text(text)

    def use(path: Path) -> None:
        cloud = read_points(path)
        cloud.write(root / "out" / "a.ply", np.ones(len(cloud.points), np.bool_))

    return Target("clouds", root, tuple(sorted(root.iterdir())), use)


def views(root: Path) -> Target:
    root.mkdir(parents=True)
    Image.new("RGB", (16, 12)).save(root / "a.png")
    Image.fromarray(np.full((12, 16), 2000, np.uint16)).save(root / "depth.png")
    np.save(root / "depth.npy", np.full((12, 16), 2.0, np.float32))
    frames = [
        {"file_path": "a.png", "depth_file_path": name, "transform_matrix": np.eye(4).tolist()}
        for name in ("depth.png", "depth.npy")
    ]
    known = {"fl_x": 20.0, "fl_y": 20.0, "cx": 8.0, "cy": 6.0, "frames": frames}
    (root / "transforms.json").write_text(json.dumps(known))
    (root / "angle.json").write_text(json.dumps({"camera_angle_x": 0.7, "frames": frames}))
    both = tuple(root / name for name in ("transforms.json", "angle.json"))

    def use(path: Path) -> None:
        for document in [path] if path in both else both:
            found = read_views(document)
            masks = {number: np.ones(one.depth.shape, np.bool_) for number, one in enumerate(found)}
            lift_masks(found, masks)

    return Target("views", root, tuple(sorted(set(root.iterdir()) - {root / "a.png"})), use)


def targets(root: Path) -> list[Target]:
    """All files that this plug-in reads."""
    return [clouds(root / "clouds"), views(root / "views")]


@pytest.mark.filterwarnings("ignore")  # of NumPy, about the damage
def test_a_damaged_file_gives_no_other_error_than_ours(tmp_path: Path) -> None:
    assert not failures(targets(tmp_path), range(ROUNDS))
