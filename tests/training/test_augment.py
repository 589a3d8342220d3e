"""Changes of photos for training keep photo and masks together."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anymask.masks import ModelSpec, geometry
from anymask.training.augment import brighten, crop_at_scale, fit_square, letterbox, resize, turn

SPEC = ModelSpec(
    name="x", image_side=64, mask_side=16, resample="area", mean=(127.5,) * 3, std=(127.5,) * 3
)


@given(st.integers(0, 2**31), st.integers(9, 70), st.integers(9, 70), st.sampled_from([0.0, 1.0]))
def test_crop_and_turn_move_photo_and_masks_alike(
    seed: int, h: int, w: int, at_scale: float
) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros((1, h, w), np.uint8)
    mask[0, h // 4 : h // 2 + 2, w // 4 : w // 2 + 2] = 1
    image = np.repeat(mask[0, ..., None] * np.uint8(255), 3, axis=2)
    image, mask = fit_square(*turn(image, mask, rng), 64, rng, SPEC, at_scale)
    assert image.shape == (64, 64, 3)
    assert mask.shape == (1, 64, 64)
    padding = (image == 127).all(-1)
    assert ((image[..., 0] > 127) == (mask[0] > 0))[~padding].mean() > 0.985


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 9, 16])
@pytest.mark.parametrize("hw", [(20, 40), (90, 120)])
def test_pictures_of_any_number_of_channels_are_resized_channel_by_channel(
    channels: int, hw: tuple[int, int]
) -> None:
    image = np.random.default_rng(2).integers(0, 256, (60, 80, channels), np.uint8)
    pixels, _ = resize(image, np.zeros((0, 60, 80), np.uint8), hw)
    how = cv2.INTER_AREA if hw[0] < 60 else cv2.INTER_LINEAR
    for channel in range(channels):
        alone = cv2.resize(np.ascontiguousarray(image[..., channel]), hw[::-1], interpolation=how)
        np.testing.assert_allclose(pixels[..., channel], alone, atol=1)
    changed = brighten(pixels, np.random.default_rng(2))
    assert (changed.shape, changed.dtype) == ((*hw, channels), np.uint8)


def test_things_in_a_crop_at_scale_have_the_size_that_the_model_will_see() -> None:
    bars = np.zeros((120, 160), np.uint8)  # 16 pixels apart
    bars[:, np.arange(160) % 16 < 8] = 1
    image = np.repeat(bars[..., None] * np.uint8(255), 3, axis=2)
    apart = []
    for seed in range(40):
        _, masks = crop_at_scale(image, bars[None], 32, np.random.default_rng(seed), SPEC)
        columns = np.flatnonzero(np.diff(masks[0].max(0).astype(int), prepend=0) > 0)
        apart.extend(np.diff(columns))
    seen = 16 * SPEC.image_side / 160  # the model sees 160 pixels as 64: 6.4
    assert seen * np.exp(-0.35) - 1 < min(apart)
    assert max(apart) < seen * np.exp(0.35) + 1
    assert np.mean(apart) == pytest.approx(seen, rel=0.1)


@pytest.mark.parametrize("hw", [(40, 80), (80, 40), (33, 33)])
def test_letterbox_lays_the_photo_where_the_model_expects_it(hw: tuple[int, int]) -> None:
    image, masks = np.full((*hw, 3), 9, np.uint8), np.ones((1, *hw), np.uint8)
    seen, mask = letterbox(image, masks, 64, SPEC)
    h, w = geometry(hw, SPEC).input_hw
    assert (seen[:h, :w] == 9).all()
    assert (seen[h:] == 127).all()
    assert (seen[:, w:] == 127).all()
    assert mask.sum() == h * w
