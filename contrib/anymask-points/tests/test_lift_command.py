"""`anymask lift` writes the points of rendered objects whose place is known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from point_scenes import SPHERES, look_at, render, ring, write_scene

from anymask.cli.main import main


def run(*words: object) -> int:
    return main([str(word) for word in words])


def write_view(folder: Path) -> tuple[Any, list[object]]:
    """One view with its depth, its labels and the options of its camera."""
    one = render(look_at((3, -2, 2.5)), (192, 256))
    Image.fromarray(one.image).save(folder / "a.png")
    np.save(folder / "depth.npy", one.view.depth.astype(np.float32))
    Image.fromarray(np.maximum(one.numbers, 0).astype(np.uint8)).save(folder / "labels.png")
    camera = one.view.camera
    numbers = ",".join(map(str, (*camera.focal, *camera.center)))
    return one, ["--depth", folder / "depth.npy", "--intrinsics", numbers]


def test_a_click_becomes_points_on_the_sphere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from anymask_points.cloud import read_points

    one, camera = write_view(tmp_path)
    y, x = np.argwhere(one.numbers == 1).mean(axis=0)
    out = tmp_path / "o.ply"
    point = ["--point", f"{x:.0f},{y:.0f}", "--model", "nano"]
    assert run("lift", tmp_path / "a.png", *camera, *point, "-o", out) == 0
    cloud = read_points(out)
    center = one.view.camera.pose[:3, :3].T @ (
        np.array(SPHERES[0][:3]) - one.view.camera.pose[:3, 3]
    )
    off = np.abs(np.linalg.norm(cloud.points - center, axis=1) - SPHERES[0][3])
    assert (off < 1e-3).mean() > 0.95
    assert len(cloud.points) > 0.9 * (one.numbers == 1).sum()
    assert cloud.colors is not None
    assert "from 1 of 1 views" in capsys.readouterr().err


def test_labels_of_all_views_become_objects(tmp_path: Path) -> None:
    scene = ring(6)
    path = write_scene(tmp_path, scene)
    rows, images = [], []
    for n, one in enumerate(scene, start=1):
        height, width = one.numbers.shape
        images.append({"id": n, "file_name": one.view.name, "height": height, "width": width})
        for number in (1, 2):
            mask = np.asfortranarray(one.numbers == number)
            flat = np.concatenate([[0], mask.ravel(order="F").astype(int)])
            ends = np.flatnonzero(np.diff(flat))
            runs = np.diff([0, *(ends), mask.size]).tolist()
            rows.append({
                "id": len(rows) + 1, "image_id": n, "category_id": number, "iscrowd": 1,
                "segmentation": {"size": [height, width], "counts": runs},
            })  # fmt: skip
    kinds = [{"id": 1, "name": "ball"}, {"id": 2, "name": "cup"}]
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({"images": images, "annotations": rows, "categories": kinds}))
    out = tmp_path / "objects.json"
    words = ["--labels", labels, "-o", out, "-o", tmp_path / "o.npz"]
    assert run("lift", path, *words) == 0
    found = {one["label"]: one for one in json.loads(out.read_text())["objects"]}
    assert set(found) == {"ball", "cup"}
    np.testing.assert_allclose(found["cup"]["center"][:2], SPHERES[1][:2], atol=0.03)
    np.testing.assert_allclose(found["cup"]["size"][:2], 0.7, atol=0.06)
    arrays = np.load(tmp_path / "o.npz")
    assert set(arrays["object"]) == {1, 2}


def test_a_click_in_one_view_segments_the_object_in_all(tmp_path: Path) -> None:
    scene = ring(6, hw=(144, 192))
    path, out = write_scene(tmp_path, scene), tmp_path / "o.json"
    y, x = np.argwhere(scene[2].numbers == 3).mean(axis=0)
    point = ["--point", f"{x:.0f},{y:.0f}", "--view", "02.png", "--model", "nano"]
    assert run("lift", path, *point, "-o", out) == 0
    (found,) = json.loads(out.read_text())["objects"]
    np.testing.assert_allclose(found["center"][:2], SPHERES[2][:2], atol=0.05)
    np.testing.assert_allclose(found["size"][:2], 0.8, atol=0.12)


@pytest.mark.parametrize(
    ("words", "telling"),
    [
        (["a.png", "--point", "1,1"], "requires --depth FILE"),
        (["a.png", "--depth", "depth.npy", "--intrinsics", "1,2", "--point", "1,1"], "Expected 4"),
        (["a.png", "--depth", "rgb.png", "--intrinsics", "9,9,1,1", "--point", "1,1"], "depth map"),
        (["a.png", "--depth", "s.npy", "--intrinsics", "9,9,1,1", "--point", "1,1"], "4 x 3 pix"),
        (["a.png", "--depth", "n.npy", "--intrinsics", "9,9,1,1", "--point", "1,1"], "not found"),
        (["a.png", "--depth", "b.npy", "--intrinsics", "9,9,1,1", "--point", "1,1"], "corrupted"),
        (["a.png"], "--labels, or by prompts"),
        (["t.json", "--depth", "depth.npy", "--point", "1,1"], "Remove these options"),
        (["t.json", "--point", "1,1"], "no list `frames`"),
        (["a.png", "--labels", "labels.png", "-o", "o.obj"], "Cannot write 'o.obj'"),
    ],
)  # fmt: skip
def test_errors_are_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, words: list[str], telling: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_view(tmp_path)
    np.save("s.npy", np.ones((3, 4)))
    colors = np.arange(192 * 256 * 3).reshape(192, 256, 3).astype(np.uint8)
    Image.fromarray(colors).save("rgb.png")
    Path("b.npy").write_bytes(b"\x93NUMPY rotten")
    Path("t.json").write_text("{}")
    assert run("lift", "-o", "o.ply", *words) == 2
    assert telling in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "telling"),
    [
        ({"depth_file_path": "no.npy"}, "frame 0: File not found: 'no.npy'"),
        ({"file_path": "no.png"}, "frame 0: File not found"),
        ({"depth_file_path": "s.npy"}, "4 x 3 pix"),
        ({}, "frame 0 is invalid"),  # a camera_angle_x of 0
        ({"fl_x": -1}, "frame 0: Focal lengths must be above 0"),
        ({"fl_x": 10**400}, "frame 0 is invalid"),
        ({"cx": 10**400}, "frame 0 is invalid"),
        ({"transform_matrix": [[10**400] * 4] * 4}, "frame 0 is invalid"),
    ],
)
def test_an_invalid_view_has_its_own_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, changed: Any, telling: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_view(tmp_path)
    np.save("s.npy", np.ones((3, 4)))
    one = {"file_path": "a.png", "depth_file_path": "depth.npy", "camera_angle_x": 0}
    frame = one | {"transform_matrix": np.eye(4).tolist()} | changed
    Path("t.json").write_text(json.dumps({"frames": [frame]}))
    assert run("lift", "t.json", "--point", "1,1", "-o", "o.ply") == 2
    assert telling in capsys.readouterr().err
