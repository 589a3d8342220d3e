"""Tracking settings: tracker, frame sampling, plausibility checks and memory.

Sources of the ideas behind `MemorySettings`: Ding et al. 2024 (SAM2Long, arXiv:2410.16268); Yang
et al. 2024 (SAMURAI, arXiv:2411.11922); Videnovic et al. 2024 (DAM4SAM, arXiv:2411.17576).
`models/rules/memory` describes the deviations.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from anymask.base import InputError, Setting, describe_settings, installed_plugins, load_plugin
from anymask.runtime import MemoryChoice

TRACKERS = ("auto", "memory", "match", "points")  # plug-ins add others


def check_tracker(name: object) -> None:
    """Raise InputError if no tracker has this name, MissingPlugin if a plug-in adds it."""
    if isinstance(name, str) and (name in TRACKERS or load_plugin("trackers", name) is not None):
        return
    known = ", ".join((*TRACKERS, *installed_plugins("trackers")))
    raise InputError(f"Unknown tracker {str(name)[:60]!r}. Choose from: {known}.")


TrackerSetting = Annotated[
    str,
    Setting(
        'how objects are tracked. "memory" uses the memory of a video model, or the memory network '
        'trained for an image model. "match" uses feature matching and optical flow, with any '
        'image model. "points" prompts the image model with points that optical flow tracks '
        '(SAM-PT). "xmem" uses the weights of XMem, with any image model for the prompts; it '
        "requires the plug-in anymask-families. "
        '"auto" uses "memory" if the model has one, else "match"',
        check=check_tracker,
        metavar="|".join((*TRACKERS, "NAME")),
    ),
]
SessionFile = Annotated[
    Path | str | None,
    Setting("file that stores the session, so that it can be resumed", default="none"),
]


@describe_settings
@dataclass(frozen=True, kw_only=True)
class TrackSettings:
    """Tracker settings. Raises InputError if a value is out of range."""

    tracker: TrackerSetting = "auto"
    tracker_weights: Annotated[
        Path | str | None,
        Setting('weights file for tracker "xmem"', default="the file of: anymask models get xmem"),
    ] = None
    refine_edges: Annotated[
        bool,
        Setting(
            "refine the mask edges of every frame, which takes about 25 ms per mask; "
            "for image models only"
        ),
    ] = False
    session: SessionFile = None

    def __post_init__(self) -> None:
        if self.tracker_weights is not None and self.tracker in TRACKERS:
            raise InputError(
                f"Option tracker_weights requires tracker 'xmem', but the tracker is "
                f"{self.tracker!r}. Set tracker to 'xmem', or omit tracker_weights."
            )


@describe_settings
@dataclass(frozen=True, kw_only=True)
class FrameSampling:
    """Selection of source frames. Raises InputError if a value is out of range."""

    every: Annotated[int, Setting("use every n-th frame", ge=1)] = 1
    fps: Annotated[float | None, Setting("use this many frames per second", gt=0)] = None
    start: Annotated[int, Setting("first frame to use, counted from 0", ge=0, unit="frame")] = 0
    end: Annotated[
        int | None, Setting("frame to stop before", ge=1, unit="frame", default="after the last")
    ] = None

    def __post_init__(self) -> None:
        if self.fps is not None and self.every != 1:
            raise InputError(
                f"Options every ({self.every}) and fps ({self.fps:g}) cannot be combined."
            )
        if self.end is not None and self.end <= self.start:
            raise InputError(
                f"Invalid range: end ({self.end}) must be greater than start ({self.start})."
            )


@describe_settings
@dataclass(frozen=True, kw_only=True)
class MonitorSettings:
    """Thresholds of low-confidence masks. Raises InputError if a value is out of range."""

    least_score: Annotated[
        float, Setting("predictions with a score below this have low confidence", ge=0, le=1)
    ] = 0.5
    least_agreement: Annotated[
        float,
        Setting(
            "predictions have low confidence if their IoU with the mask expected from appearance "
            "and motion is below this; 0: never",
            ge=0,
            le=1,
        ),
    ] = 0.7
    area_jump: Annotated[
        float,
        Setting(
            "predictions have low confidence if their area changes by more than this factor", ge=1
        ),
    ] = 2.5
    lost_after: Annotated[
        int,
        Setting(
            "number of frames without the object after which it counts as lost", ge=1, unit="frames"
        ),
    ] = 15
    write_unsure: Annotated[
        bool, Setting("add low-confidence frames to the memory, as in the published models")
    ] = False


@describe_settings
@dataclass(frozen=True, kw_only=True)
class MemorySettings:
    """Memory settings of video models. Raises InputError if a value is out of range.

    The defaults are those of the published models.
    """

    least_quality: Annotated[
        float,
        Setting(
            ("for tracker \"memory\": masks with a predicted IoU below this are not "
             "added to the memory (SAM2Long: 0.3, SAMURAI: 0.5)"), ge=0, le=1,
        ),
    ] = 0.0  # fmt: skip
    fill_gaps: Annotated[
        bool,
        Setting(
            'for tracker "memory": read older frames in place of frames that were not '
            "added to the memory (SAM2Long, SAMURAI)"
        ),
    ] = False
    memory_stride: Annotated[
        int | None,
        Setting(
            ("for tracker \"memory\": read only every n-th of the frames before the last "
             "one (DAM4SAM: 5); None: as published"), ge=1,
        ),
    ] = None  # fmt: skip
    pool_memory: Annotated[
        int,
        Setting(
            ("for tracker \"memory\" with SAM 2 or EfficientTAM in PyTorch: pool the "
             "memory in squares of this many cells per side, which is faster and "
             "slightly less accurate (EfficientTAM)"),
            ge=1, le=4,
        ),
    ] = 1  # fmt: skip

    def __post_init__(self) -> None:
        if self.pool_memory == 3:
            raise InputError("Invalid pool_memory 3. Use 1, 2 or 4.")

    def check_unset(self, tracker: str) -> None:
        """Raise InputError if an option is set, for a tracker without a video memory."""
        for field in fields(self):
            if getattr(self, field.name) != field.default:
                raise InputError(
                    f"Option {field.name} requires a video model, but this tracker is "
                    f"{tracker!r}. Omit the option."
                )

    def choice(self) -> MemoryChoice:
        """Options that the model's video steps require."""
        return MemoryChoice(
            stride=self.memory_stride, pool=self.pool_memory, fill_gaps=self.fill_gaps
        )


GROUPS = (TrackSettings, FrameSampling, MonitorSettings, MemorySettings)
