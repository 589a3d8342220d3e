"""The stages of labelling (assisted, semi, auto): a photo and a model in, proposals out.

    assisted  nothing: the annotator clicks, the most prominent object first, and moves on from a
              mask that takes longer than HINT_SECONDS
    semi      confident masks are filled in; the annotator adds what is missing
    auto      a grid of clicks, filters of quality and stability, NMS, crops; people only sample

In semi and auto, masks of low quality are asked for again (`segment.retry`) before anybody sees
them: with other prompts and on crops, then of a larger model where one is handed in. Edges are put
where the photo's colours part, as in answers to clicks. Source: Segment Anything, sections 4 and 5.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from anymask.base import (
    InputError,
    Setting,
    UintImage,
    check_settings,
    describe_settings,
    list_settings,
)
from anymask.masks import Mask
from anymask.segment import Model, Retry, RetryTime, better_records, refine_record_edges
from anymask.studio.records import Draft, MaskNotes, Provenance, Stage

HINT_SECONDS = 30.0
ASK_AGAIN = 0.7  # quality below which a mask is asked for again, where the settings say nothing
LARGER_SECONDS = 30.0  # a photo for the larger model, where the settings name no retry_seconds
STAGES: dict[Stage, str] = {
    "assisted": "a person clicks, the model answers",
    "semi": "confident masks are filled in, a person adds the rest",
    "auto": "the model alone; people look at samples",
}


@describe_settings
@dataclass(frozen=True, kw_only=True)
class ProjectSettings:
    """How a project works; kept in its database. Raises InputError for values out of range."""

    confident: Annotated[
        float | None,
        Setting(
            "quality from which a mask is filled in (semi), and below which masks are asked for "
            "again",
            most=1,
            default=f"what everything finds is filled in; asked again below {ASK_AGAIN}",
        ),
    ] = None
    pred_iou_thresh: Annotated[
        float | None,
        Setting("least quality of a mask (auto)", most=1, default="the model's own"),
    ] = None
    stability_score_thresh: Annotated[
        float | None, Setting("least stability (auto)", most=1, default="the model's own")
    ] = None
    points_per_side: Annotated[int, Setting("of the grid of clicks", least=1, most=1024)] = 32
    crop_n_layers: Annotated[int, Setting("of the grid (auto)", most=6)] = 0
    min_mask_area: Annotated[int, Setting("pixels below which a mask is dropped")] = 16
    retry_seconds: Annotated[
        float, Setting("a photo, to ask again for masks of low quality; 0: never")
    ] = 0.0
    batch: Annotated[
        int, Setting("photos of a batch, which the acceptance rule looks at together", least=1)
    ] = 50
    good_iou: Annotated[
        float,
        Setting("overlap before and after review from which a mask counts as good", most=1),
    ] = 0.9
    good_share: Annotated[
        float,
        Setting("of the sampled masks that must be good before a batch is accepted", most=1),
    ] = 0.9
    sample: Annotated[
        int, Setting("masks of a batch that must have been looked at, chosen at random")
    ] = 20
    double_every: Annotated[
        int, Setting("every n-th photo is labelled by each annotator blindly; 0: none")
    ] = 0
    held_out: Annotated[float, Setting("part of the photos that training never sees", below=1)] = (
        0.2
    )

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def asked_again_below(self) -> float:
        """The quality of masks that are asked for again, where that is wanted."""
        return ASK_AGAIN if self.confident is None else self.confident

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> ProjectSettings:
        """Raises InputError for a name or a value that makes no sense."""
        known = {setting.name: setting for setting in list_settings(cls)}
        given: dict[str, Any] = {}
        for name, value in row.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                guess = f"did you mean {near[0]!r}? " if near else ""
                raise InputError(
                    f"there is no setting {name!r}; {guess}there are {', '.join(known)}"
                )
            whole = isinstance(value, float) and value.is_integer()
            given[name] = int(value) if whole and known[name].number is int else value
        return cls(**given)

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
    asked = grid_settings(stage, settings)
    if larger is None:
        found = model.everything(photo, **asked, refine_edges=True)
        return proposals_of(found, model, stage, settings)
    records = model.everything(photo, **asked, refine_edges=False)
    better = ask_larger(larger, model, photo, records, settings)
    kept = [old for old, new in zip(records, better, strict=True) if new is old]
    gained = [new for old, new in zip(records, better, strict=True) if new is not old]
    drafts = list[Draft]()
    for some, by in ((kept, model), (gained, larger)):
        refined = refine_record_edges(by.runtime, photo, some)
        drafts += proposals_of(refined, by, stage, settings)
    return sorted(drafts, key=lambda draft: -(draft.score or 0))


def ask_larger(
    larger: Model,
    model: Model,
    photo: UintImage,
    records: Sequence[Mask],
    settings: ProjectSettings,
) -> list[Mask]:
    """A photo's masks, those of low quality as the larger model sees them where that is better.

    Each mask stays the same object.
    """
    seconds = settings.retry_seconds or LARGER_SECONDS
    quality = settings.asked_again_below
    retry = Retry(seconds=seconds, quality=quality, steps=("larger",), larger=larger)
    return better_records(model.runtime, photo, records, RetryTime.start(retry))


def grid_settings(stage: Stage, settings: ProjectSettings) -> dict[str, Any]:
    """What `Model.everything` is told."""
    wanted: dict[str, Any] = {"points_per_side": settings.points_per_side}
    if stage == "auto":
        wanted["crop_n_layers"] = settings.crop_n_layers
    if settings.pred_iou_thresh is not None:
        wanted["pred_iou_thresh"] = settings.pred_iou_thresh
    if settings.stability_score_thresh is not None:
        wanted["stability_score_thresh"] = settings.stability_score_thresh
    if settings.retry_seconds:
        quality = settings.asked_again_below
        wanted["retry"] = Retry(seconds=settings.retry_seconds, quality=quality)
    return wanted


def proposals_of(
    records: Sequence[Mask], model: Model, stage: Stage, settings: ProjectSettings
) -> list[Draft]:
    """The masks that are shown to people, as proposals."""
    sure = settings.confident if stage == "semi" else None
    least = -float("inf") if sure is None else sure
    return [
        _draft(record, model, stage)
        for record in records
        if record.score >= least and record.area >= settings.min_mask_area
    ]


def _draft(record: Mask, model: Model, stage: Stage) -> Draft:
    prompt = {"points": [list(point) for point in record.points], "labels": [1]}
    return Draft(
        rle=record.rle,
        label=record.label,
        state="proposed",
        score=record.score,
        stability=record.stability,
        notes=MaskNotes(objectness=record.objectness or 0.0),
        provenance=Provenance(
            kind="model",
            model=model.name,
            model_hash=model.runtime.weights_hash,
            prompts=(prompt,),
            tool="everything",
            stage=stage,
        ),
    )
