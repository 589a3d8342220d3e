"""The three stages of the data engine: what the model does before a person looks.

    assisted  nothing: the annotator clicks, the most prominent object first, and moves on from a
              mask that takes longer than HINT_SECONDS
    semi      confident masks are filled in; the annotator adds what is missing
    auto      a grid of clicks, filters of quality and stability, NMS, crops; people only sample

In semi and auto, masks of low quality are asked for again (`predictors.retry`) before anybody sees
them: with other prompts and on crops, then of a larger model where one is handed in. Source:
Segment Anything, sections 4 and 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from anymask.engine.entries import Draft, Provenance, Stage
from anymask.predictors.image import Model
from anymask.predictors.large import better_records
from anymask.predictors.question import RetryTime
from anymask.predictors.settings import Retry
from anymask.primitives.errors import InputError
from anymask.primitives.records import MaskRecord
from anymask.primitives.types import UintImage

HINT_SECONDS = 30.0
LARGER_SECONDS = 30.0  # a photo for the larger model, where the settings name no retry_seconds
STAGES: dict[Stage, str] = {
    "assisted": "a person clicks, the model answers",
    "semi": "confident masks are filled in, a person adds the rest",
    "auto": "the model alone; people look at samples",
}


@dataclass(frozen=True, kw_only=True)
class ProjectSettings:
    """How a project works; kept in its database.

    confident         quality from which a mask is filled in (semi)
    quality           least quality of a mask (auto); None: the model's own default
    stability         least stability (auto); None: the model's own default
    points_per_side   of the grid of clicks
    crop_layers       of the grid (auto)
    min_area          pixels below which a mask is dropped
    retry_seconds     a photo, to ask again for masks of low quality; 0: never
    batch             photos of a batch, which the acceptance rule looks at together
    good_iou          overlap before and after review from which a mask counts as good
    good_share        of the sampled masks that must be good before a batch is accepted
    sample            masks of a batch that must have been looked at, chosen at random
    double_every      every n-th photo is labelled by each annotator blindly; 0: none
    held_out          part of the photos that training never sees
    """

    confident: float = 0.7
    quality: float | None = None
    stability: float | None = None
    points_per_side: int = 32
    crop_layers: int = 0
    min_area: int = 16
    retry_seconds: float = 0.0
    batch: int = 50
    good_iou: float = 0.9
    good_share: float = 0.9
    sample: int = 20
    double_every: int = 0
    held_out: float = 0.2

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> ProjectSettings:
        """Raises InputError for a name or a value that makes no sense."""
        kinds = {field.name: field for field in fields(cls)}
        for name, value in row.items():
            if name not in kinds:
                raise InputError(f"there is no setting {name!r}; there are {', '.join(kinds)}")
            empty = value is None and kinds[name].default is None
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not empty and not (number and value >= 0):
                raise InputError(f"{name} must be a number, 0 or more, got {value!r}")
        settings = cls(**row)
        if not settings.batch or not settings.points_per_side:
            raise InputError("batch and points_per_side must be at least 1, got 0")
        return settings

    def to_json(self) -> dict[str, Any]:
        """All of them."""
        return asdict(self)


def propose(
    model: Model,
    photo: UintImage,
    stage: Stage,
    settings: ProjectSettings,
    larger: Model | None = None,
) -> list[Draft]:
    """The model's masks of a photo as proposals, the best first; none in the stage assisted.

    larger  is asked for the masks that are still of low quality
    """
    if stage not in ("semi", "auto"):
        return []
    records = model.everything(photo, **grid_settings(stage, settings))
    if larger is None:
        return proposals_of(records, model, stage, settings)
    better = ask_larger(larger, model, photo, records, settings)
    kept = [old for old, new in zip(records, better, strict=True) if new is old]
    gained = [new for old, new in zip(records, better, strict=True) if new is not old]
    drafts = proposals_of(kept, model, stage, settings)
    drafts += proposals_of(gained, larger, stage, settings)
    return sorted(drafts, key=lambda draft: -(draft.quality or 0))


def ask_larger(
    larger: Model,
    model: Model,
    photo: UintImage,
    records: Sequence[MaskRecord],
    settings: ProjectSettings,
) -> list[MaskRecord]:
    """A photo's masks, those of low quality as the larger model sees them where that is better.

    Each mask stays the same object.
    """
    seconds = settings.retry_seconds or LARGER_SECONDS
    retry = Retry(seconds=seconds, quality=settings.confident, steps=("larger",), larger=larger)
    return better_records(model.runtime, photo, records, RetryTime.start(retry))


def grid_settings(stage: Stage, settings: ProjectSettings) -> dict[str, Any]:
    """What `Model.everything` is told."""
    wanted: dict[str, Any] = {"points_per_side": settings.points_per_side}
    if stage == "auto":
        wanted["crop_n_layers"] = settings.crop_layers
    if settings.quality is not None:
        wanted["pred_iou_thresh"] = settings.quality
    if settings.stability is not None:
        wanted["stability_score_thresh"] = settings.stability
    if settings.retry_seconds:
        wanted["retry"] = Retry(seconds=settings.retry_seconds, quality=settings.confident)
    return wanted


def proposals_of(
    records: Sequence[MaskRecord], model: Model, stage: Stage, settings: ProjectSettings
) -> list[Draft]:
    """The masks that are shown to people, as proposals."""
    least = settings.confident if stage == "semi" else -float("inf")
    return [
        _draft(record, model, stage)
        for record in records
        if record.quality >= least and record.area >= settings.min_area
    ]


def _draft(record: MaskRecord, model: Model, stage: Stage) -> Draft:
    prompt = {"points": [list(point) for point in record.points], "labels": [1]}
    return Draft(
        rle=record.rle,
        label=record.label,
        status="proposal",
        quality=record.quality,
        stability=record.stability,
        provenance=Provenance(
            kind="model",
            model=model.name,
            model_hash=model.runtime.weights_hash,
            prompts=(prompt,),
            tool="everything",
            stage=stage,
        ),
    )
