"""Soft alpha: against the matting Laplacian by definition, and on composites of known alpha."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from anymask.base import InputError
from anymask.edit.alpha import closed_form_alpha, edge_width, foreground_colors, soft_alpha
from tests.evaluation.small_sets import rectangle

RANDOM = np.random.default_rng(5)


def texture(middle: tuple[int, int, int], hw: tuple[int, int] = (160, 200)) -> np.ndarray:
    """A picture of one hue with soft spots, (H, W, 3) float."""
    spots = cv2.GaussianBlur(RANDOM.normal(0, 1, (*hw, 3)).astype(np.float32), (0, 0), 6)
    return np.clip(np.array(middle) + spots * 160, 0, 255)


def composite(alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An object of this alpha over another picture, and the object's own colours."""
    front, back = texture((190, 90, 60), alpha.shape), texture((60, 110, 170), alpha.shape)
    mixed = front * alpha[..., None] + back * (1 - alpha[..., None])
    return np.round(mixed).astype(np.uint8), front


def disc(hw: tuple[int, int] = (160, 200)) -> np.ndarray:
    out = np.zeros(hw, np.float32)
    cv2.ellipse(out, (hw[1] // 2, hw[0] // 2), (60, 45), 20, 0, 360, 1.0, -1)
    return out


def with_hairs() -> np.ndarray:
    """A disc with lines of two pixels that stand out of it."""
    large = cv2.resize(disc(), None, fx=4, fy=4) * 255
    for angle in np.linspace(0, 2 * np.pi, 40, endpoint=False):
        away = np.array([np.cos(angle), np.sin(angle)])
        start, end = (np.array([400, 320]) + away * reach for reach in (150, 300))
        cv2.line(large, start.astype(int).tolist(), end.astype(int).tolist(), 255, 7, cv2.LINE_AA)
    return cv2.resize(large, (200, 160), interpolation=cv2.INTER_AREA) / 255


def sad(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).sum())


KINDS = {
    "out of focus": cv2.GaussianBlur(disc(), (0, 0), 5),
    "sharp": cv2.GaussianBlur(disc(), (0, 0), 0.7),
    "hair": with_hairs(),
}


def test_alpha_comes_nearer_to_the_truth_than_the_mask_and_the_best_blur() -> None:
    found, hard, blurred = [], [], []
    for truth in KINDS.values():
        image, _ = composite(truth)
        mask = (truth >= 0.5).astype(np.float32)
        found.append(sad(soft_alpha(image, mask > 0), truth))
        hard.append(sad(mask, truth))
        blurred.append([sad(cv2.GaussianBlur(mask, (0, 0), s), truth) for s in (0.7, 1, 2, 3, 4)])
    assert sum(found) <= 0.6 * sum(hard)
    assert sum(found) <= 0.85 * np.sum(blurred, axis=0).min()
    assert all(ours < theirs for ours, theirs in zip(found, hard, strict=True))


def definition(image: np.ndarray, epsilon: float = 1e-7) -> np.ndarray:
    """The matting Laplacian of Levin et al., equation 12, window by window, dense."""
    height, width = image.shape[:2]
    colors = image.reshape(-1, 3) / 255.0
    out = np.zeros((height * width,) * 2)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            members = [(y + dy) * width + x + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
            window = colors[members] - colors[members].mean(axis=0)
            inner = np.linalg.inv(window.T @ window / 9 + epsilon / 9 * np.eye(3))
            out[np.ix_(members, members)] += np.eye(9) - (1 + window @ inner @ window.T) / 9
    return out


def test_the_solution_is_that_of_the_equations_by_definition() -> None:
    image = RANDOM.integers(0, 255, (14, 15, 3)).astype(np.uint8)
    hard = np.zeros((14, 15), np.float32)
    hard[:, 8:] = 1
    band = rectangle((14, 15), (5, 4, 11, 10))
    whole = definition(image)
    inside = np.flatnonzero(band)
    known = np.where(band, 0, hard).ravel()
    expected = np.linalg.solve(whole[np.ix_(inside, inside)], -(whole @ known)[inside])
    found = closed_form_alpha(image, hard, hard, band)
    np.testing.assert_allclose(found[band], np.clip(expected, 0, 1), atol=5e-3)
    np.testing.assert_array_equal(found[~band], hard[~band])


def test_far_from_the_outline_alpha_is_the_mask_and_a_soft_band_has_no_straight_ends() -> None:
    truth = np.where(np.arange(200) < 100, KINDS["sharp"], cv2.GaussianBlur(disc(), (0, 0), 8))
    mask = truth >= 0.5
    found = soft_alpha(composite(truth)[0], mask)
    sides = [cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5) for side in (mask, ~mask)]
    far = np.where(mask, *sides)
    np.testing.assert_array_equal(found[far > 45], mask[far > 45])
    assert (np.abs(found - mask) > 0.1)[far > 5].any()  # the band is wide on the right
    for axis in (0, 1):
        assert np.abs(np.diff(found, axis=axis) * (np.delete(far, 0, axis) > 5)).max() < 0.1
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    "mask",
    [np.zeros((9, 7), bool), np.ones((9, 7), bool), np.eye(9, 7) > 0, np.ones((1, 1), bool)],
    ids=["empty", "full", "diagonal", "one pixel"],
)
def test_any_mask_gives_finite_alpha_on_a_picture_of_one_colour(mask: np.ndarray) -> None:
    image = np.full((*mask.shape, 3), 77, np.uint8)
    found = soft_alpha(image, mask)
    assert np.isfinite(found).all()
    assert found.shape == mask.shape
    if mask.all() or not mask.any():
        np.testing.assert_array_equal(found, mask)


def test_a_large_object_is_solved_smaller_and_comes_out_at_its_size() -> None:
    sharp = KINDS["sharp"]
    truth = cv2.resize(sharp, (1600, 1280), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    image, _ = composite(truth)
    hard = truth >= 0.5
    hard[600:640, :] = True  # wider than what is solved at full size
    truth[600:640, :] = 1
    image[600:640, :] = (190, 90, 60)
    found = soft_alpha(image, hard)
    assert found.shape == truth.shape
    assert sad(found, truth) < 0.6 * sad(hard.astype(np.float32), truth)


def test_sizes_must_agree() -> None:
    with pytest.raises(InputError, match="same size"):
        soft_alpha(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), bool))


def test_the_rim_s_colours_are_freed_of_the_background() -> None:
    alpha = KINDS["out of focus"].astype(np.float32)
    image, front = composite(alpha)
    rim = (alpha > 0.2) & (alpha < 0.9)
    before = np.abs(image[rim] - front[rim]).mean()
    after = np.abs(foreground_colors(image, alpha)[rim].astype(float) - front[rim]).mean()
    assert after < 0.5 * before
    np.testing.assert_array_equal(foreground_colors(image, alpha)[alpha == 1], image[alpha == 1])


def test_only_three_pixels_are_soft_along_the_sharp_edge_of_a_textured_object() -> None:
    """With a dark rim, whose colors are those of neither object nor background."""
    sharp = disc()
    image, _ = composite(sharp)
    rim = cv2.dilate(sharp, np.ones((5, 5))) - cv2.erode(sharp, np.ones((5, 5)))
    image[rim > 0] = (20, 20, 20)
    image = np.clip(image + RANDOM.normal(0, 12, image.shape), 0, 255).astype(np.uint8)
    mask = sharp > 0.5
    found = soft_alpha(image, mask)
    sides = [cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5) for side in (mask, ~mask)]
    far = np.where(mask, *sides) > 3.5
    assert not ((found > 0.05) & (found < 0.95) & far).any()


@pytest.mark.parametrize("sigma", [0.7, 4.0, 8.0])
def test_the_width_of_an_edge_is_read_from_the_image(sigma: float) -> None:
    truth = cv2.GaussianBlur(disc(), (0, 0), sigma)
    image = np.round(200 * truth[..., None] + 30 * (1 - truth[..., None])).repeat(3, 2)
    mask = truth >= 0.5
    sides = [cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5) for side in (mask, ~mask)]
    distance = (np.where(mask, *sides) - 0.5).astype(np.float32)
    width = edge_width(image.astype(np.uint8), mask, distance)[distance <= 1]
    assert 0.7 * sigma < np.median(width) < 1.5 * sigma + 1
