"""Small scans whose things the model by colours finds: two balls in a grey box."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

SHAPE = (12, 48, 64)  # z, y, x
AFFINE = np.array([[-1, 0, 0, 31], [0, -1.0, 0, 23], [0, 0, 2.5, -14], [0, 0, 0, 1.0]])
BALLS = [((5, 24, 20), 10, 200), ((7, 20, 48), 8, 120)]  # centre z, y, x; radius in mm; value
FIRST = [[20, 24]]  # a click x, y on slice 5


def made_scan() -> np.ndarray:
    """Voxels (z, y, x) int16."""
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    scan = np.full(SHAPE, 30, np.int16)
    for (mz, my, mx), radius, value in BALLS:
        far = ((z - mz) * 2.5) ** 2 + (y - my) ** 2 + (x - mx) ** 2
        scan[far < radius**2] = value
    return scan


def write_scan(path: Path, scan: np.ndarray | None = None) -> Path:
    voxels = made_scan() if scan is None else scan
    nibabel.save(nibabel.Nifti1Image(voxels.T, AFFINE), path)
    return path
