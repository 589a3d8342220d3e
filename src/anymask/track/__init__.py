"""Objects followed through a video: sources of frames, trackers, sessions and outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anymask.base import lazy_names

if TYPE_CHECKING:
    from anymask.track.files import FilePrompt, TrackFiles, track_files
    from anymask.track.flow import reduce_frame
    from anymask.track.frame_sampling import SampledFrames, frame_numbering
    from anymask.track.image_tracker import (
        KNOWN,
        RECENT_FRAMES,
        FrameEncoder,
        ImageTracker,
        frame_maps,
        from_plane,
        soft_to_parts,
        to_plane,
    )
    from anymask.track.match_state import MatchState
    from anymask.track.matching import GRID
    from anymask.track.monitor import TrackMonitor, check_prompted, check_tracked
    from anymask.track.opening import open_session, open_tracker
    from anymask.track.outputs import (
        CocoWriter,
        FilmWriter,
        LineWriter,
        MaskWriter,
        PaletteWriter,
        Picture,
        SavWriter,
        VideoFacts,
        frame_to_json,
        object_to_json,
    )
    from anymask.track.records import Direction, ObjectMask, TrackedFrame
    from anymask.track.session import FRAMES, SECONDS, Autosave, FramePrefetcher, VideoSession
    from anymask.track.settings import (
        GROUPS,
        FrameSampling,
        MemorySettings,
        MonitorSettings,
        TrackOptions,
        TrackSettings,
    )
    from anymask.track.sources import (
        FrameSource,
        FrameStream,
        natural_order,
        open_source,
        read_facts,
    )
    from anymask.track.store import SessionStore
    from anymask.track.tracker import TrackMoment

__all__ = [
    "FRAMES",
    "GRID",
    "GROUPS",
    "KNOWN",
    "RECENT_FRAMES",
    "SECONDS",
    "Autosave",
    "CocoWriter",
    "Direction",
    "FilePrompt",
    "FilmWriter",
    "FrameEncoder",
    "FramePrefetcher",
    "FrameSampling",
    "FrameSource",
    "FrameStream",
    "ImageTracker",
    "LineWriter",
    "MaskWriter",
    "MatchState",
    "MemorySettings",
    "MonitorSettings",
    "ObjectMask",
    "PaletteWriter",
    "Picture",
    "SampledFrames",
    "SavWriter",
    "SessionStore",
    "TrackFiles",
    "TrackMoment",
    "TrackMonitor",
    "TrackOptions",
    "TrackSettings",
    "TrackedFrame",
    "VideoFacts",
    "VideoSession",
    "check_prompted",
    "check_tracked",
    "frame_maps",
    "frame_numbering",
    "frame_to_json",
    "from_plane",
    "natural_order",
    "object_to_json",
    "open_session",
    "open_source",
    "open_tracker",
    "read_facts",
    "reduce_frame",
    "soft_to_parts",
    "to_plane",
    "track_files",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "files": (
                "FilePrompt",
                "TrackFiles",
                "track_files",
            ),
            "flow": ("reduce_frame",),
            "frame_sampling": (
                "SampledFrames",
                "frame_numbering",
            ),
            "image_tracker": (
                "FrameEncoder",
                "ImageTracker",
                "KNOWN",
                "RECENT_FRAMES",
                "frame_maps",
                "from_plane",
                "soft_to_parts",
                "to_plane",
            ),
            "match_state": ("MatchState",),
            "matching": ("GRID",),
            "monitor": (
                "TrackMonitor",
                "check_prompted",
                "check_tracked",
            ),
            "opening": (
                "open_session",
                "open_tracker",
            ),
            "outputs": (
                "CocoWriter",
                "FilmWriter",
                "LineWriter",
                "MaskWriter",
                "PaletteWriter",
                "Picture",
                "SavWriter",
                "VideoFacts",
                "frame_to_json",
                "object_to_json",
            ),
            "records": (
                "Direction",
                "ObjectMask",
                "TrackedFrame",
            ),
            "session": (
                "Autosave",
                "FRAMES",
                "FramePrefetcher",
                "SECONDS",
                "VideoSession",
            ),
            "settings": (
                "FrameSampling",
                "GROUPS",
                "MemorySettings",
                "MonitorSettings",
                "TrackOptions",
                "TrackSettings",
            ),
            "sources": (
                "FrameSource",
                "FrameStream",
                "natural_order",
                "open_source",
                "read_facts",
            ),
            "store": ("SessionStore",),
            "tracker": ("TrackMoment",),
        },
    )
