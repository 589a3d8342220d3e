"""Choice of the model and the tracker of a session."""

from __future__ import annotations

import logging
from pathlib import Path

from anymask.base import InputError, load_plugin
from anymask.models.rules import BUNDLED_MODELS, DEFAULT_VIDEO_MODEL
from anymask.runtime import (
    ASSETS,
    Remembering,
    ThreadSharing,
    VideoSteps,
    open_runtime,
    read_manifest,
)
from anymask.segment import Model
from anymask.track.image_tracker import ImageTracker
from anymask.track.memory_tracker import MemoryTracker
from anymask.track.records import Tracker
from anymask.track.settings import TRACKERS, MemorySettings, check_tracker

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
        ):
            return model
        if runtime.weights_hash != read_manifest(ASSETS / family).weights_hash:
            return model  # fine-tuned weights may support objects that the default model does not
        LOG.info(
            "Tracking with %s, because %s does not support video memory.",
            DEFAULT_VIDEO_MODEL,
            model.name,
        )
    opened = open_runtime(named or DEFAULT_VIDEO_MODEL)
    if isinstance(opened, ThreadSharing) and isinstance(runtime, ThreadSharing):
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
        opened: Tracker = load_plugin("trackers", name)(model, weights)
        return opened
    if name == "points":
        memory.check_unset(name)
        from anymask.track.point_tracker import PointTracker

        return PointTracker(model, refine_edges)
    steps = model.runtime.capability(VideoSteps)
    reader = None if steps is not None else model.runtime.capability(Remembering)
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
