"""Settings of tracking: how objects are followed, which masks are doubted, what is remembered.

Sources of the ideas behind `MemorySettings`: Ding et al. 2024 (SAM2Long, arXiv:2410.16268); Yang
et al. 2024 (SAMURAI, arXiv:2411.11922); Videnovic et al. 2024 (DAM4SAM, arXiv:2411.17576). What is
left out of each is said where it is computed: `models/rules/memory`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal, TypedDict

from anymask.base import InputError, Setting, check_settings, describe_settings
from anymask.runtime import MemoryChoice

TrackerName = Literal["auto", "memory", "match"]
TrackerSetting = Annotated[
    TrackerName,
    Setting(
        '"memory": the memory of a video model, or a memory network trained for an image model; '
        '"match": feature matching and optical flow, for every image model; "auto": "memory" if '
        'the model has one, else "match"'
    ),
]
SessionFile = Annotated[
    Path | str | None,
    Setting("file that stores the session, so that it can be resumed", default="none"),
]


@describe_settings
@dataclass(frozen=True, kw_only=True)
class TrackSettings:
    """How objects are followed. Raises InputError for values out of range."""

    tracker: TrackerSetting = "auto"
    refine_edges: Annotated[
        bool,
        Setting(
            "the edge of each mask where the frame has it, about 25 ms a mask; for image models "
            "(a video model's masks are as they were published)"
        ),
    ] = False
    session: SessionFile = None

    def __post_init__(self) -> None:
        check_settings(self)


@describe_settings
@dataclass(frozen=True, kw_only=True)
class FrameSampling:
    """The frames of a source that count. Raises InputError for values out of range."""

    every: Annotated[int, Setting("look at every n-th frame", least=1)] = 1
    fps: Annotated[
        float | None,
        Setting("look at so many frames a second of the video, by their times", above=0),
    ] = None
    start: Annotated[
        int, Setting("the first frame of the source, counted from 0", least=0, unit="frame")
    ] = 0
    end: Annotated[
        int | None,
        Setting("the frame of the source to stop before; None: to its end", least=1, unit="frame"),
    ] = None

    def __post_init__(self) -> None:
        check_settings(self)
        if self.fps is not None and self.every != 1:
            raise InputError(f"give every ({self.every}) or fps ({self.fps:g}), not both")
        if self.end is not None and self.end <= self.start:
            raise InputError(f"end ({self.end}) must be behind start ({self.start})")


@describe_settings
@dataclass(frozen=True, kw_only=True)
class MonitorSettings:
    """When a mask is doubted. Raises InputError for values out of range."""

    least_score: Annotated[
        float, Setting("a prediction below this score, 0 to 1, is doubted", least=0, most=1)
    ] = 0.5
    least_agreement: Annotated[
        float,
        Setting(
            "a mask is unclear whose IoU with what remembered looks and motion say is lower, 0 to "
            "1; 0: none is",
            least=0,
            most=1,
        ),
    ] = 0.7
    area_jump: Annotated[
        float, Setting("so many times larger or smaller than lately is doubted", least=1)
    ] = 2.5
    lost_after: Annotated[
        int, Setting("frames without the object until it is lost", least=1, unit="frames")
    ] = 15
    write_unsure: Annotated[
        bool, Setting("learn from doubted frames, too, as the models were published")
    ] = False

    def __post_init__(self) -> None:
        check_settings(self)


@describe_settings
@dataclass(frozen=True, kw_only=True)
class MemorySettings:
    """What a video model keeps in mind. Raises InputError for values out of range.

    The defaults are the published models' own way.
    """

    least_quality: Annotated[
        float,
        Setting(
            '"memory": a mask of a lower predicted IoU is not remembered (SAM2Long: 0.3, SAMURAI: '
            "0.5)", least=0, most=1,
        ),
    ] = 0.0  # fmt: skip
    fill_gaps: Annotated[
        bool,
        Setting(
            '"memory": where frames were not remembered, older ones are read in their place '
            "(SAM2Long, SAMURAI)"
        ),
    ] = False
    memory_stride: Annotated[
        int | None,
        Setting(
            '"memory": of the frames before the last one, every n-th is read (DAM4SAM: 5); None: '
            "as the model was published", least=1,
        ),
    ] = None  # fmt: skip
    pool_memory: Annotated[
        int,
        Setting(
            '"memory" of SAM 2 and EfficientTAM on torch: memories are read in squares of so many '
            "cells a side, which is faster and not quite the same (EfficientTAM)", least=1, most=4,
        ),
    ] = 1  # fmt: skip

    def __post_init__(self) -> None:
        check_settings(self)
        if self.pool_memory == 3:
            raise InputError("pool_memory must be 1, 2 or 4, got 3; take 2")

    def check_unset(self, tracker: str) -> None:
        """Raises InputError where anything is set, for a tracker without a video model's memory."""
        for one in fields(self):
            if getattr(self, one.name) != one.default:
                raise InputError(
                    f"{one.name} is a setting of a video model's memory, this tracker is "
                    f"{tracker!r}; leave it out"
                )

    def choice(self) -> MemoryChoice:
        """What of it the model's steps have to know."""
        return MemoryChoice(
            stride=self.memory_stride, pool=self.pool_memory, fill_gaps=self.fill_gaps
        )


class TrackOptions(TypedDict, total=False):
    """The keyword arguments of `Model.track`: those of four groups of settings."""

    tracker: TrackerName
    refine_edges: bool
    session: Path | str | None
    every: int
    fps: float | None
    start: int
    end: int | None
    least_score: float
    least_agreement: float
    area_jump: float
    lost_after: int
    write_unsure: bool
    least_quality: float
    fill_gaps: bool
    memory_stride: int | None
    pool_memory: int


GROUPS = (TrackSettings, FrameSampling, MonitorSettings, MemorySettings)
