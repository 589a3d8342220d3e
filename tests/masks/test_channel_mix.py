"""Mixes of channels: the fast path beside a slow truth, and one clear error for other pictures."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anymask.base import ImageError, InputError
from anymask.masks import ChannelMix, measure_ranges
from anymask.masks import spec as channel_mix

MIX = ChannelMix(
    lows=(0.0, 100.0),
    highs=(255.0, 1100.0),
    weights=((1.0, 0.0), (0.5, 0.5), (-1.0, 2.0)),
    bias=(0.0, 10.0, -30.0),
    dtype="uint16",
)


def slow_pixel(values: np.ndarray, mix: ChannelMix) -> list[float]:
    """Red, green and blue of one pixel, before they are rounded."""
    scaled = []
    for value, low, high in zip(values.tolist(), mix.lows, mix.highs, strict=True):
        scaled.append(min(255.0, max(0.0, (value - low) / (high - low) * 255)))
    return [
        min(255.0, max(0.0, sum(w * s for w, s in zip(row, scaled, strict=True)) + bias))
        for row, bias in zip(mix.weights, mix.bias, strict=True)
    ]


@given(seed=st.integers(0, 1000), height=st.integers(1, 9), width=st.integers(1, 9))
def test_the_picture_is_the_sum_of_its_channels(seed: int, height: int, width: int) -> None:
    array = np.random.default_rng(seed).integers(0, 1500, (height, width, 2)).astype(np.uint16)
    seen = MIX.to_rgb(array)
    assert (seen.dtype, seen.shape) == (np.uint8, (height, width, 3))
    for y in range(height):
        for x in range(width):
            assert np.abs(seen[y, x] - np.array(slow_pixel(array[y, x], MIX))).max() <= 0.51


def test_large_pictures_are_mixed_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.random.default_rng(0).integers(0, 1500, (17, 6, 2)).astype(np.uint16)
    whole = (MIX.to_rgb(array), MIX.scaled(array))
    monkeypatch.setattr(channel_mix, "_STRIP_PIXELS", 20)
    np.testing.assert_array_equal(MIX.to_rgb(array), whole[0])
    np.testing.assert_array_equal(MIX.scaled(array), whole[1])


def test_red_green_and_blue_among_the_channels_pass_unchanged() -> None:
    array = np.random.default_rng(1).integers(0, 256, (7, 5, 5), np.uint8)
    mix = ChannelMix.initial(measure_ranges([array], (0.1, 99.9)), (3, 1, 5), "uint8")
    np.testing.assert_array_equal(mix.to_rgb(array), array[..., [2, 0, 4]])


def test_without_colours_the_mean_is_seen_as_grey() -> None:
    array = np.random.default_rng(1).integers(0, 256, (7, 5, 4), np.uint8)
    seen = ChannelMix.initial([(0.0, 255.0)] * 4, None, "uint8").to_rgb(array)
    assert (seen == seen[..., :1]).all()
    assert np.abs(seen[..., 0] - array.mean(2)).max() <= 0.51


def test_ranges_are_percentiles_and_leave_out_what_is_no_number() -> None:
    array = np.arange(1001, dtype=np.float32).reshape(-1, 1, 1)
    spoiled = np.concatenate([array, np.full((9, 1, 1), np.nan, np.float32)])
    ((low, high),) = measure_ranges([spoiled], (1, 99))
    assert (low, high) == pytest.approx((10, 990))
    ((low, high),) = measure_ranges([np.full((3, 3, 1), 7, np.uint16)], (1, 99))
    assert low == 7 < high
    mix = ChannelMix.initial([(0.0, 1000.0)], None, "float32")
    assert mix.to_rgb(spoiled)[-1].tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(
    ("array", "kind", "reason"),
    [
        (np.zeros((4, 4, 3), np.uint16), InputError, r"it has 3 channels, but .* with 2"),
        (np.zeros((4, 4), np.uint16), InputError, r"it has 1 channels, but .* with 2"),
        (np.zeros((4, 4, 2), np.uint8), InputError, r"it has 8 bits, but .* type uint16"),
        (np.zeros((4, 4, 2), np.complex64), ImageError, "Invalid image it of type complex64"),
        (np.zeros((2, 4, 4, 2), np.uint16), ImageError, r"Expected real numbers \(H, W, 2\)"),
        (np.zeros((0, 4, 2), np.uint16), ImageError, r"Expected real numbers \(H, W, 2\)"),
    ],
)
def test_another_picture_is_one_error(array: np.ndarray, kind: type, reason: str) -> None:
    with pytest.raises(kind, match=reason):
        MIX.check(array, "it")


def test_a_grey_picture_may_come_as_three_equal_channels() -> None:
    gray = ChannelMix.initial([(0.0, 255.0)], None, "uint8")
    plane = np.random.default_rng(0).integers(0, 256, (4, 5, 1), np.uint8)
    np.testing.assert_array_equal(gray.check(np.repeat(plane, 3, 2), "it"), plane)
    np.testing.assert_array_equal(gray.check(plane[..., 0], "it"), plane)
    with pytest.raises(InputError, match=r"tuned on images with 1\."):
        gray.check(np.dstack([plane, plane, 255 - plane]), "it")


def test_a_mix_survives_json_and_a_damaged_one_is_refused() -> None:
    record = json.loads(json.dumps(asdict(MIX)))
    assert ChannelMix.of(record) == MIX
    for name, value in (
        ("lows", [0.0]), ("highs", [255.0, 50.0]), ("weights", [[1, 0]] * 2), ("bias", [0, 0]),
        ("weights", [[float("nan"), 0]] * 3), ("dtype", "words"), ("lows", None),
    ):  # fmt: skip
        with pytest.raises((ValueError, TypeError)):
            ChannelMix.of({**record, name: value})
    with pytest.raises(KeyError):
        ChannelMix.of({})
