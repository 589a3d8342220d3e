"""Segmentation of point clouds from point prompts with Point-SAM.

Preprocessing follows the reference inference: the cloud is centered on its mean and scaled by its
largest distance from it; colors are in 0..1. Its training code also maps colors to -1..1, which its
inference code does not. A cloud without colors is gray, which the reference does not define.

Letters: N points, P prompts, K candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from anymask.base import BoolArray, FloatArray, Floats, InputError, PromptError, brief
from anymask_points.cloud import PointCloud, check_written, read_points

if TYPE_CHECKING:
    from anymask_points.point_sam import PointModel

GRAY = 0.5  # color of clouds without colors
ROOM = 1e-3  # distance from the cloud at which prompts are accepted, relative to its radius


@brief
@dataclass(frozen=True, eq=False)
class EncodedCloud:
    """An encoded point cloud, for several prompts.

    Attributes:
        cloud: The points.
        center: Their mean (3,).
        radius: Largest distance of a point from it.
        features: Features on the model's device.
    """

    cloud: PointCloud
    center: Floats
    radius: float
    features: Any


@brief
@dataclass(frozen=True, eq=False)
class PointAnswer:
    """Candidate masks of a prompt in a point cloud, best first.

    Attributes:
        masks: Masks (K, N).
        scores: Predicted IoU (K,).
        logits: Logits (K, N). Pass the first as `mask=` to refine the result.
        cloud: The points.
    """

    masks: BoolArray
    scores: FloatArray
    logits: FloatArray
    cloud: PointCloud

    @property
    def mask(self) -> BoolArray:
        """Best mask (N,)."""
        best: BoolArray = self.masks[0]
        return best

    def save(self, path: str | Path) -> None:
        """Write the points with the best mask: `.ply` (a property `mask`, 0 or 1) or `.npz`.

        Raises:
            InputError: The suffix is unknown.
        """
        check_written(Path(path))
        self.cloud.write(Path(path), self.mask)


class ClicksInClouds:
    """Point-SAM with preprocessing. Created by `load_point_model`."""

    def __init__(self, module: PointModel, weights_hash: str, device: str = "auto") -> None:
        from anymask.runtime import pick_device

        self.device = pick_device(device)
        self.weights_hash = weights_hash
        self._module = module.eval().requires_grad_(False).to(self.device)

    @property
    def name(self) -> str:
        """Model name, as in `anymask models list`."""
        return self._module.spec.name

    def encode(
        self, points: ArrayLike | PointCloud | str | Path, colors: ArrayLike | None = None
    ) -> EncodedCloud:
        """Encode a point cloud.

        Args:
            points: Coordinates (N, 3), a cloud read from a file, or a file.
            colors: Colors (N, 3): integers, or numbers in 0..1 or 0..255. Only with an array.

        Raises:
            InputError: An array has another shape, is empty, or a value is not finite.
            DataError: The file is not a point cloud.
        """
        import torch

        cloud = _cloud(points, colors)
        center = cloud.points.mean(axis=0)
        moved = cloud.points - center
        radius = float(np.linalg.norm(moved, axis=1).max()) or 1.0
        painted = cloud.colors
        if painted is None:
            painted = np.full(moved.shape, GRAY, np.float32)
        with torch.inference_mode():
            features = self._module.encode(
                self._tensor((moved / radius).astype(np.float32)), self._tensor(painted)
            )
        return EncodedCloud(cloud, center, radius, features)

    def segment(
        self,
        cloud: EncodedCloud | PointCloud | str | Path,
        points: ArrayLike,
        point_labels: Sequence[int] | None = None,
        mask: ArrayLike | None = None,
        multimask: bool | None = None,
    ) -> PointAnswer:
        """Segment one object from point prompts.

        Args:
            cloud: Encoded cloud from `encode`, or a file.
            points: Prompts (P, 3) in the coordinates of the cloud.
            point_labels: 1 for foreground, 0 for background. Defaults to all foreground.
            mask: Logits (N,) of an earlier result for the same cloud.
            multimask: Return three candidates, best first, instead of one. Default: only for a
                single point without a mask, which is ambiguous.

        Raises:
            PromptError: A prompt is outside the cloud, or there is no foreground point.
            InputError: The logits have another shape.
        """
        import torch

        features = cloud if isinstance(cloud, EncodedCloud) else self.encode(cloud)
        at, labels = _model_clicks(features, points, point_labels)
        earlier = None if mask is None else _check_logits(mask, len(features.cloud.points))
        if multimask is None:
            multimask = len(at) == 1 and earlier is None
        with torch.inference_mode():
            logits, quality = self._module.decode(
                features.features,
                self._tensor(at[None]),
                torch.tensor([labels], device=self.device),
                None if earlier is None else self._tensor(earlier[None]),
            )
        chosen = slice(1, None) if multimask else slice(0, 1)
        scores = quality[0, chosen].float().cpu().numpy()
        order = np.argsort(-scores, kind="stable")
        found = logits[0, chosen].float().cpu().numpy()[order]
        return PointAnswer(found > 0, scores[order], found, features.cloud)

    def _tensor(self, array: FloatArray) -> Any:
        import torch

        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)


def load_point_model(
    name: str = "point_sam_l", weights: str | Path | None = None, device: str = "auto"
) -> ClicksInClouds:
    """Load a model for point clouds.

    Args:
        weights: Checkpoint file. Default: the downloaded checkpoint.

    Raises:
        ModelError: The model is unknown, or not for point clouds.
        WeightsError: The weights are missing, invalid, or those of another model.
        MissingExtra: PyTorch is not installed.
    """
    from anymask.runtime import entry, file_hash, find, import_torch

    entry(name).check_input("points")
    path = find(name, weights)
    import_torch()
    from anymask.runtime import load_official, read_checkpoint
    from anymask_points.point_sam import POINT_SAM_L, PointModel

    state = read_checkpoint(path)
    module = PointModel(POINT_SAM_L)
    load_official(module, state)
    return ClicksInClouds(module, file_hash(path), device)


def _cloud(points: ArrayLike | PointCloud | str | Path, colors: ArrayLike | None) -> PointCloud:
    if not isinstance(points, PointCloud | str | Path):
        return PointCloud.of(points, colors)
    if colors is not None:
        raise InputError(
            "colors= requires an array of points. The colors of a file are read from it."
        )
    return points if isinstance(points, PointCloud) else read_points(points)


def _model_clicks(
    seen: EncodedCloud, points: ArrayLike, labels: Sequence[int] | None
) -> tuple[FloatArray, list[int]]:
    """Validate clicks and convert them to the coordinates of the model. Raises PromptError."""
    at = np.asarray(points, np.float64)
    if at.ndim != 2 or at.shape[1] != 3 or not len(at) or not np.isfinite(at).all():
        raise PromptError(
            "Points must be an array (P, 3) of finite coordinates x, y, z. Given: an array of "
            f"shape {at.shape}."
        )
    low, high = seen.cloud.points.min(axis=0), seen.cloud.points.max(axis=0)
    room = ROOM * seen.radius
    outside = ((at < low - room) | (at > high + room)).any(axis=1)
    if outside.any():
        given, first, last = (
            ", ".join(f"{value:g}" for value in one) for one in (at[outside][0], low, high)
        )
        raise PromptError(
            f"Point ({given}) is outside the cloud, which extends from ({first}) to ({last})."
        )
    count = len(at)
    kinds = [1] * count if labels is None else [int(one) for one in labels]
    if len(kinds) != count or not set(kinds) <= {0, 1}:
        raise PromptError(f"Expected {count} point_labels, each 0 or 1. Given: {labels!r}.")
    if 1 not in kinds:
        raise PromptError("All points are background points. Add at least one foreground point.")
    return ((at - seen.center) / seen.radius).astype(np.float32), kinds


def _check_logits(mask: ArrayLike, count: int) -> FloatArray:
    logits = np.asarray(mask, np.float32)
    if logits.shape != (count,) or not np.isfinite(logits).all():
        raise InputError(
            f"Mask logits must be an array ({count},) of finite numbers, got {logits.shape}."
        )
    return logits
