"""Verify a bundle against the module that it was exported from.

Letters: N prompts, P points, T mask tokens, S the model's input side, m the side of a mask.

Images are smooth random blobs of three shapes, so no files are required. Both sides process the
same pixels: the bundle's decoder uses the bundle's own embedding.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from torch import nn

from anymask.base import FloatArray, ModelError, brief
from anymask.masks import ModelPrompts, ModelSpec, iou, pad_input
from anymask.runtime import OnnxRuntime, TorchRuntime, load_module

IMAGE_SHAPES = ((1.0, 1.0), (0.75, 1.0), (1.0, 0.5))  # part of S x S that an image fills, h and w
N_PROMPTS = (1, 3, 17)
N_POINTS = (1, 2, 5)

# Relative to the largest value; the fp32 tolerance is that of the reference tests.
FEATURE_ERROR = {"fp32": 1e-4}
LOGIT_ERROR = {"fp32": 1e-3}
QUALITY_ERROR = {"fp32": 1e-3}
MASK_IOU = {"fp32": 0.999, "int8": 0.98}


@dataclass(frozen=True, kw_only=True)
class Check:
    """Comparison of one image with N prompts of P points, eager against exported."""

    input_hw: tuple[int, int]  # Part of the model input that the image fills
    n_prompts: int
    n_points: int
    with_mask: bool
    feature_error: float  # Max |a - b| / max |a| over the encoder's maps
    logit_error: float  # The same over the logits
    quality_error: float  # Max |a - b| of the quality
    # Mean IoU of the masks of both, over all N * T. Pixels whose logits are within the error
    # tolerance of the threshold are ignored.
    mask_iou: float


@brief
@dataclass(frozen=True)
class Verification:
    """All checks of one bundle."""

    precision: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check is within the tolerances of the bundle's precision."""
        return not self.complaints()

    def complaints(self) -> list[str]:
        """Return the failed comparisons; empty if the bundle is correct."""
        failures = []
        for name, bounds in (
            ("feature_error", FEATURE_ERROR),
            ("logit_error", LOGIT_ERROR),
            ("quality_error", QUALITY_ERROR),
        ):
            # NumPy's max and min keep a NaN, which Python's may lose.
            worst = float(np.max([getattr(check, name) for check in self.checks]))
            bound = bounds.get(self.precision, np.inf)
            if not worst <= bound:
                failures.append(f"{name} is {worst:.2e} (at most {bound:.0e} is allowed)")
        # A single deviating mask of an 8-bit model is no defect, so the mean over masks counts.
        lowest = float(np.min([check.mask_iou for check in self.checks]))
        if not lowest >= MASK_IOU[self.precision]:
            failures.append(
                f"mask_iou is {lowest:.4f} (at least {MASK_IOU[self.precision]} is required)"
            )
        return failures

    def check(self, folder: Path) -> None:
        """Raise ModelError if the graphs in the folder do not match the checkpoint."""
        if complaints := self.complaints():
            raise ModelError(
                f"The exported model in {folder} does not match the checkpoint: "
                f"{'; '.join(complaints)}. Do not use it."
                + (" Export the model again without int8." if self.precision == "int8" else "")
            )

    def to_table(self) -> str:
        """Format as a table, one line for each check."""
        head = "      input   N  P mask  features    logits   quality  mask IoU"
        lines = [
            f"{check.input_hw[0]:>5}x{check.input_hw[1]:<5} {check.n_prompts:>3} "
            f"{check.n_points:>2} {'yes' if check.with_mask else 'no':>4} "
            f"{check.feature_error:>9.1e} {check.logit_error:>9.1e} "
            f"{check.quality_error:>9.1e} {check.mask_iou:>9.5f}"
            for check in self.checks
        ]
        return "\n".join([head, *lines])


def verify_export(model: str, folder: Path, weights: str | Path | None = None) -> Verification:
    """Run `verify_bundle` with the model of a name and weights."""
    return verify_bundle(load_module(model, weights)[0], folder)


def verify_bundle(module: nn.Module, folder: str | Path) -> Verification:
    """Compare a bundle with the module that it was exported from, both on the CPU in float32.

    Raises WeightsError if the bundle is incomplete.
    """
    exported = OnnxRuntime(folder, device="cpu")
    eager = TorchRuntime(module, exported.weights_hash, device="cpu")
    spec = exported.spec
    rng = np.random.default_rng(0)
    checks = []
    for shape in IMAGE_SHAPES:
        input_hw = (int(spec.image_side * shape[0]), int(spec.image_side * shape[1]))
        if spec.fit == "square":
            input_hw = (spec.image_side, spec.image_side)
        image = random_image(spec, input_hw, rng)
        ours, theirs = (runtime.encode_images(image)[0] for runtime in (eager, exported))
        pairs = zip(ours.maps(), theirs.maps(), strict=True)
        error = float(np.max([_relative_error(a.values, b.values) for a, b in pairs]))
        fitting = [p for p in N_POINTS if not spec.fixed_points or p <= spec.fixed_points]
        with_masks = (False, True) if "mask" in spec.accepts else (False,)
        for n, p, with_mask in itertools.product(N_PROMPTS, fitting, with_masks):
            prompts = random_prompts(spec, (n, p), input_hw, with_mask, rng)
            logits, quality = eager.decode(ours, prompts)
            others, other_quality = exported.decode(theirs, prompts)
            threshold, doubt = spec.mask_threshold, float(np.abs(logits).max())
            clear = np.abs(logits - threshold) > LOGIT_ERROR["fp32"] * doubt
            both = zip((logits > threshold) & clear, (others > threshold) & clear, strict=True)
            ious = [iou(*masks) for pair in both for masks in zip(*pair, strict=True)]  # of (N, T)
            checks.append(
                Check(
                    input_hw=input_hw,
                    n_prompts=n,
                    n_points=p,
                    with_mask=with_mask,
                    feature_error=error,
                    logit_error=_relative_error(logits, others),
                    quality_error=float(np.abs(quality - other_quality).max()),
                    mask_iou=float(np.mean(ious)),
                )
            )
    return Verification(exported.manifest.precision, tuple(checks))


def random_image(
    spec: ModelSpec, input_hw: tuple[int, int], rng: np.random.Generator
) -> FloatArray:
    """Return random blobs of all sizes, normalized and padded for the model: (1, 3, h, w)."""
    h, w = input_hw
    image = np.zeros((h, w, 3), np.float32)
    for cells in (3, 9, 27, 81):
        coarse = rng.standard_normal((cells, cells, 3)).astype(np.float32)
        image += cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)
    pixels = np.clip(127.5 + 50 * image, 0, 255).round()
    images = np.zeros((1, 3, *pad_input(input_hw, spec)), np.float32)
    normalized = (pixels - np.asarray(spec.mean)) / np.asarray(spec.std)
    images[0, :, :h, :w] = normalized.transpose(2, 0, 1)
    return images


def random_prompts(
    spec: ModelSpec,
    n_by_p: tuple[int, int],
    input_hw: tuple[int, int],
    with_mask: bool,
    rng: np.random.Generator,
) -> ModelPrompts:
    """Return N prompts of P points of the supported types; half of them with a mask if requested.

    Models with a fixed number of points get P of them and "not a point" for the rest.
    """
    n, p = n_by_p
    labels = rng.choice([0, 1] if "negative_point" in spec.accepts else [1], (n, p))
    if "box" in spec.accepts and p >= 2:
        labels[::2, :2] = (2, 3)
    coords = rng.random((n, p, 2)) * (input_hw[1], input_hw[0])
    # Box corners in order, as prompts require. A degenerate box yields an empty mask, for which
    # ONNX Runtime's sigmoid, which ends at -18, gives another result.
    boxed = labels[:, 0] == 2
    coords[boxed, :2] = np.sort(coords[boxed, :2], axis=1)
    missing = spec.fixed_points - p
    if missing > 0:
        labels = np.concatenate([labels, np.full((n, missing), -1)], axis=1)
        coords = np.concatenate([coords, np.zeros((n, missing, 2))], axis=1)
    masks = np.zeros((n, 1, spec.mask_side, spec.mask_side), np.float32)
    has_mask = np.zeros(n, np.float32)
    if with_mask:
        masks[::2] = 4 * rng.standard_normal(masks[::2].shape)
        has_mask[::2] = 1
    return ModelPrompts(coords.astype(np.float32), labels.astype(np.int64), masks, has_mask)


def _relative_error(a: FloatArray, b: FloatArray) -> float:
    return float(np.abs(a - b).max() / max(float(np.abs(a).max()), 1e-12))
