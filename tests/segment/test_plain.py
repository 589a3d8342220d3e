"""The fast way and the plain one find the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anymask.masks import Mask
from anymask.models.variants import TINY
from anymask.runtime import TorchRuntime
from anymask.segment import Grid, encode_image
from anymask.segment.everything.search import find_everything
from tests.segment.fakes import SPEC, ColorRuntime, NoiseRuntime
from tests.segment.plain import find_plainly

SIDES = st.integers(1, 90)


def assert_equal(ours: list[Mask], truth: list[Mask]) -> None:
    assert [record.rle for record in ours] == [record.rle for record in truth]
    for record, other in zip(ours, truth, strict=True):
        assert record.box == other.box
        assert record.points == other.points
        assert record.crop_box == other.crop_box
        assert record.score == pytest.approx(other.score, abs=1e-5)
        assert record.stability == pytest.approx(other.stability, abs=1e-5)


@settings(max_examples=25)
@given(SIDES, SIDES, st.integers(0, 2**31), st.sampled_from([0, 0.3, 0.6]), st.booleans())
def test_any_picture(height: int, width: int, seed: int, stability: float, noise: bool) -> None:
    # A fake's logits are round numbers, whose means would be the round cuts up to rounding.
    spec = replace(SPEC, mask_threshold=0.0137)
    runtime = NoiseRuntime(spec) if noise else ColorRuntime(spec)
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    embedding = encode_image(runtime, image)
    grid = Grid(
        mode="exact", grid=4, score=0.4, stability=stability,
        stability_score_offset=0.971,
    )  # fmt: skip
    assert_equal(find_everything(runtime, embedding, grid), find_plainly(runtime, embedding, grid))


def test_a_photo_much_larger_than_the_masks() -> None:
    runtime = NoiseRuntime()
    image = np.random.default_rng(0).integers(0, 256, (500, 700, 3), np.uint8)
    embedding = encode_image(runtime, image)
    grid = Grid(mode="exact", grid=5, score=0.5, stability=0.45)
    truth = find_plainly(runtime, embedding, grid)
    assert len(truth) > 0
    assert_equal(find_everything(runtime, embedding, grid), truth)


def test_a_network_of_sam_s_form() -> None:
    torch.manual_seed(3)
    module = TINY.build()
    with torch.no_grad():
        module.mask_decoder.iou_prediction_head.get_submodule("layers.2").bias += 1
        for parameter in module.mask_decoder.output_hypernetworks_mlps.parameters():
            parameter *= 2
    runtime = TorchRuntime(module, device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (50, 80, 3), np.uint8)
    embedding = encode_image(runtime, image)
    loose = Grid(
        mode="exact", grid=6, score=0, stability=0,
        stability_score_offset=0.05, box_nms_thresh=1,
    )  # fmt: skip
    every = find_plainly(runtime, embedding, loose)
    quality, stability = (
        float(np.percentile([getattr(record, name) for record in every], 60))
        for name in ("score", "stability")
    )
    grid = replace(loose, score=quality, stability=stability)
    truth = find_plainly(runtime, embedding, grid)
    assert 1 < len(truth) < len(every) / 2
    assert_equal(find_everything(runtime, embedding, grid), truth)
