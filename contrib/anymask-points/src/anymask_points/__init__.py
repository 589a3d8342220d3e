"""Point clouds for anymask: prompts in 3D with Point-SAM, and masks as 3D points."""

from anymask_points.clicks import EncodedCloud, PointAnswer, load_point_model
from anymask_points.cloud import PointCloud, read_points
from anymask_points.lift import Lifted, lift_masks, spread_mask
from anymask_points.views import Camera, View, read_depth, read_views

__all__ = [
    "Camera", "EncodedCloud", "Lifted", "PointAnswer", "PointCloud", "View", "lift_masks",
    "load_point_model", "read_depth", "read_points", "read_views", "spread_mask",
]  # fmt: skip
