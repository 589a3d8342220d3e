"""One embedding and any number of prompts -> one `Candidates` each.

Letters: N prompts, T masks of the decoder, K candidates, m the side of a low-resolution mask.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypedDict

import cv2
import numpy as np

from anymask.predictors.granularity import Granularity, check_granularity, chosen_first
from anymask.predictors.honour import honour_negatives, violated
from anymask.predictors.prompts import check_prompt, group_prompts, is_lone_click
from anymask.predictors.ranking import ranked_quality
from anymask.predictors.second_look import confirmed, looks_twice
from anymask.predictors.tight import fit_to_box
from anymask.primitives.clicks import violated_points
from anymask.primitives.errors import InputError
from anymask.primitives.masks import clean_mask
from anymask.primitives.resize import geometry, image_to_model
from anymask.primitives.types import (
    BoolArray,
    Candidates,
    Embedding,
    FloatArray,
    ModelPrompts,
    Prompt,
    UintImage,
)
from anymask.runtimes.answers import choose
from anymask.runtimes.protocol import ImageRuntime

if TYPE_CHECKING:
    from anymask.predictors.retry import Retry

Multimask = bool | Literal["auto"]
Zoom = bool | Literal["auto"]
Ranking = Literal["expected", "own"]

PROMPTS_PER_CALL = 16  # larger calls are no faster on a CPU and need more memory


class SettingsDict(TypedDict, total=False):
    """The keyword arguments of `Settings`."""

    multimask: Multimask
    zoom: Zoom
    granularity: Granularity
    ranking: Ranking
    max_hole_area: float
    min_island_area: float
    retry: Retry | None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How prompts are answered.

    multimask        "auto": the model's three masks for a lone click, which may mean a part or the
                     whole, its one mask for a clearer prompt, and negative clicks are always
                     honoured. True or False: the three or the one, untouched, as the model's own
                     reference code answers
    zoom             True: decode again on a window around the answer, and keep that when its
                     quality is higher; "auto": only where the object is small; False: never
    granularity      which of several masks comes first: "all": that of the highest quality; "part"
                     or "whole": the smallest or the largest of those of comparable quality; or a
                     number from 0 (part) to 1 (whole), such as `Candidates.granularity_of` gives
    ranking          what orders nano's masks of a lone click: "expected": the IoU that each may be
                     expected to have; "own": the network's own number, as always with
                     other models
    max_hole_area    fill holes of fewer pixels of the photo; a negative click keeps its hole
    min_island_area  drop parts of fewer pixels of the photo; a positive click keeps its part
    retry            when and how long to ask again for a better answer; None: never

    Raises InputError for other values.
    """

    multimask: Multimask = "auto"
    zoom: Zoom = False
    granularity: Granularity = "all"
    ranking: Ranking = "expected"
    max_hole_area: float = 0
    min_island_area: float = 0
    retry: Retry | None = None

    def __post_init__(self) -> None:
        for name in ("multimask", "zoom"):
            value = getattr(self, name)
            if not isinstance(value, bool | str) or value not in (True, False, "auto"):
                raise InputError(f'{name} must be True, False or "auto", got {value!r}')
        check_granularity(self.granularity)
        if self.ranking not in ("expected", "own"):
            raise InputError(f'ranking must be "expected" or "own", got {self.ranking!r}')
        for name in ("max_hole_area", "min_island_area"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0 <= value < math.inf):
                raise InputError(f"{name} must be a number of pixels, 0 or more, got {value!r}")

    @property
    def cleans(self) -> bool:
        """Whether holes or islands are to be removed."""
        return self.max_hole_area > 0 or self.min_island_area > 0


def embed_image(runtime: ImageRuntime, image: UintImage) -> Embedding:  # (H, W, 3)
    """See one photo."""
    spec = runtime.spec
    features, *extras = runtime.encode(image_to_model(image, spec)[None])[0]
    return Embedding(
        features=features,
        geometry=geometry((image.shape[0], image.shape[1]), spec),
        model=spec.name,
        model_hash=runtime.weights_hash,
        image_hash=image_hash(image),
        extras=tuple(extras),
    )


def image_hash(image: UintImage) -> str:
    """Names the pixels and their shape; 32 hexadecimal digits of a sha256."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()[:32]


def check_embedding(runtime: ImageRuntime, embedding: Embedding) -> None:
    """Refuse what another model saw. Raises InputError."""
    made_by = (embedding.model, embedding.model_hash)
    wanted = (runtime.spec.name, runtime.weights_hash)
    if made_by != wanted:
        raise InputError(
            "an embedding can only be read by the model that made it; this is "
            f"{wanted[0]} (weights {wanted[1][:12]}), the embedding was made by "
            f"{made_by[0]} (weights {made_by[1][:12]}); embed the photo again with this model"
        )
    if embedding.geometry.side != runtime.spec.image_side:
        raise InputError(
            f"{wanted[0]} sees photos in a square of {runtime.spec.image_side} pixels, the "
            f"embedding is of {embedding.geometry.side}; embed the photo again"
        )


def decode_prompts(
    runtime: ImageRuntime,
    embedding: Embedding,
    prompts: Sequence[Prompt],
    settings: Settings,
) -> list[Candidates]:
    """Answer checked prompts about one photo, in their order."""
    answers: dict[int, Candidates] = {}
    for places, batch in group_prompts(prompts, embedding.geometry, runtime.spec, PROMPTS_PER_CALL):
        asked = [prompts[place] for place in places]
        logits, quality = _decoded(runtime, embedding, batch, asked, settings)
        for row, place in enumerate(places):
            lone = is_lone_click(prompts[place])
            many = lone if settings.multimask == "auto" else settings.multimask
            numbers = quality[row]
            if lone and runtime.spec.answer == "four" and settings.ranking == "expected":
                click, where = batch.coords[row, 0], embedding.geometry
                numbers = ranked_quality(numbers, logits[row], click, where, runtime.spec)
            kept, numbers = choose(runtime.spec, logits[row : row + 1], numbers[None], many)
            box, threshold = prompts[place].box, runtime.spec.mask_threshold
            if box is not None and runtime.spec.answer == "four":
                kept = fit_to_box(kept[0], box, embedding.geometry, threshold)[None]
            best_first = _ranked(kept[0], numbers[0], embedding, threshold)
            chosen = chosen_first(best_first, settings.granularity)
            answers[place] = _attend(chosen, prompts[place], settings)
    return [answers[place] for place in range(len(prompts))]


def _decoded(
    runtime: ImageRuntime,
    embedding: Embedding,
    batch: ModelPrompts,
    prompts: Sequence[Prompt],
    settings: Settings,
) -> tuple[FloatArray, FloatArray]:  # -> (N, T, m, m), (N, T)
    """What the decoder says to a batch; boxes are asked a second time."""
    maps = (embedding.features, *embedding.extras)
    logits, quality = runtime.decode(maps, batch)
    if settings.multimask is True:
        return logits, quality
    rows = [row for row, prompt in enumerate(prompts) if looks_twice(prompt, runtime.spec)]
    if rows:
        part = ModelPrompts(
            batch.coords[rows], batch.labels[rows], batch.masks[rows], batch.has_mask[rows]
        )
        again = confirmed(part, (logits[rows], quality[rows]), runtime.spec)
        logits, quality = logits.copy(), quality.copy()
        logits[rows], quality[rows] = runtime.decode(maps, again)
    return logits, quality


def _ranked(
    logits: FloatArray, quality: FloatArray, embedding: Embedding, threshold: float
) -> Candidates:  # (K, m, m), (K,)
    order = np.argsort(-quality, kind="stable")
    return Candidates(
        logits=logits[order],
        quality=quality[order],
        order=order.astype(np.int64),
        geometry=embedding.geometry,
        threshold=threshold,
    )


def _attend(answer: Candidates, prompt: Prompt, settings: Settings) -> Candidates:
    """Honour the clicks, clean the masks, name what is still violated."""
    place, threshold = answer.geometry, answer.threshold
    if settings.multimask == "auto":
        logits = honour_negatives(answer.logits, prompt, place, threshold)
        answer = replace(answer, logits=logits)
    answer = replace(answer, violated_points=violated(answer.logits[0], prompt, place, threshold))
    if not settings.cleans:
        return answer
    cleaned = [
        clean_kept(mask, prompt, settings.max_hole_area, settings.min_island_area)
        for mask in answer.masks
    ]
    return with_masks(answer, np.stack(cleaned), prompt)


def clean_kept(
    mask: BoolArray, prompt: Prompt, max_hole_area: float, min_island_area: float
) -> BoolArray:  # (H, W)
    """`clean_mask` that leaves alone what a click speaks for."""
    cleaned = clean_mask(mask, max_hole_area, min_island_area)
    if prompt.points is None or prompt.labels is None:
        return cleaned
    lost = set(violated_points(cleaned, prompt.points, prompt.labels))
    lost -= set(violated_points(mask, prompt.points, prompt.labels))
    if not lost:
        return cleaned
    _, labels = cv2.connectedComponents((cleaned != mask).view(np.uint8), connectivity=8)
    for x, y in np.floor(prompt.points[sorted(lost)]).astype(int):
        spared = labels == labels[y, x]
        cleaned[spared] = mask[spared]
    return cleaned


def with_masks(
    answer: Candidates, masks: BoolArray, prompt: Prompt | None = None
) -> Candidates:  # (K, H, W)
    """The answer with finished masks instead of those that its logits would make."""
    wrong: tuple[int, ...] = ()
    if prompt is not None and prompt.points is not None and prompt.labels is not None:
        wrong = violated_points(masks[0], prompt.points, prompt.labels)
    finished = replace(answer, violated_points=wrong)
    vars(finished)["masks"] = masks  # where the cached property looks first
    return finished


def answer_prompts(
    runtime: ImageRuntime, embedding: Embedding, prompts: Sequence[Prompt], settings: Settings
) -> tuple[list[Prompt], list[Candidates]]:
    """Check everything first, then answer: the checked prompts and the answers.

    Raises PromptError and InputError.
    """
    check_embedding(runtime, embedding)
    checked = [check_prompt(prompt, embedding.image_hw, runtime.spec) for prompt in prompts]
    return checked, decode_prompts(runtime, embedding, checked, settings)
