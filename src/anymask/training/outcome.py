"""Outcome of a training step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from anymask.base import brief


@brief
@dataclass(frozen=True, eq=False)
class StepOutcome:
    """Loss of a step, and metrics for the log (detached). Metrics that a task lacks are NaN.

    Attributes:
        first_iou: IoU of the best-rated mask after the first prompt, mean over prompts.
        oracle_iou: IoU of the best of the first masks.
        last_iou: IoU of the best mask after the last prompt, mean over prompts.
        quality_error: Mean absolute error of the predicted quality.
    """

    loss: Tensor
    first_iou: float = math.nan
    oracle_iou: float = math.nan
    last_iou: float = math.nan
    quality_error: float = math.nan
