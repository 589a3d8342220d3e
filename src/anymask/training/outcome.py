"""Outcome of a training step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from anymask.base import brief


@brief
@dataclass(frozen=True, eq=False)
class StepOutcome:
    """Loss of a step, and metrics for the log (detached). Metrics that a task lacks are NaN."""

    loss: Tensor
    # IoU of the best-rated mask after the first prompt, mean over prompts
    first_iou: float = math.nan
    oracle_iou: float = math.nan  # IoU of the best of the first masks
    last_iou: float = math.nan  # IoU of the best mask after the last prompt, mean over prompts
    quality_error: float = math.nan  # Mean absolute error of the predicted quality
