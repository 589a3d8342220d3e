"""Optical flow and shot detection with OpenCV.

Source: Kroeger et al. 2016 (DIS, arXiv:1603.03590), OpenCV implementation.

Letters: h w the reduced frame.
"""

from __future__ import annotations

import cv2
import numpy as np

from anymask.base import FloatArray, UintImage

FLOW_SIDE = 256  # longer side of the reduced frame, in pixels
CUT = 0.5  # minimum correlation of two frames of one shot


def reduce_frame(image: UintImage) -> UintImage:  # (H, W, 3) -> (h, w)
    """Convert a frame to grayscale and reduce it for optical flow."""
    height, width = image.shape[:2]
    scale = FLOW_SIDE / max(height, width)
    size = (max(16, round(width * scale)), max(16, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)


def carry_along(soft: FloatArray, flow: FloatArray) -> FloatArray:  # (h, w), (h, w, 2) -> (h, w)
    """Warp the soft mask of the previous frame by the flow."""
    columns, rows = (np.arange(side, dtype=np.float32) for side in flow.shape[1::-1])
    moved = cv2.remap(
        soft, columns + flow[..., 0], rows[:, None] + flow[..., 1], cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
    )  # fmt: skip
    return np.asarray(moved, np.float32)


def is_cut(now: UintImage, before: UintImage) -> bool:
    """Whether two reduced frames belong to different shots, by histogram and layout."""
    if now.shape != before.shape:
        return True
    counts = [cv2.calcHist([image], [0], None, [32], [0, 256]) for image in (now, before)]
    if cv2.compareHist(counts[0], counts[1], cv2.HISTCMP_CORREL) > CUT:
        return False
    small = [
        cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
        for image in (now, before)
    ]
    spread = float(small[0].std() * small[1].std())
    alike = float(np.mean((small[0] - small[0].mean()) * (small[1] - small[1].mean())))
    return spread == 0 or alike / spread < CUT


class Flows:
    """Optical flow from one frame to earlier frames, computed once for all objects."""

    def __init__(self, now: UintImage) -> None:
        self.now = now
        self._found: list[tuple[UintImage, FloatArray]] = []

    def back(self, before: UintImage) -> FloatArray:  # (h, w) -> (h, w, 2)
        """Flow from the current frame to `before`, per pixel."""
        for gray, flow in self._found:
            if gray is before or np.array_equal(gray, before):
                return flow
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        nothing = np.zeros((*self.now.shape, 2), np.float32)
        flow = np.asarray(search.calc(self.now, before, nothing), np.float32)
        self._found.append((before, flow))
        return flow
