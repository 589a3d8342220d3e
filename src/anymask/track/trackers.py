"""Choice of the model and the tracker of a session."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from anymask.base import InputError, ModelError, UintImage, load_plugin
from anymask.masks import (
    CORNERS,
    Geometry,
    Prompt,
    Rle,
    geometry,
    image_to_model,
    logits_to_rles,
    mask_to_model,
    points_to_model,
    rle_to_mask,
)
from anymask.models.rules import BUNDLED_MODELS, DEFAULT_VIDEO_MODEL, check_prompt
from anymask.runtime import ASSETS, VideoOutput, VideoRuntime, open_runtime, read_manifest
from anymask.segment import Model
from anymask.track.image_tracker import ImageTracker
from anymask.track.records import FramePrediction, StateArrays, Tracker, TrackMoment
from anymask.track.settings import TRACKERS, MemorySettings, check_tracker


@dataclass(frozen=True, eq=False)
class FrameHandle:
    """Handle of an encoded frame, and its geometry in model space."""

    handle: Any
    where: Geometry


class MemoryTracker:
    """Track objects with the memory of a video model.

    Raises:
        ModelError: The model is not a video model.
    """

    def __init__(
        self, model: Model, steps: VideoRuntime | None, memory: MemorySettings | None = None
    ) -> None:
        if steps is None:
            raise ModelError(
                f"{model.name} does not support tracker='memory'. Use a video model (SAM 2, "
                "EdgeTAM, EfficientTAM with PyTorch), a model with a memory network, or "
                "tracker='match'."
            )
        self.name = f"memory:{model.name}:{model.runtime.weights_hash[:16]}"
        self.memory = memory or MemorySettings()
        self.model, self._steps = model, steps.choosing(self.memory.choice())

    def encode_frame(self, image: UintImage, gray: UintImage) -> FrameHandle:
        """Encode a frame, resized as in the original code of the model families."""
        spec = replace(self.model.spec, resample="pillow_bicubic")
        where = geometry((image.shape[0], image.shape[1]), spec)
        return FrameHandle(self._steps.encode_frame(image_to_model(image, spec)), where)

    def answer(self, features: FrameHandle, prompt: Prompt, earlier: Rle | None) -> FramePrediction:
        """Predict a mask from prompts. A mask prompt without other prompts is used unchanged."""
        spec = self.model.spec
        prompt = check_prompt(prompt, features.where.image_hw, spec)
        if prompt.points is None and prompt.box is None and prompt.mask is not None:
            sides = mask_to_model(prompt.mask, features.where, spec.image_side)[0]
            return self._predictions(
                features, self._steps.answer_mask(features.handle, (sides > 0).astype(np.float32))
            )[0]
        before = None if earlier is None or prompt.box is not None else rle_to_mask(earlier)
        mask = before if prompt.mask is None else prompt.mask
        logits = None if mask is None else mask_to_model(mask, features.where, spec.mask_side)[0]
        coords, labels = np.zeros((0, 2), np.float32), np.zeros(0, np.int64)
        if prompt.box is not None:
            coords, labels = prompt.box.reshape(2, 2), np.array(CORNERS)
        if prompt.points is not None and prompt.labels is not None:
            coords = np.concatenate([coords, prompt.points])
            labels = np.concatenate([labels, prompt.labels])
        placed = points_to_model(coords, features.where)
        outputs = self._steps.answer_points(features.handle, placed, labels, logits)
        return replace(self._predictions(features, outputs)[0], score=1.0)

    def begin(
        self, features: FrameHandle, at: TrackMoment, prediction: FramePrediction, known: Any | None
    ) -> Any:
        moment = (at.frame, at.backward)
        return self._steps.remember(features.handle, known, prediction.soft, moment, True)

    def track(
        self, features: FrameHandle, at: TrackMoment, states: Sequence[Any]
    ) -> list[FramePrediction]:
        outputs = self._steps.step_video(features.handle, states, at.frame, at.backward)
        return self._predictions(features, outputs)

    def remember(
        self,
        features: FrameHandle,
        at: TrackMoment,
        state: Any,
        prediction: FramePrediction,
        sure: bool,
    ) -> Any:
        if not sure or prediction.quality < self.memory.least_quality:
            return state
        moment = (at.frame, at.backward)
        return self._steps.remember(features.handle, state, prediction.soft, moment, False)

    def pack(self, state: Any) -> StateArrays:
        return self._steps.bank_to_arrays(state)

    def unpack(self, arrays: StateArrays) -> Any:
        return self._steps.arrays_to_bank(arrays)

    def _predictions(self, features: FrameHandle, outputs: VideoOutput) -> list[FramePrediction]:
        rles = logits_to_rles(outputs.logits, features.where, self.model.spec.mask_threshold)
        scores = 1 / (1 + np.exp(-outputs.score.clip(-30, 30)))
        columns = rles, scores.tolist(), outputs.quality.tolist(), outputs.handles
        return [FramePrediction(*row) for row in zip(*columns, strict=True)]


LOG = logging.getLogger("anymask.track.session")


def tracking_model(model: Model, named: Model | str | None = None, tracker: str = "auto") -> Model:
    """Return the model that tracks: this model, or for larger bundled ones the default tracker.

    Args:
        named: Loaded model or model name to use instead.
        tracker: With "points" or the tracker of a plug-in, this model answers the prompts.
    """
    if isinstance(named, Model):
        return named
    family, runtime = model.spec.family, model.runtime
    if named is None:
        if (
            tracker not in ("auto", "memory", "match")
            or family == DEFAULT_VIDEO_MODEL
            or family not in BUNDLED_MODELS
            # Fine-tuned weights may support objects that the default model does not.
            or runtime.weights_hash != read_manifest(ASSETS / family).weights_hash
        ):
            return model
        LOG.info(
            "Tracking with %s, because %s does not support video memory.",
            DEFAULT_VIDEO_MODEL,
            model.name,
        )
    opened = open_runtime(named or DEFAULT_VIDEO_MODEL)
    if runtime.threads:
        opened = opened.with_threads(runtime.threads)
    return Model(opened)


def open_tracker(
    model: Model,
    name: str = "auto",
    memory: MemorySettings | None = None,
    refine_edges: bool = False,
    weights: str | Path | None = None,
) -> Tracker:
    """Create a tracker for a model.

    Args:
        weights: Weights file for the tracker of a plug-in.

    Raises:
        ModelError: The model does not support this tracker.
        InputError: The tracker is unknown, a setting does not apply to it, or the model is not
            for RGB images.
        WeightsError: Weights of the tracker are missing or invalid.
        MissingPlugin: The plug-in of the tracker is not installed.
    """
    if model.spec.channels is not None:
        raise InputError(
            f"This model was fine-tuned on images with {model.spec.channels.count} "
            "channels, but video frames have 3. Use a model for RGB images."
        )
    check_tracker(name)
    memory = memory or MemorySettings()
    if name not in TRACKERS:
        memory.check_unset(name)
        if refine_edges:
            raise InputError(
                f"Option refine_edges does not apply to tracker {name!r}. Omit it, or use tracker "
                "'match' or 'memory' with an image model."
            )
        return load_plugin("trackers", name)(model, weights)
    if name == "points":
        memory.check_unset(name)
        from anymask.track.point_tracker import PointTracker

        return PointTracker(model, refine_edges)
    steps = model.runtime.video
    reader = None if steps is not None else model.runtime.read_memory
    if name == "auto":
        name = "match" if steps is None and reader is None else "memory"
    if name == "match":
        memory.check_unset(name)
        return ImageTracker(model, "match", refine_edges=refine_edges)
    if reader is not None:
        memory.check_unset("a memory network")
        return ImageTracker(model, "memory", reader=reader, refine_edges=refine_edges)
    if refine_edges:
        raise InputError(
            f"Option refine_edges requires an image model, but {model.name} is a video model. "
            "Omit it."
        )
    return MemoryTracker(model, steps, memory)
