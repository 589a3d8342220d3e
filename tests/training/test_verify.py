from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anymask.models.nano import TINY, Nano
from anymask.runtime import ASSETS, OnnxRuntime, load_module
from anymask.training import export_verify as verify
from anymask.training.export_graphs import export_bundle
from anymask.training.export_verify import Check, Verification, verify_bundle
from tests.runtime.stand_in import build

GOOD = Check(
    input_hw=(32, 16),
    n_prompts=3,
    n_points=2,
    with_mask=True,
    feature_error=1e-6,
    logit_error=1e-6,
    quality_error=1e-6,
    mask_iou=1.0,
)


def test_a_faithful_bundle_passes_on_every_shape_and_count(bundle: Path) -> None:
    verification = verify_bundle(build(), bundle)
    assert verification.passed
    checks = verification.checks
    assert {check.input_hw for check in checks} == {(32, 32), (24, 32), (32, 16)}
    assert {(check.n_prompts, check.n_points) for check in checks} == {
        (n, p) for n in (1, 3, 17) for p in (1, 2, 5)
    }
    assert {check.with_mask for check in checks} == {True, False}


def test_the_shipped_model_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boxes without an inside made it fail: quality 3.5e-3 apart, of masks that are empty."""
    monkeypatch.setattr(verify, "N_PROMPTS", (3,))
    monkeypatch.setattr(verify, "IMAGE_SHAPES", ((1.0, 1.0),))
    module, _ = load_module("nano", None)
    verification = verify_bundle(module, ASSETS / "nano")
    assert verification.complaints() == []
    assert max(check.quality_error for check in verification.checks) < 1e-4


@pytest.mark.parametrize("part", ["stem", "head", "judge"])
def test_a_bundle_of_other_weights_fails(bundle: Path, part: str) -> None:
    other = build()
    with torch.no_grad():
        for parameter in getattr(other, part).parameters():
            parameter.mul_(1.1)
    assert not verify_bundle(other, bundle).passed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feature_error": 2e-4}, "feature_error is 2.00e-04 (at most 1e-04 is allowed)"),
        ({"logit_error": float("nan")}, "logit_error is nan (at most 1e-03 is allowed)"),
        ({"quality_error": 0.5}, "quality_error is 5.00e-01 (at most 1e-03 is allowed)"),
        ({"mask_iou": 0.9}, "mask_iou is 0.9000 (at least 0.999 is required)"),
    ],
)
def test_what_is_out_of_bounds_is_said(change: dict[str, float], message: str) -> None:
    for checks in ((GOOD, replace(GOOD, **change)), (replace(GOOD, **change), GOOD)):
        assert Verification("fp32", checks).complaints() == [message]


def test_eight_bits_are_judged_by_their_masks_alone() -> None:
    rough = replace(GOOD, feature_error=0.1, logit_error=0.1, quality_error=0.1, mask_iou=0.985)
    assert Verification("int8", (rough,)).passed
    assert not Verification("int8", (replace(rough, mask_iou=0.97),)).passed


def test_rectangles_agree_as_squares_do(tmp_path: Path) -> None:
    torch.manual_seed(0)
    nano = Nano(TINY).eval()
    manifest = export_bundle(nano, nano.spec, tmp_path / "x", licence="MIT", weights_hash="e" * 64)
    assert manifest.graph("encoder").inputs[0].shape == ("B", 3, "H", "W")
    verification = verify_bundle(nano, tmp_path / "x")
    assert verification.passed, verification.complaints()
    exported = OnnxRuntime(tmp_path / "x")
    tall = np.random.default_rng(0).standard_normal((1, 3, TINY.image_side, 32), np.float32)
    with torch.inference_mode():
        expected = nano.encode(torch.from_numpy(tall))
    for ours, theirs in zip(exported.encode_images(tall)[0].maps(), expected, strict=True):
        np.testing.assert_allclose(ours.values, theirs[0].numpy(), atol=1e-4)
