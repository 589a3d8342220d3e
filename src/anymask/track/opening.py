"""Opening a session: a model, a source of frames and settings in, a `VideoSession` out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

from anymask.base import InputError
from anymask.runtime import Remembering, ThreadSharing, VideoSteps
from anymask.segment import Model
from anymask.track.frame_sampling import SampledFrames, check_same_video
from anymask.track.image_tracker import ImageTracker
from anymask.track.memory_tracker import MemoryTracker
from anymask.track.session import VideoSession
from anymask.track.settings import (
    GROUPS,
    FrameSampling,
    MemorySettings,
    MonitorSettings,
    TrackerName,
    TrackOptions,
    TrackSettings,
)
from anymask.track.sources import open_source
from anymask.track.store import SessionStore
from anymask.track.tracker import Tracker


def open_session(model: Model, source: Any, **settings: Unpack[TrackOptions]) -> VideoSession:
    """Begin to follow objects through a video, or go on with a session that was kept.

    source    a video file, a folder of pictures, a list or a generator of them, a camera's number;
              None: frames are handed to `VideoSession.step`
    settings  see `settings.TrackSettings`, `FrameSampling`, `MonitorSettings` and `MemorySettings`

    Raises InputError for settings and for a session of other frames, ModelError for a tracker that
    the model cannot be, DataError for a source or session that cannot be read, MissingExtra for a
    video file without PyAV.
    """
    known = {name: group for group in GROUPS for name in group.__dataclass_fields__}
    if strange := sorted(set(settings) - set(known)):
        raise InputError(f"settings are {', '.join(sorted(known))}; got {strange[0]!r}")
    given: dict[type, dict[str, Any]] = {group: {} for group in GROUPS}
    for name, value in settings.items():
        given[known[name]][name] = value
    track, sampling = TrackSettings(**given[TrackSettings]), FrameSampling(**given[FrameSampling])
    monitoring = MonitorSettings(**given[MonitorSettings])
    memory = MemorySettings(**given[MemorySettings])
    runtime = model.runtime
    if isinstance(runtime, ThreadSharing) and runtime.capability(VideoSteps) is None:
        # A frame is encoded while the one before it is worked on, by half the threads each:
        # threads of one call that wait for a core which another call has burn it.
        model = Model(runtime.with_threads(-(-runtime.threads // 2)))
    tracker = open_tracker(model, track.tracker, memory, track.refine_edges)
    frames = SampledFrames(open_source(source), sampling)
    store = None
    try:
        kept = None if track.session is None else Path(track.session).expanduser()
        store = SessionStore(kept)
        if kept is not None:
            check_same_video(store, frames)
        return VideoSession(tracker, frames, store, monitoring)
    except BaseException:
        frames.close()
        if store is not None:
            store.close()
        raise


def open_tracker(
    model: Model,
    name: TrackerName = "auto",
    memory: MemorySettings | None = None,
    refine_edges: bool = False,
) -> Tracker:
    """A way to follow objects with a model. Raises ModelError for a way that it does not have,
    InputError for settings of another way, and for a model of pictures that are no photos."""
    if model.spec.channels is not None:
        raise InputError(
            f"frames of a video have 3 channels, this model was tuned on pictures of "
            f"{model.spec.channels.count}; take a model of photos"
        )
    memory, steps = memory or MemorySettings(), model.runtime.capability(VideoSteps)
    reader = None if steps is not None else model.runtime.capability(Remembering)
    if name == "auto":
        name = "match" if steps is None and reader is None else "memory"
    if name == "match" or reader is not None:
        memory.check_unset("match" if name == "match" else "a network of memory")
        reader = reader if name == "memory" else None
        return ImageTracker(model, name, reader=reader, refine_edges=refine_edges)
    if refine_edges:
        raise InputError(
            f"refine_edges is for image models, {model.name} follows objects with a video "
            "model's own masks; leave it out"
        )
    return MemoryTracker(model, steps, memory)
