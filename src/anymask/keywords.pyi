"""Types of keyword arguments for type checkers. There is no such module at run time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict

from numpy.typing import ArrayLike

from anymask.base import Progress
from anymask.find import Examples
from anymask.segment.prediction import Previous

class SourceDict(TypedDict, total=False):
    """Image options of `images.load_image`."""

    bgr: bool
    allow_url: bool

class EverythingDict(GridDict, MaskFilterDict, total=False):
    """Keyword arguments of `Grid` and `MaskFilter`."""

class SegmentKeywords(SegmentSettingsDict, SourceDict, total=False):
    """Keyword arguments of `Model.segment` in addition to points, box and mask."""

    scribble: ArrayLike | None
    lasso: ArrayLike | None

class TextKeywords(SegmentKeywords, total=False):
    """`SegmentKeywords`, and a text prompt with the detector that finds it."""

    text: str | None
    detector: str | Path | Detector | None

class BatchKeywords(TextKeywords, total=False):
    """`TextKeywords`, and arguments for several objects (N boxes and names) or images."""

    boxes: ArrayLike | None
    names: Sequence[str | None] | None
    previous: Previous
    on_error: Literal["raise", "return"]
    progress: Progress

class EverythingKeywords(EverythingDict, SourceDict, total=False):
    """Keyword arguments of `Model.everything` in addition to the image."""

class PartKeywords(PartSettingsDict, SourceDict, total=False):
    """Keyword arguments of `Model.parts` in addition to the image and the mask."""

class CutoutKeywords(CutoutDict, SourceDict, total=False):
    """Keyword arguments of `Model.cutout` in addition to the image, the prompt and the text."""

    like: Examples | None
    unlike: Examples | None

class FindKeywords(FindDict, SourceDict, total=False):
    """Keyword arguments of `Model.find` in addition to the image and the text."""

class VideoFindKeywords(FindKeywords, total=False):
    """Keyword arguments of `Model.find` for videos."""

    every: int
    tracking: TrackOptions

# Written by tests/house/keywords.py:

from collections.abc import Callable, Collection, Mapping

from anymask.edit.cutouts import Background
from anymask.find.grounding import Detector
from anymask.find.words import ExemplarMethod
from anymask.formats import Crowd, OnBad
from anymask.images import MaskValues
from anymask.masks import Multimask, Ranking, RegionSize
from anymask.segment.settings import (
    Granularity,
    GridPrecision,
    Level,
    Mode,
    RefineEdges,
    Structure,
    Zoom,
)
from anymask.studio.limits import Limits
from anymask.track.settings import SessionFile, TrackerSetting
from anymask.training.options import Kind, Method, Parallel, Scenes
from anymask.volumes.session import Fill, Window

class SegmentSettingsDict(TypedDict, total=False):
    multimask: Multimask
    zoom: Zoom
    mirror: bool
    granularity: Granularity
    ranking: Ranking
    max_hole_area: RegionSize
    min_island_area: RegionSize
    refine_edges: RefineEdges

class GridDict(TypedDict, total=False):
    mode: Mode
    decoder_precision: GridPrecision
    memory_limit: float
    grid: int
    points_per_batch: int | None
    score: float
    stability: float
    stability_score_offset: float
    box_nms_thresh: float
    crop_n_layers: int
    crop_nms_thresh: float
    crop_overlap_ratio: float
    crop_n_points_downscale_factor: int
    min_mask_region_area: int

class MaskFilterDict(TypedDict, total=False):
    min_objectness: float
    nms_iou: float
    max_containment: float
    min_mask_area: float
    min_island_area: RegionSize
    max_hole_area: RegionSize
    refine_edges: RefineEdges
    dominant_kind: bool
    granularity: Level
    layout: Structure

class PartSettingsDict(TypedDict, total=False):
    min_share: float
    max_parts: int
    nms_iou: float
    grid: int
    granularity: Level

class FindDict(TypedDict, total=False):
    detector: str | Path | Detector | None
    score: float | Mapping[str, float] | None
    nms_iou: float
    top_k: int | None
    side: int | None
    device: str
    method: ExemplarMethod | None

class CutoutDict(TypedDict, total=False):
    soft: bool
    background: Background
    shadow: bool
    crop: bool
    margin: int

class TrackOptions(TypedDict, total=False):
    tracker: TrackerSetting
    tracker_weights: Path | str | None
    refine_edges: bool
    session: SessionFile
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

class VolumeOptions(TypedDict, total=False):
    window: Window | None
    stop: bool
    fill: Fill
    tracker: TrackerSetting
    refine_edges: bool
    session: SessionFile

class TrainSettings(TypedDict, total=False):
    device: str
    max_minutes: float | None
    bundle: str | Path | None
    json: str | Path | None
    source: str | Path | None
    parallel: Parallel
    scenes: Scenes | None

class TuningSettings(TypedDict, total=False):
    device: str
    max_minutes: float | None
    bundle: str | Path | None
    json: str | Path | None
    weights: str | Path | None
    method: Method
    val: str | Path | None
    split: str | None
    format: str | None
    images: str | Path | None
    on_bad: OnBad
    crowd: Crowd
    mask_values: MaskValues
    accept_terms: bool
    samples: int | None
    kind: Kind
    classes: str | None
    channels: int | None
    rgb: tuple[int, ...] | None
    side: int | None
    keep: int | None
    accumulate: int | None
    lora_rank: int | None
    lora_alpha: float | None

class DistillSettings(TypedDict, total=False):
    device: str
    max_minutes: float | None
    bundle: str | Path | None
    json: str | Path | None
    teacher_weights: str | Path | None
    weights: str | Path | None
    samples: int
    side: int | None
    held_out: int | None

class AuditSettings(TypedDict, total=False):
    on_bad: OnBad
    crowd: Crowd
    mask_values: MaskValues
    format: str | None
    split: str | None
    images: str | Path | None
    limit: int | None
    below: float
    top: int
    grid: int
    proposals: str | Path | None
    to: str | None
    accept: Collection[int] | None
    grades: str | Path | None

class ServerSettings(TypedDict, total=False):
    weights: str | Path | None
    device: str
    precision: str
    runtime: str
    host: str
    port: int
    token: str
    origins: Sequence[str]
    frames: Sequence[str]
    videos: Sequence[str | Path]
    volumes: Sequence[str | Path]
    detector: str | Path | None
    memory: float
    limits: Limits
    ready: Callable[[str], None]
