"""Masks are lifted to the points that a renderer knows exactly."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from point_scenes import SPHERES, Rendered, look_at, render, ring, write_scene

from anymask.base import DataError, InputError
from anymask_points.lift import lift_masks, prompts_of, spread_mask
from anymask_points.views import Camera, View, read_views


def from_sphere(points: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    *center, radius = SPHERES[number - 1]
    return np.abs(np.linalg.norm(points - center, axis=1) - radius)


@pytest.fixture(scope="module")
def scene() -> list[Rendered]:
    return ring(10)


def views_of(scene: list[Rendered]) -> list[View]:
    return [one.view for one in scene]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_points_of_one_view_lie_on_the_object(number: int) -> None:
    one = render(look_at((3, -2, 2.5)))
    lifted = lift_masks([one.view], {0: one.numbers == number})
    assert len(lifted.points) == (one.numbers == number).sum()
    assert from_sphere(lifted.points, number).max() < 1e-9
    assert (lifted.colors == one.image[one.numbers == number]).all()


def test_projection_is_the_inverse_of_back_projection() -> None:
    one = render(look_at((2, 3, 1.5)))
    points = one.view.camera.back_project(one.view.depth)[one.numbers >= 0]
    pixels, z = one.view.camera.project(points)
    rows, columns = np.nonzero(one.numbers >= 0)
    np.testing.assert_allclose(pixels, np.stack([columns, rows], 1) + 0.5, atol=1e-6)
    np.testing.assert_allclose(z, one.view.depth[one.numbers >= 0], rtol=1e-9)


def test_masks_that_are_wrong_in_some_views_are_outvoted(scene: list[Rendered]) -> None:
    masks = {n: one.numbers == 1 for n, one in enumerate(scene)}
    exact = lift_masks(views_of(scene), masks)
    assert from_sphere(exact.points, 1).max() < 1e-6
    for number in (1, 4, 7):  # the neighbor instead, and a piece of floor with the object
        masks[number] = scene[number].numbers == 2
    masks[2] = masks[2] | (scene[2].numbers == 0)
    found = lift_masks(views_of(scene), masks)
    near = from_sphere(found.points, 1) < 0.02
    assert near.mean() > 0.98
    assert len(found.points[near]) > 0.7 * len(exact.points)


def test_a_mask_spreads_from_one_view_to_all(scene: list[Rendered]) -> None:
    asked = []

    def ask(view: View, points: NDArray[np.float64], box: NDArray[np.float64]):
        asked.append(view.name)
        numbers = next(one.numbers for one in scene if one.view is view)
        x, y = points[0].astype(int)
        return numbers == numbers[y, x]

    found = spread_mask(views_of(scene), 3, scene[3].numbers == 2, ask)
    assert asked[0] in {"02.png", "04.png"}  # the nearest views first
    for number, mask in found.items():
        assert (mask == (scene[number].numbers == 2)).all()
    assert len(found) >= 8
    points = lift_masks(views_of(scene), found).points
    assert from_sphere(points, 2).max() < 1e-6
    low, high = points.min(axis=0), points.max(axis=0)
    np.testing.assert_allclose((high - low)[:2], 0.7, atol=0.05)  # seen from all sides


def test_a_mask_that_does_not_agree_is_rejected(scene: list[Rendered]) -> None:
    def ask(view: View, points: NDArray[np.float64], box: NDArray[np.float64]):
        numbers = next(one.numbers for one in scene if one.view is view)
        return numbers == (0 if view.name in ("02.png", "06.png") else 1)

    found = spread_mask(views_of(scene), 0, scene[0].numbers == 1, ask)
    assert set(found) == set(range(10)) - {2, 6}


def test_hidden_points_are_not_seen() -> None:
    front, behind = render(look_at((0, -4, 0.6))), render(look_at((0, 4, 0.6)))
    points = front.view.camera.back_project(front.view.depth)[front.numbers == 1]
    assert front.view.seen(points, 0.01)[1].all()
    assert behind.view.seen(points, 0.01)[1].mean() < 0.1


def test_prompts_lie_inside() -> None:
    region = np.zeros((60, 80), bool)
    region[10:50, 5:15] = region[40:50, 5:70] = True
    points, box = prompts_of(region)
    assert box.tolist() == [5, 10, 70, 50]
    assert len(points) == 3
    assert all(region[int(y), int(x)] for x, y in points)


def test_files_of_nerfstudio_have_the_views(tmp_path: Path, scene: list[Rendered]) -> None:
    found = read_views(write_scene(tmp_path, scene[:3]))
    for view, one in zip(found, scene, strict=False):
        np.testing.assert_allclose(view.camera.pose, one.view.camera.pose, atol=1e-12)
        np.testing.assert_allclose(view.depth, one.view.depth, atol=6e-4)
        assert (view.image() == one.image).all()


@pytest.mark.parametrize(
    ("change", "telling"),
    [
        ({"k1": 0.1}, "lens distortion"),
        ({"frames": []}, "no list `frames`"),
        ({"frames": [{"file_path": "00.png"}]}, "depth_file_path"),
        ({"frames": [{"depth_file_path": "x.png"}]}, "frame 0 is invalid"),
    ],
)
def test_files_that_cannot_be_used_are_one_sentence(
    tmp_path: Path, scene: list[Rendered], change: dict, telling: str
) -> None:
    import json

    path = write_scene(tmp_path, scene[:1])
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=telling):
        read_views(path)


@pytest.mark.parametrize("numbers", [(0, 1, 2, 3), (1, 1, 2), (1, float("nan"), 2, 3)])
def test_intrinsics_are_checked(numbers: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=r"[Ii]ntrinsics|Focal"):
        Camera.of(numbers)
