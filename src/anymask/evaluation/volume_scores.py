"""Scores of volume labels: Dice, surface Dice (NSD) and 95 % Hausdorff distance in mm.

Computed like in MONAI (`monai.metrics`: `get_mask_edges`, `compute_surface_dice`,
`compute_hausdorff_distance`):

    - the surface of a label consists of its voxels with one of the six neighbors outside; a voxel
      at the border of the scan is on the surface
    - distances are measured from the center of a surface voxel to that of the nearest one of the
      other surface, with the scan's spacing
    - NSD (Nikolov et al., 2018, arXiv:1809.04430) is the fraction of both surfaces' voxels within
      the tolerance of the other one; voxels have equal weights, regardless of their surface area
    - HD95 is the larger of the 95th percentiles of both directions

If only one of the two contains a label, Dice and NSD are 0 and HD95 is undefined.

Letters: D H W a scan, S voxels of a surface.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, DataError, Floats, InputError, ProgressBar, need_packages
from anymask.evaluation.report import Report, Section, TextTable
from anymask.volumes import Volume, label_volume, read_volume

TOLERANCE_MM = 1.0  # mm
PERCENTILE = 95
SCAN_ENDINGS = (".nii", ".nii.gz", ".mgh", ".mgz", ".nrrd", ".seg.nrrd", ".dcm", ".tif", ".tiff")
Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class VolumeScores:
    """Scores of one label of a scan."""

    scan: str
    label: int
    name: str
    dice: float  # 2 |A and B| / (|A| + |B|)
    nsd: float  # Fraction of both surfaces within the tolerance
    hd95: float | None  # 95 % Hausdorff distance in mm; None if truth or result is empty
    truth_ml: float  # Volume of the ground truth in milliliters
    found_ml: float  # Volume of the result in milliliters


def surface_distances(
    found: BoolArray, truth: BoolArray, spacing: Spacing
) -> tuple[Floats, Floats]:
    """Return the distances in mm from the surface voxels of each mask (D, H, W) to the surface of
    the other: (S,), (S,); infinite if the other one is empty.

    Raises MissingExtra.
    """
    need_packages(("scipy",), "volumes", "Surface distance")
    from scipy.ndimage import binary_erosion, distance_transform_edt

    edges = [mask & ~binary_erosion(mask) for mask in (found, truth)]
    ways = []
    for here, there in (edges, edges[::-1]):
        if there.any():
            ways.append(distance_transform_edt(~there, sampling=spacing)[here])
        else:
            ways.append(np.full(int(here.sum()), np.inf))
    return ways[0], ways[1]


def score_label(
    found: BoolArray, truth: BoolArray, spacing: Spacing, tolerance: float = TOLERANCE_MM
) -> tuple[float, float, float | None]:
    """Compute Dice, NSD and HD95 of two masks (D, H, W); 1, 1 and None if both are empty.

    Args:
        spacing: Voxel spacing along each axis in mm.
        tolerance: Tolerance of surface distances in mm.
    """
    sizes = int(found.sum()), int(truth.sum())
    if not any(sizes):
        return 1.0, 1.0, None
    if not all(sizes):
        return 0.0, 0.0, None
    dice = 2 * int((found & truth).sum()) / sum(sizes)
    ways = surface_distances(found, truth, spacing)
    near = sum(int((way <= tolerance).sum()) for way in ways)
    worst = max(float(np.percentile(way, PERCENTILE)) for way in ways)
    return dice, near / sum(map(len, ways)), worst


def score_volume(
    found: Volume, truth: Volume, scan: str = "", tolerance: float = TOLERANCE_MM
) -> list[VolumeScores]:
    """Score every label of truth or result, in ascending order; 0 is background.

    Raises DataError if the grids of the volumes differ, InputError if they are not labels.
    """
    if found.shape != truth.shape:
        raise DataError(
            f"The result has the shape {found.shape}, but the ground truth has {truth.shape}. "
            "Resample the result to the grid of its scan."
        )
    if not np.allclose(found.affine, truth.affine, rtol=0, atol=0.01):
        raise DataError(
            "The affines of result and ground truth differ. Save the affine of the scan."
        )
    found, truth = (
        label_volume(volume.array, volume, names=volume.names) for volume in (found, truth)
    )
    voxel = float(np.prod(truth.spacing)) / 1000
    scores = []
    for label, box in _boxes(found.array, truth.array).items():
        pair = [volume.array[box] == label for volume in (found, truth)]
        dice, nsd, hd95 = score_label(pair[0], pair[1], truth.spacing, tolerance)
        name = truth.names.get(label) or found.names.get(label, "")
        found_ml, truth_ml = (int(mask.sum()) * voxel for mask in pair)
        scores.append(VolumeScores(scan, label, name, dice, nsd, hd95, truth_ml, found_ml))
    return scores


def _boxes(*arrays: NDArray[Any]) -> dict[int, tuple[slice, ...]]:
    """Return the bounding box of each label over all arrays.

    Boxes are tight or end at the border of the scan, so the surface of the label is the same.
    """
    boxes: dict[int, tuple[slice, ...]] = {}
    for label in sorted({int(value) for array in arrays for value in np.unique(array) if value}):
        inside = np.logical_or.reduce([array == label for array in arrays])
        sides = []
        for axes in ((1, 2), (0, 2), (0, 1)):
            places = np.flatnonzero(inside.any(axis=axes))
            sides.append(slice(int(places[0]), int(places[-1]) + 1))
        boxes[label] = tuple(sides)
    return boxes


def report_volumes(results: Path, truth: Path, tolerance: float = TOLERANCE_MM) -> Report:
    """Compare two label files, or the files of the same name in two folders.

    Raises InputError for an invalid tolerance, DataError that names the file and the reason.
    """
    if not tolerance >= 0:
        raise InputError(f"Invalid tolerance={tolerance}. Use a distance of at least 0 mm.")
    pairs = _pairs(results, truth)
    scores: list[VolumeScores] = []
    with ProgressBar("scans", len(pairs)) as progress:
        for done, (ours, theirs) in enumerate(pairs, 1):
            try:
                scores += score_volume(
                    read_volume(ours), read_volume(theirs), theirs.name, tolerance
                )
            except (DataError, InputError) as error:
                raise DataError(f"{ours}: {error}") from error
            progress.update(done)
    if not scores:
        raise DataError(
            f"{truth} has no labels in {len(pairs)} scans. Check that this is the ground truth."
        )
    groups = {"all": scores} | {
        str(label): [score for score in scores if score.label == label]
        for label in sorted({score.label for score in scores})
    }
    means = {name: _mean(group) for name, group in groups.items()}
    named = {str(score.label): score.name for score in scores if score.name}
    nsd = f"NSD at {tolerance:g} mm"
    header = ("label", "Dice", nsd, "HD95 mm", "labels without HD95", "labels")
    each = ("scan", "label", "Dice", nsd, "HD95 mm", "ml", "true ml")
    rows = [[f"{name} {named.get(name, '')}".strip(), *_cells(m)] for name, m in means.items()]
    single = [
        [
            score.scan, score.name or str(score.label), f"{score.dice:.3f}", f"{score.nsd:.3f}",
            _millimeters(score.hd95), f"{score.found_ml:.2f}", f"{score.truth_ml:.2f}",
        ]
        for score in scores
    ]  # fmt: skip
    tables = [TextTable(header, rows, "Means"), TextTable(each, single)]
    return Report(
        title=f"{results.name} against {truth.name}",
        about=f"Dice, NSD at {tolerance:g} mm and HD95 of {len(scores)} labels in {len(pairs)} "
        "scans",
        sections=[Section(tables=tables[len(scores) == 1 :])],  # one label is its own mean
        notes=(
            "NSD is the share of the surfaces that lie within the tolerance of each other. HD95 is "
            "averaged over the labels that both the ground truth and the result contain.",
        ),
        rows=[asdict(row) for row in scores],
        data={"tolerance": tolerance, "means": means, "labels": [asdict(row) for row in scores]},
    )


def _mean(scores: Sequence[VolumeScores]) -> dict[str, float | None]:
    distances = [score.hd95 for score in scores if score.hd95 is not None]
    return {
        "dice": float(np.mean([score.dice for score in scores])),
        "nsd": float(np.mean([score.nsd for score in scores])),
        "hd95": float(np.mean(distances)) if distances else None,
        "absent": len(scores) - len(distances),
        "count": len(scores),
    }


def _cells(mean: dict[str, float | None]) -> list[str]:
    return [
        f"{mean['dice']:.3f}", f"{mean['nsd']:.3f}", _millimeters(mean["hd95"]),
        f"{mean['absent']:g}", f"{mean['count']:g}",
    ]  # fmt: skip


def _millimeters(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _pairs(results: Path, truth: Path) -> list[tuple[Path, Path]]:
    """Pair files of results and truth: two files, or those of the same name in two folders."""
    if truth.is_file() and results.is_file():
        return [(results, truth)]
    if not (truth.is_dir() and results.is_dir()):
        raise InputError(
            "A file and a folder were given. Pass either two label files or two folders."
        )
    drawn = sorted(path for path in truth.iterdir() if path.name.lower().endswith(SCAN_ENDINGS))
    if not drawn:
        raise InputError(f"{str(truth)!r} contains no label volumes ({', '.join(SCAN_ENDINGS)}).")
    if absent := [path.name for path in drawn if not (results / path.name).is_file()]:
        raise DataError(
            f"{len(absent)} results are missing in {results}, such as {absent[0]}. Add them."
        )
    return [(results / path.name, path) for path in drawn]
