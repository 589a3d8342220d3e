"""An answer of low quality, asked for again in other ways for as long as there is time.

The model's own estimate of the quality says when, and which answer stays; so an answer never gets a
lower estimate by asking again. That is no proof: of many answers the best estimate is also the
luckiest. docs/prompts.md says what asking again is worth.

    zoom    a window around the object (`zoom`); needs the photo, one encoding
    tile    a window of half the photo around the object; needs the photo, one encoding
    larger  another model, where one is handed in; needs the photo
    shift   the clicks moved a little, the box a little larger and smaller; costs decodings only,
            and as the best of several like answers is mostly lucky, it must be better by `LUCK`

An answer counts only if it honours as many of the user's own clicks as the one that it replaces and
overlaps it with an IoU of at least `AGREED`: it must be the same object. Time is looked at between
two attempts; one that has begun is finished.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from anymask.predictors.decoding import Settings, decode_prompts, embed_image, with_masks
from anymask.predictors.honour import violated
from anymask.predictors.prompts import kinds
from anymask.predictors.seen_once import SeenOnce
from anymask.predictors.zoom import MIN_SIDE, closer_window, decode_in_window, object_box, restated
from anymask.primitives.errors import InputError
from anymask.primitives.masks import mask_iou, stability_score
from anymask.primitives.records import STABILITY_OFFSET, MaskRecord, record_from_rle
from anymask.primitives.rle import mask_to_rle, rle_to_mask
from anymask.primitives.types import BoolArray, Candidates, Embedding, FloatArray, Prompt, UintImage
from anymask.runtimes.protocol import ImageRuntime

if TYPE_CHECKING:
    from anymask.predictors.image import Model

Step = Literal["shift", "zoom", "tile", "larger"]

STEPS: tuple[Step, ...] = ("zoom", "tile", "larger", "shift")
SHIFT = 0.12  # of the root of the object's area: how far clicks are moved
SHIFTS = ((1, 0), (-1, 0), (0, 1), (0, -1))
GROWN = (0.05, -0.05, 0.1)  # of the box's sides: how far each is moved outwards
LUCK = 0.1  # of quality, that the answer to a shifted prompt must gain
AGREED = 0.5  # IoU with the answer that is to be replaced


@dataclass(frozen=True, kw_only=True)
class Retry:
    """When and how long to ask again.

    seconds  for one call, however many prompts or masks it is about
    quality  answers of at least this quality are left alone
    steps    which ways, in this order
    larger   a model for the step "larger"; its quality is compared as it is
    clock    tells the time in seconds

    Raises InputError for values out of range.
    """

    seconds: float = 2.0
    quality: float = 0.7
    steps: tuple[Step, ...] = STEPS
    larger: Model | None = None
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    def __post_init__(self) -> None:
        for name in ("seconds", "quality"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise InputError(f"{name} must be a number, 0 or more, got {value!r}")
        strange = [step for step in self.steps if step not in STEPS]
        if strange:
            raise InputError(f"steps are {', '.join(STEPS)}; got {strange[0]!r}")

    def start(self) -> Patience:
        """The time from now on; the larger model sees a photo once, however many masks it has."""
        deadline = self.clock() + self.seconds
        if self.larger is None:
            return Patience(self, deadline)
        from anymask.predictors.image import Model

        return Patience(replace(self, larger=Model(SeenOnce(self.larger.runtime))), deadline)


def check_retry(retry: object) -> Retry | None:
    """Raises InputError for what is neither a `Retry` nor None."""
    if retry is None or isinstance(retry, Retry):
        return retry
    raise InputError(f"retry must be anymask.Retry(...) or None, got {retry!r}")


@dataclass(frozen=True)
class Patience:
    """The settings and when the time is over, by their clock."""

    settings: Retry
    deadline: float

    def wants(self, quality: float) -> bool:
        """Whether an answer is too bad and there is time to ask again."""
        return quality < self.settings.quality and self.settings.clock() < self.deadline


@dataclass(frozen=True)
class Question:
    """What was asked, of whom; the photo (H, W, 3) may be missing."""

    runtime: ImageRuntime
    photo: UintImage | None
    embedding: Embedding
    prompt: Prompt
    settings: Settings


def ask_again(
    asked: Question, first: Candidates, patience: Patience, like: BoolArray | None = None
) -> Candidates:
    """The best answer that the time allows: the first one, or one of higher quality.

    like  of several candidates take the one that is most like this mask (H, W), not the best
    """
    best = first
    attempts = (
        (answer, LUCK if step == "shift" else 0.0)
        for step in patience.settings.steps
        for answer in _WAYS[step](asked, first, patience.settings)
    )
    while patience.wants(float(best.quality[0])):
        answer, luck = next(attempts, (None, 0.0))
        if answer is None:
            break
        if like is not None:
            answer = _most_like(answer, like)
        if _is_better(answer, best, luck):
            best = answer
    return best


def _most_like(answer: Candidates, mask: BoolArray) -> Candidates:  # (H, W)
    """The one candidate that overlaps a mask most."""
    place = int(mask_iou(answer.masks, mask[None])[:, 0].argmax())
    one = slice(place, place + 1)
    alone = replace(
        answer, logits=answer.logits[one], quality=answer.quality[one], order=answer.order[one]
    )
    return with_masks(alone, answer.masks[one])


def _is_better(new: Candidates, old: Candidates, luck: float) -> bool:
    gained = float(new.quality[0]) > float(old.quality[0]) + luck
    if not gained or len(new.violated_points) > len(old.violated_points):
        return False
    return _agree(new.masks[0], old.masks[0])


def _agree(first: BoolArray, second: BoolArray) -> bool:  # (H, W), (H, W)
    return bool(mask_iou(first[None], second[None])[0, 0] >= AGREED)


def _shifted(asked: Question, first: Candidates, _: Retry) -> Iterator[Candidates]:
    prompts = _shifted_prompts(asked.prompt, first)
    for answer in decode_prompts(asked.runtime, asked.embedding, prompts, asked.settings):
        if "masks" in vars(answer):  # finished ones, which the logits do not make
            yield with_masks(answer, answer.masks, asked.prompt)
            continue
        wrong = violated(answer.logits[0], asked.prompt, answer.geometry, answer.threshold)
        yield replace(answer, violated_points=wrong)


def _shifted_prompts(prompt: Prompt, first: Candidates) -> list[Prompt]:
    """Prompts that say nearly the same; none where there is neither a click nor a box."""
    height, width = first.geometry.image_hw
    last = np.array([width - 1, height - 1], np.float32)
    prompts = []
    if prompt.points is not None and prompt.labels is not None and prompt.labels.any():
        reach = max(2.0, SHIFT * float(np.sqrt(first.masks[0].sum())))
        on = (prompt.labels == 1)[:, None]
        for step in SHIFTS:
            moved = np.clip(prompt.points + on * np.multiply(step, reach), 0, last)
            prompts.append(replace(prompt, points=moved.astype(np.float32)))
    elif prompt.box is not None:
        prompts += [replace(prompt, box=_grown(prompt.box, share, last + 1)) for share in GROWN]
    return prompts


def _grown(box: FloatArray, share: float, size: FloatArray) -> FloatArray:  # (4,), (2,)
    sides = (box[2:] - box[:2]) * np.float32(share)
    low, high = np.maximum(box[:2] - sides, 0), np.minimum(box[2:] + sides, size)
    grown: FloatArray = np.concatenate([low, high]).astype(np.float32)
    return grown


def _zoomed(asked: Question, first: Candidates, _: Retry) -> Iterator[Candidates]:
    return _in_window(asked, first, MIN_SIDE)


def _tiled(asked: Question, first: Candidates, _: Retry) -> Iterator[Candidates]:
    return _in_window(asked, first, max(first.geometry.image_hw) // 2)


def _in_window(asked: Question, first: Candidates, min_side: int) -> Iterator[Candidates]:
    box = None if asked.photo is None else object_box(asked.prompt, first)
    window = None if box is None else closer_window(box, first.geometry.image_hw, min_side)
    if asked.photo is not None and window is not None:
        yield decode_in_window(
            asked.runtime, asked.photo, asked.prompt, first, window, asked.settings
        )


def _by_larger(asked: Question, first: Candidates, retry: Retry) -> Iterator[Candidates]:
    larger = retry.larger
    if larger is None or asked.photo is None or kinds(asked.prompt) - larger.spec.accepts:
        return
    prompt = asked.prompt
    if prompt.mask is not None and prompt.mask.dtype.kind == "f":
        prompt = Prompt.of(prompt.points, prompt.labels, prompt.box, first.masks[0])
    answer = larger.segment(
        asked.photo,
        prompts=[prompt],
        multimask=asked.settings.multimask,
        granularity=asked.settings.granularity,
        max_hole_area=asked.settings.max_hole_area,
        min_island_area=asked.settings.min_island_area,
    )[0]
    yield restated(answer, answer.masks, first, asked.prompt)


_WAYS: dict[Step, Callable[[Question, Candidates, Retry], Iterator[Candidates]]] = {
    "shift": _shifted,
    "zoom": _zoomed,
    "tile": _tiled,
    "larger": _by_larger,
}


def answers_again(
    questions: Sequence[Question], firsts: Sequence[Candidates], retry: Retry
) -> list[Candidates]:
    """One call's answers, each asked for again where it needs to be, all within one time limit."""
    patience = retry.start()
    return [
        ask_again(question, first, patience)
        for question, first in zip(questions, firsts, strict=True)
    ]


def better_records(
    runtime: ImageRuntime, photo: UintImage, records: Sequence[MaskRecord], patience: Patience
) -> list[MaskRecord]:
    """Everything's masks of one photo, those of low quality asked for again, the largest first.

    Each is asked for with its first click, and stays the same object. The order is that of the
    records; a mask that could not be made better stays as it is.
    """
    kept = list(records)
    largest_first = sorted(range(len(kept)), key=lambda index: -kept[index].area)
    poor = [i for i in largest_first if kept[i].points and patience.wants(kept[i].quality)]
    if not poor:
        return kept
    embedding = embed_image(runtime, photo)
    for index in poor:
        if patience.wants(kept[index].quality):
            kept[index] = _better_record(runtime, photo, embedding, kept[index], patience)
    return kept


def _better_record(
    runtime: ImageRuntime,
    photo: UintImage,
    embedding: Embedding,
    record: MaskRecord,
    patience: Patience,
) -> MaskRecord:
    prompt = Prompt.of(points=record.points[:1])
    settings = Settings(multimask=True, ranking="own")
    like = rle_to_mask(record.rle)
    (answer,) = decode_prompts(runtime, embedding, [prompt], settings)
    first = _most_like(answer, like)
    if not _agree(first.masks[0], like):
        return record
    asked = Question(runtime, photo, embedding, prompt, settings)
    best = ask_again(asked, first, patience, like)
    if best is first or float(best.quality[0]) <= record.quality:
        return record
    stability = stability_score(best.logits[0], best.threshold, STABILITY_OFFSET)
    fresh = record_from_rle(
        mask_to_rle(best.masks[0]), quality=float(best.quality[0]), stability=float(stability)
    )
    return replace(fresh, points=record.points, crop_box=record.crop_box, label=record.label)
