"""Image space and model space: torch, Pillow and OpenCV are the oracles."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from anymask.base import ImageError, PromptError
from anymask.masks import Fit, Geometry, ModelSpec, Resample, rle_to_mask
from anymask.masks import resize as R
from tests.masks.strategies import masks, quickly

HW = [(97, 131), (1, 40), (40, 1), (64, 64), (33, 128), (300, 20), (1, 1), (200, 260)]
BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC
NEAR = 1e-3  # of the threshold: float rounding may decide there


def tiny(side: int = 64, fit: Fit = "longest_side", resample: Resample = "area") -> ModelSpec:
    return ModelSpec(name="tiny", image_side=side, mask_side=side // 4, fit=fit, resample=resample)


def photo(hw: tuple[int, int]) -> NDArray[np.uint8]:
    return np.random.default_rng(hw).integers(0, 256, (*hw, 3), dtype=np.uint8)


def reference_logits(logits: NDArray[np.float32], place: Geometry) -> NDArray[np.float32]:
    """segment-anything's post-processing of masks, by torch."""
    whole = F.interpolate(
        torch.from_numpy(logits)[None], (place.side,) * 2, mode="bilinear", align_corners=False
    )
    filled = whole[..., : place.input_hw[0], : place.input_hw[1]]
    return F.interpolate(filled, place.image_hw, mode="bilinear", align_corners=False)[0].numpy()


# Sizes and prompts


@pytest.mark.parametrize(
    ("hw", "filled"),
    [((1200, 1800), (683, 1024)), ((1800, 1200), (1024, 683)), ((1, 5000), (1, 1024))],
)
def test_the_longest_side_fills_the_input(hw: tuple[int, int], filled: tuple[int, int]) -> None:
    place = R.geometry(hw, ModelSpec(name="sam"))
    assert (place.image_hw, place.input_hw, place.side) == (hw, filled, 1024)


def test_reduced_answers_keep_their_place_in_the_model() -> None:
    place = R.geometry((3000, 2000), tiny())
    small = R.reduced(place, 600)
    assert (small.image_hw, small.input_hw) == ((600, 400), place.input_hw)
    assert R.reduced(place, None) is place
    assert R.reduced(place, 3000) is place


def test_points_and_boxes_scale_on_each_axis() -> None:
    place = R.geometry((1200, 1800), ModelSpec(name="sam"))
    points = R.points_to_model([[[900, 600]]], place)
    np.testing.assert_allclose(points, [[[512, 341.5]]])
    boxes = R.boxes_to_model([0, 600, 900, 1200], place)
    np.testing.assert_allclose(boxes, [0, 341.5, 512, 683])
    assert points.dtype == boxes.dtype == np.float32


# Pictures


@pytest.mark.parametrize("hw", HW)
@pytest.mark.parametrize("fit", ["longest_side", "square"])
@pytest.mark.parametrize("resample", ["pillow_bilinear", "torch_bilinear", "area"])
def test_pictures_fill_their_part_and_the_rest_is_zero(
    hw: tuple[int, int], fit: Fit, resample: Resample
) -> None:
    spec = tiny(fit=fit, resample=resample)
    place = R.geometry(hw, spec)
    model = R.image_to_model(np.full((*hw, 3), 200, np.uint8), spec)
    assert model.shape == (3, 64, 64)
    assert model.dtype == np.float32
    assert model.flags.c_contiguous
    height, width = place.input_hw
    color = (200 - np.array(spec.mean)) / np.array(spec.std)
    np.testing.assert_allclose(
        model[:, :height, :width], np.broadcast_to(color[:, None, None], (3, height, width)),
        rtol=1e-5,
    )  # fmt: skip
    assert not model[:, height:].any()
    assert not model[:, :, width:].any()


def test_a_model_that_takes_rectangles_gets_no_more_padding_than_it_needs() -> None:
    square, rectangle = tiny(), replace(tiny(), pad_multiple=16)
    for hw, expected in (((40, 64), (48, 64)), ((640, 30), (64, 16)), ((50, 51), (64, 64))):
        cropped = R.image_to_model(photo(hw), rectangle)
        assert cropped.shape == (3, *expected)
        whole = R.image_to_model(photo(hw), square)
        np.testing.assert_array_equal(cropped, whole[:, : expected[0], : expected[1]])
        assert not whole[:, expected[0] :].any()
        assert not whole[:, :, expected[1] :].any()


def pixels(hw: tuple[int, int], spec: ModelSpec) -> NDArray[np.float64]:
    """The model's view of a noise photo on the 0..255 scale, (h, w, 3), without padding."""
    height, width = R.geometry(hw, spec).input_hw
    model = R.image_to_model(photo(hw), spec)[:, :height, :width].transpose(1, 2, 0)
    return model.astype(np.float64) * np.array(spec.std) + np.array(spec.mean)


def by_pillow(image: NDArray[np.uint8], hw: tuple[int, int], kind: Image.Resampling) -> Any:
    """Along x, then along y."""
    narrow = Image.fromarray(image).resize((hw[1], len(image)), kind)
    return np.asarray(narrow.resize(hw[::-1], kind))


def by_torch(image: NDArray[np.uint8], hw: tuple[int, int], **options: bool) -> Any:
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    return F.interpolate(tensor, hw, mode="bilinear", **options)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("hw", HW)
@pytest.mark.parametrize("strip", [1, 1 << 26])
@pytest.mark.parametrize(
    ("resample", "fit", "oracle", "error"),
    [
        ("pillow_bilinear", "longest_side", partial(by_pillow, kind=BILINEAR), 1e-3),
        ("pillow_bicubic", "square", partial(by_pillow, kind=BICUBIC), 1e-3),
        ("torch_antialias", "square", partial(by_torch, antialias=True), 1e-2),
        ("torch_bilinear", "longest_side", partial(by_torch, align_corners=False), 5e-3),
        ("torch_bilinear", "square", partial(by_torch, align_corners=False), 5e-3),
    ],
)
def test_pictures_are_resized_as_by_pillow_or_torch(
    hw: tuple[int, int], strip: int, resample: Resample, fit: Fit, oracle: Callable[..., Any],
    error: float, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(R, "_STRIP_BYTES", strip)
    spec = tiny(fit=fit, resample=resample)
    expected = oracle(photo(hw), R.geometry(hw, spec).input_hw)
    np.testing.assert_allclose(pixels(hw, spec), expected, atol=error)


def test_area_means_what_it_covers() -> None:
    image = photo((128, 256))
    means = image.reshape(32, 4, 64, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(pixels((128, 256), tiny()), means, atol=0.501)


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)),
     np.zeros((0, 4, 3), np.uint8)],
)  # fmt: skip
def test_a_picture_of_another_kind_is_refused(image: NDArray) -> None:
    with pytest.raises(ImageError, match=r"uint8 \(H, W, 3\), at least 1 x 1"):
        R.image_to_model(image, tiny())


def test_a_view_of_a_picture_is_fine() -> None:
    image = photo((40, 50))
    for resample in ("pillow_bilinear", "torch_bilinear", "area"):
        spec = tiny(resample=resample)
        flipped = np.ascontiguousarray(image[::-1, ::-1])
        np.testing.assert_array_equal(
            R.image_to_model(image[::-1, ::-1], spec), R.image_to_model(flipped, spec)
        )


# Start masks


def test_logits_of_the_same_model_pass_unchanged() -> None:
    logits = np.random.default_rng(0).standard_normal((16, 16))
    start = R.mask_to_model(logits, R.geometry((30, 40), tiny()), 16)
    np.testing.assert_array_equal(start, logits.astype(np.float32)[None])
    assert start.dtype == np.float32


def test_logits_of_another_size_are_refused_with_the_remedy() -> None:
    with pytest.raises(PromptError, match=r"shape \(8, 8\).*\(16, 16\)"):
        R.mask_to_model(np.zeros((8, 8), np.float32), R.geometry((30, 40), tiny()), 16)
    with pytest.raises(PromptError, match=r"shape \(1, 4, 4\)"):
        R.mask_to_model(np.zeros((1, 4, 4), np.bool_), R.geometry((30, 40), tiny()), 16)


@quickly
@given(masks(largest=60))
def test_a_start_mask_comes_back_where_it_was(mask: NDArray[np.bool_]) -> None:
    place = R.geometry(mask.shape, tiny(256))
    start = R.mask_to_model(mask, place, 64)
    assert start.shape == (1, 64, 64)
    assert np.abs(start).max() <= np.float32(R.MASK_LOGIT)
    if mask.all():
        assert start[0, 0, 0] == np.float32(R.MASK_LOGIT)
    if not mask.any():
        assert (start == np.float32(-R.MASK_LOGIT)).all()
    # where a pixel and all its neighbours agree, so does the mask after the way there and back
    again = R.logits_to_masks(start, place)[0]
    kernel = np.ones((3, 3), np.uint8)
    sure = cv2.erode(mask.view(np.uint8), kernel).reshape(mask.shape) > 0
    never = cv2.dilate(mask.view(np.uint8), kernel).reshape(mask.shape) == 0
    if max(mask.shape) >= 8:
        inner = np.zeros_like(mask)
        inner[1:-1, 1:-1] = True  # the padding's logits reach into the border
        assert again[sure & inner].all()
        assert not again[never].any()


@pytest.mark.parametrize("shape", [(30, 40), (300, 400), (7, 5)])
def test_a_start_mask_of_any_size_is_laid_over_the_photo(shape: tuple[int, int]) -> None:
    mask = np.zeros(shape, np.uint8)
    mask[:, : shape[1] // 2] = 255
    place = R.geometry((120, 160), tiny(256))
    again = R.logits_to_masks(R.mask_to_model(mask, place, 64), place)[0]
    assert again[5:-5, 5:60].all()
    assert not again[:, 84:].any()


# Answers


@pytest.mark.parametrize("hw", [*HW, (500, 700)])
@pytest.mark.parametrize("strip", [1, 1 << 26])
def test_answers_equal_the_reference(
    hw: tuple[int, int], strip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(R, "_STRIP_BYTES", strip)
    place = R.geometry(hw, tiny())
    logits = (np.random.default_rng(3).standard_normal((3, 16, 16)) * 10).astype(np.float32)
    truth = reference_logits(logits, place)
    ours = R.logits_to_image(logits, place)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, truth, atol=1e-3)
    for threshold in (0.0, 4.0):
        sure = np.abs(truth - threshold) > NEAR
        made = R.logits_to_masks(logits, place, threshold)
        np.testing.assert_array_equal(made[sure], (truth > threshold)[sure])


@quickly
@given(
    st.sampled_from(HW),
    st.sampled_from(["longest_side", "square"]),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0, 4, 10**9]),
)
def test_run_lengths_equal_the_masks(
    hw: tuple[int, int], fit: Fit, seed: int, products: int
) -> None:
    rng = np.random.default_rng(seed)
    logits = np.full((3, 16, 16), -6, np.float32)
    for plane in logits[:2]:
        y, x = rng.integers(0, 15, 2)
        window = plane[y : y + rng.integers(1, 9), x : x + rng.integers(1, 9)]
        window[:] = rng.standard_normal(window.shape) * 8
    place = R.geometry(hw, tiny(fit=fit))
    truth = reference_logits(logits, place)
    kept, R._PRODUCTS_PER_PIXEL = R._PRODUCTS_PER_PIXEL, products
    try:
        rles = R.logits_to_rles(logits, place)
    finally:
        R._PRODUCTS_PER_PIXEL = kept
    for rle, plane in zip(rles, truth, strict=True):
        sure = np.abs(plane) > NEAR
        np.testing.assert_array_equal(rle_to_mask(rle)[sure], (plane > 0)[sure])


@pytest.mark.parametrize("hw", [*HW, (500, 700)])
@pytest.mark.parametrize("fit", ["longest_side", "square"])
def test_the_photo_is_made_of_the_used_logits_and_they_are_no_more_than_fill_it(
    hw: tuple[int, int], fit: Fit
) -> None:
    place = R.geometry(hw, tiny(fit=fit))
    logits = np.random.default_rng(5).standard_normal((1, 16, 16)).astype(np.float32)
    truth = reference_logits(logits, place)
    rows, columns = R.logits_used(16, place)
    beyond = logits.copy()
    beyond[:, rows:] = beyond[:, :, columns:] = 1e6
    np.testing.assert_array_equal(reference_logits(beyond, place), truth)
    filled = [-(-16 * length // place.side) for length in place.input_hw]
    assert [rows - filled[0] in (0, 1), columns - filled[1] in (0, 1)] == [True, True]


def test_a_canvas_is_one_for_all_sizes_and_another_for_each_thread() -> None:
    canvas = R.Canvas()
    room = canvas.room((3, 4), np.float32)
    smaller = canvas.room((5, 2), np.float32)
    assert (smaller.shape, smaller.dtype) == ((5, 2), np.float32)
    assert np.shares_memory(smaller, room)
    assert canvas.room((4, 4), np.float32).shape == (4, 4)
    with ThreadPoolExecutor(1) as other:
        theirs = other.submit(canvas.room, (3, 4), np.float32).result()
    assert not np.shares_memory(theirs, canvas.room((3, 4), np.float32))


def test_answers_may_be_smaller_than_the_photo() -> None:
    place = R.geometry((600, 400), tiny())
    logits = np.random.default_rng(0).standard_normal((2, 16, 16)).astype(np.float32)
    small = Geometry((60, 40), place.input_hw, place.side)
    made = R.logits_to_masks(logits, place, limit=60)
    np.testing.assert_array_equal(made, R.logits_to_masks(logits, small))
    np.testing.assert_array_equal(
        R.logits_to_image(logits, place, limit=60), R.logits_to_image(logits, small)
    )


def test_no_candidates_have_no_masks() -> None:
    place = R.geometry((60, 40), tiny())
    none = np.zeros((0, 16, 16), np.float32)
    assert R.logits_to_masks(none, place).shape == (0, 60, 40)
    assert R.logits_to_image(none, place).shape == (0, 60, 40)
    assert R.logits_to_rles(none, place) == []
