"""3D segmentation from point prompts in a scan with SAM-Med3D.

The model processes a cube of 128 voxels of 1.5 mm per side. Preprocessing follows its reference
inference: axes reoriented to RAS, linear resampling, zero padding, then standardization by mean and
deviation of the positive values. Deviation: the reference centers the cube on a given mask; here
the first foreground point is the center. Logits are resampled to the voxels of the scan; the mask
is empty outside the cube.

Letters: Z Y X the scan, P points, S the cube's side, m that of low-resolution masks, K candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anymask.base import BoolArray, FloatArray, Floats, InputError, PromptError, brief
from anymask.runtime import entry, load_module, pick_device
from anymask.volumes import Volume

if TYPE_CHECKING:
    from anymask_families.sam_med3d import CubeModel

SPACING = 1.5  # voxel size of the cube, in mm
LABELS = (0, 1)  # background and foreground points


@brief
@dataclass(frozen=True)
class CubePlace:
    """Position of the cube in a scan.

    Attributes:
        axes: Scan axis (0 is z) of each cube axis. Cube axes point right, anterior and superior.
        starts: Position of the first cube voxel along these axes, in scan voxels.
        steps: Scan voxels per cube voxel; negative if the directions are opposite.
        shape: Shape of the scan (Z, Y, X).
        side: Side of the cube S, in cube voxels.
    """

    axes: tuple[int, int, int]
    starts: tuple[float, float, float]
    steps: tuple[float, float, float]
    shape: tuple[int, int, int]
    side: int

    @classmethod
    def around(cls, volume: Volume, center: Floats, side: int) -> CubePlace:
        """Cube whose middle voxel contains `center` (z, y, x)."""
        found: dict[str, tuple[int, float]] = {}
        for place, letter in enumerate(volume.orientation):  # letters of x, y and z
            pair = next(one for one in ("LR", "PA", "IS") if letter in one)
            found[pair] = (2 - place, 1.0 if pair[1] == letter else -1.0)
        right, front, up = (found[pair] for pair in ("LR", "PA", "IS"))
        axes, signs = (right[0], front[0], up[0]), (right[1], front[1], up[1])
        steps = [
            sign * SPACING / volume.spacing[axis] for axis, sign in zip(axes, signs, strict=True)
        ]
        starts = [center[a] - step * (side // 2) for a, step in zip(axes, steps, strict=True)]
        return cls(axes, _three(starts), _three(steps), volume.shape, side)

    def to_cube(self, voxels: Floats) -> Floats:  # (P, 3) z, y, x -> (P, 3) in the cube's axes
        """Convert scan voxel coordinates to cube voxel coordinates."""
        cube: Floats = (voxels[:, self.axes] - self.starts) / self.steps
        return cube

    def cut(self, volume: Volume) -> FloatArray:  # -> (S, S, S)
        """Resample the cube from the scan, with zeros outside it."""
        window, tables = [slice(0)] * 3, []
        for axis, start, step in zip(self.axes, self.starts, self.steps, strict=True):
            at = start + step * np.arange(self.side)
            window[axis], table = _taps(at, self.shape[axis])
            tables.append(table)
        part = np.asarray(volume.voxels[tuple(window)], np.float32).transpose(self.axes)
        return _resampled(part, tables)

    def paste(self, logits: FloatArray) -> BoolArray:  # (S, S, S) -> (Z, Y, X)
        """Resample logits to the voxels of the scan and threshold them at 0."""
        window, tables = [slice(0)] * 3, []
        for axis, start, step in zip(self.axes, self.starts, self.steps, strict=True):
            at = (np.arange(self.shape[axis]) - start) / step
            inside = np.flatnonzero((at >= 0) & (at <= self.side - 1))
            window[axis] = slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0)
            tables.append(_taps(at[inside], self.side, whole=True)[1])
        mask = np.zeros(self.shape, np.bool_)
        mask[tuple(window)] = _resampled(logits, tables).transpose(np.argsort(self.axes)) > 0
        return mask


def _three(numbers: Sequence[float]) -> tuple[float, float, float]:
    first, second, third = (float(one) for one in numbers)
    return first, second, third


def _taps(at: NDArray[np.floating[Any]], n: int, whole: bool = False) -> tuple[slice, FloatArray]:
    """Linear interpolation along an axis of length n: source slice and weights (P, part)."""
    first = np.floor(at).astype(np.intp)
    low, high = (0, n) if whole else (max(int(first.min()), 0), min(int(first.max()) + 2, n))
    shares = np.zeros((len(at), max(high - low, 0)), np.float32)
    for step, share in ((0, 1 - (at - first)), (1, at - first)):
        rows = np.flatnonzero((first + step >= low) & (first + step < high))
        shares[rows, first[rows] + step - low] += share[rows]
    return slice(low, max(low, high)), shares


def _resampled(part: FloatArray, tables: Sequence[FloatArray]) -> FloatArray:
    """Resample along each of three axes with a weight matrix (new, old)."""
    out: FloatArray = np.einsum("abc,ia,jb,kc->ijk", part, *tables, optimize=True)
    return out


@brief
@dataclass(frozen=True, eq=False)
class CubeAnswer:
    """Candidate masks of a prompt in a scan, best first.

    Attributes:
        masks: Masks (K, Z, Y, X).
        scores: Predicted IoU (K,).
        logits: Logits of the cube (K, m, m, m). Pass the first as `mask=` to refine the result.
        place: Position of the cube.
    """

    masks: BoolArray
    scores: NDArray[np.float32]
    logits: FloatArray
    place: CubePlace

    @property
    def mask(self) -> BoolArray:
        """Best mask (Z, Y, X)."""
        best: BoolArray = self.masks[0]
        return best


@brief
@dataclass(frozen=True, eq=False)
class CubeFeatures:
    """Encoded cube of a scan, for several prompts.

    Attributes:
        place: Position of the cube.
        features: Torch tensor (1, C, d, h, w) on the model's device.
    """

    place: CubePlace
    features: Any


class ClicksInVolumes:
    """SAM-Med3D with preprocessing and postprocessing. Created by `load_cube_model`."""

    def __init__(self, module: CubeModel, weights_hash: str, device: str = "auto") -> None:
        self.device = pick_device(device)
        self.weights_hash = weights_hash
        self._module = module.eval().requires_grad_(False).to(self.device)

    @cached_property
    def name(self) -> str:
        """Model name, as in `anymask models list`."""
        return self._module.spec.name

    def encode(self, volume: Volume, around: ArrayLike) -> CubeFeatures:
        """Encode a cube around a voxel (z, y, x). Raises PromptError if it is outside the scan."""
        import torch

        center = _check_points(volume, np.asarray(around)[None])[0]
        place = CubePlace.around(volume, center, self._module.config.side)
        cube = place.cut(volume)
        body = cube[cube > 0]
        spread = float(body.std(ddof=1)) if body.size > 1 else 0.0
        middle = float(body.mean()) if body.size else 0.0
        cube = np.asarray((cube - middle) / (spread or 1.0), np.float32)
        with torch.inference_mode():
            given = torch.from_numpy(np.ascontiguousarray(cube))
            return CubeFeatures(place, self._module.encode(given[None, None].to(self.device)))

    def segment(
        self,
        volume: Volume | CubeFeatures,
        points: ArrayLike,
        point_labels: Sequence[int] | None = None,
        mask: FloatArray | None = None,
        multimask: bool = False,
    ) -> CubeAnswer:
        """Segment one object from point prompts.

        Args:
            volume: Scan, or encoded cube from `encode`.
            points: Points (P, 3), voxel coordinates z, y, x of the scan.
            point_labels: 1 for foreground, 0 for background. Defaults to all foreground.
            mask: Logits (m, m, m) of an earlier result for the same cube.
            multimask: Return several candidates, best first, instead of one.

        Raises:
            PromptError: A point is outside the scan, or there is no foreground point.
            InputError: The logits have another shape.
        """
        import torch
        from torch.nn import functional as F

        shape = volume.place.shape if isinstance(volume, CubeFeatures) else volume.shape
        at, labels = _check_points(shape, points), _check_labels(points, point_labels)
        features = volume
        if isinstance(features, Volume):
            features = self.encode(features, at[int(np.argmax(labels))])
        m = 4 * self._module.config.grid
        given = np.zeros((m, m, m), np.float32) if mask is None else np.asarray(mask, np.float32)
        if given.shape != (m, m, m):
            raise InputError(f"Mask logits must have shape ({m}, {m}, {m}), got {given.shape}.")
        coords = np.concatenate([features.place.to_cube(at), np.zeros((1, 3))]).astype(np.float32)
        with torch.inference_mode():
            tensors = (
                torch.from_numpy(one[None]).to(self.device)
                for one in (coords, np.array([*labels, -1]), given[None])
            )
            logits, quality = self._module.decode(features.features, *tensors)
            side = [self._module.config.side] * 3
            large = F.interpolate(logits, side, mode="trilinear", align_corners=False)
        chosen = slice(1, None) if multimask else slice(0, 1)
        scores = quality[0, chosen].float().cpu().numpy()
        order = np.argsort(-scores, kind="stable")
        low, high = (one[0, chosen].float().cpu().numpy()[order] for one in (logits, large))
        masks = np.stack([features.place.paste(one) for one in high])
        return CubeAnswer(masks, scores[order], low, features.place)


def load_cube_model(
    name: str = "sam_med3d_b", weights: str | Path | None = None, device: str = "auto"
) -> ClicksInVolumes:
    """Load a model for 3D scans.

    Args:
        weights: Checkpoint file. Default: the downloaded checkpoint.

    Raises:
        ModelError: The model is for 2D images. Otherwise as `anymask.load`.
    """
    entry(name).check_input("scans")
    module, weights_hash = load_module(name, weights)
    return ClicksInVolumes(module, weights_hash, device)  # type: ignore[arg-type]


def _check_points(scan: Volume | tuple[int, int, int], points: ArrayLike) -> Floats:
    shape = scan.shape if isinstance(scan, Volume) else scan
    at = np.asarray(points, np.float64)
    if at.ndim != 2 or at.shape[1] != 3 or not len(at) or not np.isfinite(at).all():
        raise PromptError(
            "Points must be an array (P, 3) of voxel coordinates z, y, x. Given: an "
            f"array of shape {at.shape}."
        )
    outside = ((at < -0.5) | (at > np.array(shape) - 0.5)).any(axis=1)
    if outside.any():
        z, y, x = at[outside][0]
        raise PromptError(
            f"Voxel ({z:g}, {y:g}, {x:g}) is outside the scan. Points are (z, y, x), "
            f"and the scan has the shape {shape}."
        )
    return at


def _check_labels(points: ArrayLike, labels: Sequence[int] | None) -> list[int]:
    count = len(np.asarray(points))
    found = [1] * count if labels is None else [int(one) for one in labels]
    if len(found) != count or not set(found) <= set(LABELS):
        raise PromptError(f"Expected {count} point_labels, each 0 or 1. Given: {labels!r}.")
    if 1 not in found:
        raise PromptError("All points are background points. Add at least one foreground point.")
    return found
