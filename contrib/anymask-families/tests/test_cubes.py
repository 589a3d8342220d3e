"""Clicks answered in three dimensions: where the cube lies, and the answer on the scan."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

import anymask
from anymask.base import InputError, ModelError, PromptError
from anymask.volumes import Volume
from anymask_families import load_cube_model
from anymask_families.cubes import ClicksInVolumes, CubePlace
from anymask_families.sam_med3d import TINY, TINY_SPEC, CubeModel

ORIENTATIONS = ("RAS", "LPS", "SAR", "IPL")  # of x, y, z


def oriented(letters: str, spacing: tuple[float, float, float], shape: tuple[int, ...]) -> Volume:
    """Smooth noise (z, y, x), the file's axes leading where the letters (of x, y, z) say."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(1, 9, shape).astype(np.float32)
    affine = np.eye(4)
    affine[:3, :3] = 0
    for column, letter in enumerate(letters):
        row = next(i for i, pair in enumerate(("LR", "PA", "IS")) if letter in pair)
        affine[row, column] = spacing[column] * (1 if letter in "RAS" else -1)
    return Volume(coarse, affine)


@pytest.mark.parametrize("letters", ORIENTATIONS)
def test_the_cube_is_the_canonical_scan_at_one_and_a_half_millimetres(letters: str) -> None:
    volume = oriented(letters, (0.9, 2.0, 3.0), (20, 24, 30))
    center = np.array([11.0, 9.0, 17.0])
    place = CubePlace.around(volume, center, 32)
    # The same by nibabel's axes and SciPy's linear reading, both in (x, y, z).
    image = nibabel.Nifti1Image(volume.array.transpose(2, 1, 0), volume.affine)
    canonical = nibabel.as_closest_canonical(image)
    world = volume.affine @ [*center[::-1], 1]
    middle = np.linalg.solve(canonical.affine, world)[:3]
    steps = 1.5 / np.array(canonical.header.get_zooms())
    axes = [middle[i] + steps[i] * (np.arange(32) - 16) for i in range(3)]
    expected = map_coordinates(
        canonical.get_fdata(), np.meshgrid(*axes, indexing="ij"), order=1, mode="grid-constant"
    )
    np.testing.assert_allclose(place.cut(volume), expected, atol=1e-4)
    np.testing.assert_allclose(place.to_cube(center[None])[0], [16, 16, 16])


@pytest.mark.parametrize("letters", ORIENTATIONS)
def test_an_answer_lies_where_it_was_seen(letters: str) -> None:
    volume = oriented(letters, (0.9, 2.0, 3.0), (20, 24, 30))
    z, y, x = np.meshgrid(*map(np.arange, volume.shape), indexing="ij")
    spacing = volume.spacing
    far = sum(((at - c) * s) ** 2 for at, c, s in zip((z, y, x), (10, 9, 15), spacing, strict=True))
    ball = Volume((81.0 - far).astype(np.float32), volume.affine)  # above 0 within 9 mm
    place = CubePlace.around(ball, np.array([10.0, 9.0, 15.0]), 32)
    mask = place.paste(place.cut(ball))
    assert mask.shape == volume.shape
    both, either = (mask & (far < 81)).sum(), (mask | (far < 81)).sum()
    assert both / either > 0.93


@pytest.fixture(scope="module")
def clicks() -> ClicksInVolumes:
    torch.manual_seed(0)
    module = CubeModel(TINY_SPEC, TINY)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return ClicksInVolumes(module, "f" * 64, "cpu")


def test_a_click_is_answered_on_the_scans_own_voxels(clicks: ClicksInVolumes) -> None:
    volume = oriented("LPS", (1.0, 1.0, 2.0), (16, 40, 44))
    features = clicks.encode(volume, around=(8, 20, 22))
    first = clicks.segment(features, [(8, 20, 22)])
    assert first.masks.shape == (1, *volume.shape)
    assert first.mask.any()
    assert not first.mask.all()
    again = clicks.segment(volume, [(8, 20, 22)])
    np.testing.assert_array_equal(first.mask, again.mask)
    several = clicks.segment(
        features, [(8, 20, 22), (2, 30, 30)], [1, 0], mask=first.logits[:1][0], multimask=True
    )
    assert several.masks.shape == (3, *volume.shape)
    assert (np.diff(several.scores) <= 0).all()
    # The second click and the earlier logits count.
    assert np.abs(
        several.logits - clicks.segment(features, [(8, 20, 22)], multimask=True).logits
    ).max()


def test_wrong_clicks_are_told(clicks: ClicksInVolumes) -> None:
    volume = oriented("RAS", (1.0, 1.0, 1.0), (8, 9, 10))
    with pytest.raises(PromptError, match=r"\(8, 0, 0\) is outside .* shape \(8, 9, 10\)"):
        clicks.segment(volume, [(8, 0, 0)])
    with pytest.raises(PromptError, match=r"an array \(P, 3\)"):
        clicks.segment(volume, [(8, 0)])
    with pytest.raises(PromptError, match="at least one foreground point"):
        clicks.segment(volume, [(1, 1, 1)], [0])
    with pytest.raises(PromptError, match="1 point_labels"):
        clicks.segment(volume, [(1, 1, 1)], [1, 0])
    with pytest.raises(InputError, match=r"logits must have shape \(16, 16, 16\)"):
        clicks.segment(volume, [(1, 1, 1)], mask=np.zeros((4, 4, 4), np.float32))


def test_each_door_names_the_other(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"load_cube_model\('sam_med3d_b'\)"):
        anymask.load("sam_med3d_b")
    with pytest.raises(ModelError, match=r"anymask\.load\('nano'\)"):
        load_cube_model("nano")
