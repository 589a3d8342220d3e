"""Tracker of XMem: an image model answers the prompts, and XMem propagates the masks.

With SAM as the image model, this is the tracking of Track Anything (Yang et al. 2023,
arXiv:2304.11968). Weights are local files; nothing is downloaded.

Differences to the reference code: the network's confidence checks are the session's, so uncertain
frames are not added to the memory unless `write_unsure` is set. See also `xmem_memory`.

Letters: H W a frame, h w the padded network input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from anymask.base import FloatArray, UintImage
from anymask.masks import Prompt, Rle, mask_to_rle, rle_to_mask
from anymask.runtime import file_hash, find, import_torch, pick_device
from anymask.segment import Model
from anymask.track import FramePrediction, ImageTracker, StateArrays, TrackMoment, given_mask
from anymask_families.families import XMEM

if TYPE_CHECKING:
    from anymask_families.xmem import EncodedFrame
    from anymask_families.xmem_memory import ObjectMemory, XMemSteps

NAME = "xmem"
SIDE = 480  # length that the shorter side of frames is resized to
FIRST = "key_encoder.conv1.weight"  # its number of rows is the width of the network


@dataclass(frozen=True)
class InputArea:
    """Part of the network input that the frame fills: size (h, w), and padding on top and left."""

    frame_hw: tuple[int, int]
    size: tuple[int, int]
    begin: tuple[int, int]
    padded: tuple[int, int]

    @classmethod
    def of(cls, frame_hw: tuple[int, int], side: int) -> InputArea:
        """Resize the shorter side to `side` and center the frame in whole cells."""
        from anymask_families.xmem import STRIDE

        scale = side / min(frame_hw)
        height, width = (max(1, round(one * scale)) for one in frame_hw)
        more = (-height % STRIDE, -width % STRIDE)
        begin, padded = (more[0] // 2, more[1] // 2), (height + more[0], width + more[1])
        return cls(frame_hw, (height, width), begin, padded)

    def fill(self, values: FloatArray) -> FloatArray:  # (H, W, ...) -> (h, w, ...)
        """Resize values of a frame, and pad them with zeros."""
        way = cv2.INTER_AREA if self.size < self.frame_hw else cv2.INTER_CUBIC
        if self.size != self.frame_hw:
            values = np.asarray(cv2.resize(values, self.size[::-1], interpolation=way))
        out = np.zeros((*self.padded, *values.shape[2:]), np.float32)
        out[self._place] = values
        return out

    def take(self, values: FloatArray) -> FloatArray:  # (h, w) -> (H, W)
        """Remove the padding, and resize to the frame."""
        inside = np.ascontiguousarray(values[self._place])
        return np.asarray(cv2.resize(inside, self.frame_hw[::-1], interpolation=cv2.INTER_LINEAR))

    @property
    def _place(self) -> tuple[slice, slice]:
        (top, left), (height, width) = self.begin, self.size
        return slice(top, top + height), slice(left, left + width)


@dataclass(frozen=True, eq=False)
class XMemFrame:
    """Frame (H, W, 3) with its encoding; the image model encodes it only for prompts."""

    image: UintImage
    gray: UintImage
    area: InputArea
    encoded: EncodedFrame
    prompting: ImageTracker

    @cached_property
    def features(self) -> Any:
        """The frame, encoded by the image model."""
        return self.prompting.encode_frame(self.image, self.gray)


class XMemTracker:
    """Track objects with XMem; see the module.

    Args:
        model: Image model that answers the prompts.
        steps: The network and its memories.
        weights_hash: Hash of the network's weights.
        side: Length of the shorter side of the network input.
    """

    def __init__(self, model: Model, steps: XMemSteps, weights_hash: str, side: int) -> None:
        self._prompting, self._steps, self._side = ImageTracker(model), steps, side
        self.name = f"{NAME}:{model.name}:{model.runtime.weights_hash[:16]}:{weights_hash[:16]}"

    def encode_frame(self, image: UintImage, gray: UintImage) -> XMemFrame:
        area = InputArea.of((image.shape[0], image.shape[1]), self._side)
        normal = (image - np.array(XMEM.mean)) / np.array(XMEM.std)
        pixels = np.ascontiguousarray(area.fill(normal.astype(np.float32)).transpose(2, 0, 1))
        return XMemFrame(image, gray, area, self._steps.encode_frame(pixels), self._prompting)

    def answer(self, features: XMemFrame, prompt: Prompt, earlier: Rle | None) -> FramePrediction:
        """Predict a mask from prompts. A mask prompt without other prompts is used unchanged."""
        if prompt.mask is not None and prompt.points is None and prompt.box is None:
            return FramePrediction(
                mask_to_rle(given_mask(prompt, features.area.frame_hw)), 1.0, 1.0
            )
        return self._prompting.answer(features.features, prompt, earlier)

    def begin(
        self,
        features: XMemFrame,
        at: TrackMoment,
        prediction: FramePrediction,
        known: ObjectMemory | None,
    ) -> ObjectMemory:
        soft = features.area.fill(rle_to_mask(prediction.rle).astype(np.float32))
        mask = np.asarray(soft > 0.5, np.float32)
        return self._steps.begin(features.encoded, at.frame, mask, known)

    def track(
        self, features: XMemFrame, at: TrackMoment, states: Sequence[ObjectMemory]
    ) -> list[FramePrediction]:
        found = []
        for answer in self._steps.step(features.encoded, states):
            own, rival = (
                features.area.take(one.cpu().numpy()) for one in (answer.probability, answer.rival)
            )
            mask = own > rival
            score = float(own[mask].mean() if mask.any() else own.max())
            found.append(FramePrediction(mask_to_rle(mask), score, score, answer))
        return found

    def remember(
        self,
        features: XMemFrame,
        at: TrackMoment,
        state: ObjectMemory,
        prediction: FramePrediction,
        sure: bool,
    ) -> ObjectMemory:
        return self._steps.remember(features.encoded, at.frame, prediction.soft, add=sure)

    def pack(self, state: ObjectMemory) -> StateArrays:
        from anymask_families.xmem_memory import memory_to_arrays

        return memory_to_arrays(state)

    def unpack(self, arrays: StateArrays) -> ObjectMemory:
        from anymask_families.xmem_memory import arrays_to_memory

        return arrays_to_memory(arrays, self._steps)


def open_xmem(model: Model, weights: str | Path | None = None, device: str = "auto") -> XMemTracker:
    """Load XMem as a tracker.

    Args:
        model: Image model that answers the prompts.
        weights: Checkpoint of hkchengrex/XMem. Default: the downloaded checkpoint.

    Raises:
        WeightsError: The file is missing or belongs to another network.
        MissingExtra: torch is not installed.
    """
    path = find(NAME, weights)
    import_torch()
    from anymask.runtime import load_official, read_checkpoint
    from anymask_families.xmem import WIDTH, XMem
    from anymask_families.xmem_memory import XMemSteps

    state = read_checkpoint(path)
    network = XMem(len(state[FIRST]) if FIRST in state else WIDTH).eval().requires_grad_(False)
    load_official(network, state)
    return XMemTracker(model, XMemSteps(network.to(pick_device(device))), file_hash(path), SIDE)
