"""Opening a session: a model, a source of frames and settings in, a `VideoSession` out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, Unpack

from anymask.predictors.image import Model
from anymask.primitives.errors import InputError
from anymask.primitives.setting import Setting, check_settings, describe_settings
from anymask.runtimes.protocol import Remembering, ThreadSharing
from anymask.runtimes.video import VideoSteps
from anymask.video.image_tracker import ImageTracker
from anymask.video.memory_settings import NETWORK, MemorySettings
from anymask.video.memory_tracker import MemoryTracker
from anymask.video.picks import FramePicks, PickedFrames
from anymask.video.same_video import check_same_video
from anymask.video.session import VideoSession
from anymask.video.sources import open_source
from anymask.video.store import SessionStore
from anymask.video.tracker import Tracker
from anymask.video.tree_tracker import TreeTracker
from anymask.video.watch import WatchSettings

TrackerName = Literal["auto", "memory", "match", "points"]


@describe_settings
@dataclass(frozen=True, kw_only=True)
class TrackSettings:
    """How objects are followed. Raises InputError for values out of range."""

    tracker: Annotated[
        TrackerName,
        Setting(
            '"memory": a video model\'s own, or a network of memory that was trained for an image '
            'model; "match": any image model, by its encoder\'s features and optical flow; '
            '"points": any image model, by points that move with the flow; "auto": "memory" where '
            'the model has one, else "match"'
        ),
    ] = "auto"
    refine_edges: Annotated[
        bool,
        Setting(
            "the edge of each mask where the frame has it, about 25 ms a mask; for image models "
            "(a video model's masks are as they were published)"
        ),
    ] = False
    session: Annotated[
        Path | str | None,
        Setting("the file that keeps the session, to go on with it later; None: nothing is kept"),
    ] = None

    def __post_init__(self) -> None:
        check_settings(self)


class TrackDict(TypedDict, total=False):
    """The keyword arguments of `Model.track`: those of four groups of settings."""

    tracker: TrackerName
    refine_edges: bool
    session: Path | str | None
    every: int
    fps: float | None
    start: int
    end: int | None
    least_score: float
    area_jump: float
    lost_after: int
    write_unsure: bool
    least_quality: float
    fill_gaps: bool
    memory_stride: int | None
    distinct_frames: int
    pool_memory: int
    paths: int
    long_memory: int


GROUPS = (TrackSettings, FramePicks, WatchSettings, MemorySettings)


def open_session(model: Model, source: Any, **settings: Unpack[TrackDict]) -> VideoSession:
    """Begin to follow objects through a video, or go on with a session that was kept.

    source    a video file, a folder of pictures, a list or a generator of them, a camera's number;
              None: frames are handed to `VideoSession.step`
    settings  see `TrackSettings`, `picks.FramePicks`, `watch.WatchSettings` and
              `memory_settings.MemorySettings`

    Raises InputError for settings and for a session of other frames, ModelError for a tracker that
    the model cannot be, DataError for a source or session that cannot be read, MissingExtra for a
    video file without PyAV.
    """
    track, picks, watching, memory = _divided(dict(settings))
    tracker = open_tracker(_for_two_stages(model), track.tracker, memory, track.refine_edges)
    frames = PickedFrames(open_source(source), picks)
    try:
        return VideoSession(tracker, frames, _open_store(track.session, frames), watching)
    except BaseException:
        frames.close()
        raise


def _open_store(session: Path | str | None, frames: PickedFrames) -> SessionStore:
    """The session's file, which is of these frames."""
    if session is None:
        return SessionStore(None)
    store = SessionStore(Path(session).expanduser())
    try:
        check_same_video(store, frames)
    except BaseException:
        store.close()
        raise
    return store


def _for_two_stages(model: Model) -> Model:
    """The model with half its threads a call: a frame is encoded while the one before it is worked
    on (`lookout`). Threads of one call that wait for a core which another call has burn it."""
    runtime = model.runtime
    if not isinstance(runtime, ThreadSharing) or runtime.capability(VideoSteps) is not None:
        return model
    return Model(runtime.with_threads(-(-runtime.threads // 2)))


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
    if name == "memory" and reader is not None:
        memory.check_tracker(NETWORK)
        return ImageTracker(model, "memory", reader=reader, refine_edges=refine_edges)
    memory.check_tracker(name)
    if name == "memory":
        if refine_edges:
            raise InputError(
                f"refine_edges is for image models, {model.name} follows objects with a video "
                "model's own masks; leave it out"
            )
        return (MemoryTracker if memory.paths == 1 else TreeTracker)(model, steps, memory)
    return ImageTracker(model, name, long_memory=memory.long_memory, refine_edges=refine_edges)


def _divided(
    given: dict[str, Any],
) -> tuple[TrackSettings, FramePicks, WatchSettings, MemorySettings]:
    known = {name for group in GROUPS for name in group.__dataclass_fields__}
    strange = sorted(set(given) - known)
    if strange:
        raise InputError(f"settings are {', '.join(sorted(known))}; got {strange[0]!r}")
    track, picks, watching, memory = (
        {name: value for name, value in given.items() if name in group.__dataclass_fields__}
        for group in GROUPS
    )
    return (
        TrackSettings(**track), FramePicks(**picks), WatchSettings(**watching),
        MemorySettings(**memory),
    )  # fmt: skip
