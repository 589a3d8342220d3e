"""Answers prompts about one photo: encode, decode, choose, hold to the clicks, clean, look closer.

The decoder answers, its family chooses and orders the masks (`models.rules`); `decode_prompts` and
`answer_prompts` say in which order everything else comes. Of a prompt that is decoded step by step
(`sequence`), only the last step is cleaned, looked at closer and refined.

Letters: H W the photo, N prompts, K candidates, m the side of a low-resolution mask.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np

from anymask.base import BoolArray, FloatArray, InputError, PromptError, UintImage, brief
from anymask.masks import (
    CORNERS,
    NO_POINT,
    OPENCV,
    CropRefinement,
    Decode,
    EncoderOutput,
    Features,
    Geometry,
    ModelPrompts,
    ModelSpec,
    Picture,
    Prompt,
    Window,
    apply_negative_points,
    geometry,
    image_to_model,
    mask_to_model,
)
from anymask.models.rules import (
    check_prompt,
    closer_window,
    group_prompts,
    logits_around,
    mask_on_photo,
    mean_chance,
    object_box,
)
from anymask.runtime import EdgeRefining, ImageRuntime, PromptDecoding, VectorPrompts, require
from anymask.segment.postprocess import (
    clicks_of,
    hold_to_clicks,
    scaled_prompt,
    violated,
    with_fine_edges,
    without_small_regions,
)
from anymask.segment.prediction import Prediction, Previous
from anymask.segment.sequence import plan_steps, previous_list
from anymask.segment.settings import Granularity, SegmentSettings

PROMPTS_PER_CALL = 16  # larger calls are no faster on a CPU and need more memory
COMPARABLE = 0.1  # of the score: candidates so far below the best one are no choice

Step = Callable[[Prediction], Prediction]


def encode_image(
    runtime: ImageRuntime, image: UintImage, *, mirror: bool = False
) -> Features:  # (H, W, 3)
    """Encode one photo, and its mirror image where that is wanted, too."""
    spec = runtime.spec
    return Features(
        seen=runtime.see(image_to_model(image, spec)[None])[0],
        mirrored=_encode_mirrored(runtime, image) if mirror else None,
        geometry=geometry((image.shape[0], image.shape[1]), spec),
        model=spec.name,
        model_hash=runtime.weights_hash,
        image_hash=image_hash(image),
    )


def _encode_mirrored(runtime: ImageRuntime, image: UintImage) -> EncoderOutput:  # (H, W, 3)
    turned = np.ascontiguousarray(image[:, ::-1])
    return runtime.see(image_to_model(turned, runtime.spec)[None])[0]


def image_hash(image: UintImage) -> str:
    """Names the pixels and their shape; 32 hexadecimal digits of a sha256."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()[:32]


def check_features(runtime: ImageRuntime, features: Features) -> None:
    """Refuse what another model has encoded. Raises InputError."""
    made_by = (features.model, features.model_hash)
    wanted = (runtime.spec.name, runtime.weights_hash)
    if made_by != wanted:
        raise InputError(
            f"The embedding was created by {made_by[0]} (weights {made_by[1][:12]}), "
            f"but this model is {wanted[0]} (weights {wanted[1][:12]}). Encode the "
            "image again with this model."
        )
    if features.geometry.side != runtime.spec.image_side:
        raise InputError(
            f"The input size of {wanted[0]} is {runtime.spec.image_side} x "
            f"{runtime.spec.image_side} pixels, but the embedding was created with "
            f"input size {features.geometry.side}. Encode the image again."
        )


# A prompt's answer.


@brief
@dataclass(frozen=True)
class EncodedPhoto:
    """A photo's features, and the photo where it is there.

    Attributes:
        photo: (H, W, 3), or smaller than the one that the features are of.
        picture: What the answers remember of the photo.
    """

    embedding: Features
    photo: UintImage | None = None
    picture: Picture | None = None


@brief
@dataclass(frozen=True)
class PromptContext:
    """What was asked of a model, and the ways to ask more.

    Attributes:
        photo: (H, W, 3), or smaller than the one that the features are of; None where only they
            are there.
        prompt: Checked, in pixels of the photo.
    """

    runtime: ImageRuntime
    photo: UintImage | None
    features: Features
    prompt: Prompt
    settings: SegmentSettings

    def encode(self, picture: UintImage) -> Features:
        """Another picture's features by the same model."""
        return encode_image(self.runtime, picture, mirror=self.settings.mirror)

    def ask(
        self, features: Features, prompts: Sequence[Prompt], first: Step | None = None
    ) -> list[Prediction]:
        """Answers to other prompts with the same settings, before a closer look."""
        return decode_prompts(self.runtime, features, prompts, self.settings, first)


def answer_prompts(
    runtime: ImageRuntime,
    photo: UintImage | None,
    features: Features,
    prompts: Sequence[Prompt],
    settings: SegmentSettings,
    previous: Previous = None,
) -> list[Prediction]:
    """Check everything first, then answer each prompt about one photo, in their order.

    Raises PromptError and InputError.

    Args:
        previous: Of each prompt, what was predicted for the clicks that it begins with.
    """
    check_features(runtime, features)
    if settings.mirror and photo is not None and features.mirrored is None:
        features = replace(features, mirrored=_encode_mirrored(runtime, photo))
    spec, vectors = runtime.spec, runtime.capability(VectorPrompts)
    if vectors is not None:
        spec = replace(spec, accepts=spec.accepts | {"embedding"})
    checked = [check_prompt(prompt, features.image_hw, spec) for prompt in prompts]
    for prompt in checked:
        if vectors is not None and prompt.embedding is not None:
            wide, wanted = prompt.embedding.shape[-1], vectors.vector_length()
            if wide != wanted:
                raise PromptError(
                    f"{spec.name} requires prompt vectors of length {wanted}, but "
                    f"vectors of length {wide} were passed."
                )
    plans = [
        plan_steps(prompt, before, runtime.family, settings, features.geometry)
        for prompt, before in zip(checked, previous_list(previous, checked), strict=True)
    ]
    answers = []
    asked = decode_in_steps(runtime, features, plans, settings)
    for (answer, last), prompt in zip(asked, prompts, strict=True):
        question = PromptContext(runtime, photo, features, last, settings)
        answer = refine_edges(refine_in_crop(answer, question), question)
        answer = hold_to_clicks(answer, last) if settings.multimask == "auto" else answer
        answers.append(replace(answer, prompt=prompt))
    if not runtime.spec.classes:
        return answers
    from anymask.segment.labels import label_answers  # few models need it

    return label_answers(runtime, features, answers)


def decode_in_steps(
    runtime: ImageRuntime,
    features: Features,
    plans: Sequence[Sequence[Prompt]],
    settings: SegmentSettings,
) -> list[tuple[Prediction, Prompt]]:
    """The answer to the last step of each plan, and the prompt of that step with its logits.

    All plans take their steps together, so that a step of many prompts is decoded in batches.
    """
    asked = {place: plan[0] for place, plan in enumerate(plans)}
    found: dict[int, tuple[Prediction, Prompt]] = {}
    for step in range(max(map(len, plans), default=0)):
        places = [place for place in asked if place not in found]
        prompts = [asked[place] for place in places]
        answers = _decode_obeyed(runtime, features, prompts, settings)
        for place, prompt, answer in zip(places, prompts, answers, strict=True):
            if step + 1 < len(plans[place]):
                asked[place] = replace(plans[place][step + 1], mask=answer.logits[0])
            else:
                found[place] = _finish(answer, prompt, settings), prompt
    return [found[place] for place in range(len(plans))]


def decode_prompts(
    runtime: ImageRuntime,
    features: Features,
    prompts: Sequence[Prompt],
    settings: SegmentSettings,
    first: Step | None = None,
) -> list[Prediction]:
    """Answers to checked prompts about one photo, each of one decoding, before anything is looked
    at once more.

    Args:
        first: What an answer takes before all else.
    """
    answers = _decode_obeyed(runtime, features, prompts, settings, first)
    return [
        _finish(answer, prompt, settings) for answer, prompt in zip(answers, prompts, strict=True)
    ]


def _decode_obeyed(
    runtime: ImageRuntime,
    features: Features,
    prompts: Sequence[Prompt],
    settings: SegmentSettings,
    first: Step | None = None,
) -> list[Prediction]:
    """Answers whose logits may be handed back: in the order that is wanted, negative clicks
    obeyed."""
    answers: dict[int, Prediction] = {}
    for place, answer in _decode(runtime, features, prompts, settings):
        answer = answer if first is None else first(answer)
        answer = order_by_granularity(answer, settings.granularity)
        if settings.multimask == "auto":
            answer = _obey_negative_clicks(answer, prompts[place])
        answers[place] = answer
    return [answers[place] for place in range(len(prompts))]


def _finish(answer: Prediction, prompt: Prompt, settings: SegmentSettings) -> Prediction:
    """The answer as it is shown: small holes and islands removed, its violated clicks named."""
    answer = _clean(answer, prompt, settings)
    return replace(answer, violated_points=violated(answer.first, prompt))


def _decode(
    runtime: ImageRuntime,
    features: Features,
    prompts: Sequence[Prompt],
    settings: SegmentSettings,
) -> Iterator[tuple[int, Prediction]]:
    """What the family answers, with each prompt's place."""
    clicks, where, spec = require(runtime, PromptDecoding), features.geometry, runtime.spec
    decode: Decode = partial(clicks.decode, features.seen)
    if settings.mirror and features.mirrored is not None:
        decode = both_ways(decode, partial(clicks.decode, features.mirrored), where, spec)
    for places, batch in group_prompts(prompts, where, spec, PROMPTS_PER_CALL):
        ordered = runtime.family.answer(decode, batch, where, settings.multimask, settings.ranking)
        for place, answer in zip(places, ordered, strict=True):
            yield place, Prediction.of_logits(*answer, where, spec.mask_threshold)


def order_by_granularity(answer: Prediction, granularity: Granularity) -> Prediction:
    """The same candidates, the one that the granularity means first, then by score.

    A click on a wheel may mean the bolt, the wheel or the car (Segment Anything, section 3,
    "resolving ambiguity"). Among the candidates that have an object and whose score is within
    `COMPARABLE` of the best one's, "part" means the smallest, "whole" the largest, and a number the
    one at that place between them. "all" leaves the order as it is.
    """
    if granularity == "all" or len(answer) < 2:
        return answer
    sizes = answer.cells()
    good = answer.scores >= answer.scores.max() - np.float32(COMPARABLE)
    choice = np.flatnonzero(good & (sizes > 0))
    if not len(choice):
        return answer
    by_size = choice[np.argsort(sizes[choice], kind="stable")]
    place = {"part": 0.0, "whole": 1.0}.get(str(granularity), granularity)
    first = int(by_size[math.floor(float(place) * (len(by_size) - 1) + 0.5)])
    return answer.picked([first, *(index for index in range(len(answer)) if index != first)])


def _obey_negative_clicks(answer: Prediction, prompt: Prompt) -> Prediction:
    """Every candidate, cleared around the negative clicks that it does not obey."""
    if prompt.labels is None or prompt.labels.all():
        return answer
    clicks, place = clicks_of(prompt), answer.geometry
    cleared = apply_negative_points(answer.logits, clicks, place, answer.threshold, OPENCV)
    items = [one.with_logits(plane) for one, plane in zip(answer.items, cleared, strict=True)]
    return replace(answer, items=tuple(items))


def _clean(answer: Prediction, prompt: Prompt, settings: SegmentSettings) -> Prediction:
    """Every candidate without holes and islands below the settings' areas."""
    clicks, (holes, islands) = clicks_of(prompt), settings.least_areas
    items = tuple(without_small_regions(one, clicks, holes, islands) for one in answer.items)
    unchanged = all(new is old for new, old in zip(items, answer.items, strict=True))
    return answer if unchanged else replace(answer, items=items)


def refine_edges(answer: Prediction, question: PromptContext) -> Prediction:
    """The answer with its edges where the photo has them, as the settings want it.

    A model without a network of edges keeps its own, as does an answer without a photo.
    """
    settings, photo = question.settings, question.photo
    wanted = settings.refine_edges
    wanted = settings.multimask == "auto" if wanted == "auto" else wanted
    network = question.runtime.capability(EdgeRefining) if wanted and photo is not None else None
    if network is None or photo is None:
        return answer
    return with_fine_edges(answer, photo, question.prompt, settings.least_areas, network)


# Mirror images.
#
# A model does not answer alike about a photo and its mirror image, though both show the same
# things; the mean of both answers is better than either, as their errors differ (Sofiiuk et al.
# 2021, "Reviving iterative training with mask guidance", section 4).


def both_ways(decode: Decode, mirrored: Decode, place: Geometry, spec: ModelSpec) -> Decode:
    """A decoder that answers with the mean of logits and quality of two.

    Args:
        decode: Of the photo, and of its mirror image.
        mirrored: Of the photo, and of its mirror image.
        place: How the photo lies in model space; its mirror image lies there alike.
    """
    cells = place.input_hw[1] * spec.mask_side / spec.image_side  # that the photo fills, across

    def answer(prompts: ModelPrompts) -> tuple[FloatArray, FloatArray]:
        logits, quality = decode(prompts)
        turned, other = mirrored(mirror_prompts(prompts, place, cells))
        half = np.float32(0.5)
        return half * (logits + mirror_cells(turned, cells)), half * (quality + other)

    return answer


def mirror_prompts(prompts: ModelPrompts, place: Geometry, cells: float) -> ModelPrompts:
    """The same prompts in the mirror image."""
    coords, labels = prompts.coords.copy(), prompts.labels
    x = coords[..., 0]
    x[labels != NO_POINT] = place.input_hw[1] - x[labels != NO_POINT]
    left, right = (labels == corner for corner in CORNERS)
    x[left], x[right] = x[right], x[left]  # one of each in every row with a box
    return replace(prompts, coords=coords, masks=mirror_cells(prompts.masks, cells))


def mirror_cells(planes: FloatArray, cells: float) -> FloatArray:  # (.., m, m) -> the same
    """Planes whose first `cells` columns are mirrored; between two columns their values mix."""
    side = planes.shape[-1]
    source = np.clip(cells - 1 - np.arange(side), 0, side - 1)
    low = np.floor(source).astype(np.int64)
    high = np.minimum(low + 1, side - 1)
    share = (source - low).astype(np.float32)
    mixed: FloatArray = planes[..., low] * (1 - share) + planes[..., high] * share
    return mixed


# A closer look.
#
# A model sees every photo at the same size, so an object covers few cells of its features. A window
# around the box, or else the first answer, shows the object larger: its mask has finer cells.
#
# A box, or more than one click, says how large the object is. Where the model's family is known to
# gain by it, the chances of every pixel in both answers are then averaged: what is around an object
# helps to understand it, what is near helps to draw it. What a lone click means is a question of
# what is around it: there, and with other families, the second answer replaces the first one, and
# only when the model gives it the higher score.

# Where a window is in doubt: its answer alone counts, when it is the better one.
UNCERTAIN = CropRefinement(margin=0.5, gain=1.5, weight=1.0, min_side=96)


def refine_in_crop(first: Prediction, question: PromptContext) -> Prediction:
    """The answer with the help of a window around the first one, or the first one."""
    photo, settings, prompt = question.photo, question.settings, question.prompt
    is_clear = prompt.box is not None or (prompt.points is not None and len(prompt.points) > 1)
    clear = question.runtime.family.closer if len(first) == 1 and is_clear else None
    wanted = settings.zoom
    if wanted == "auto":
        wanted = clear is not None and settings.multimask == "auto"
    if not wanted or photo is None:
        return first
    mask = first.first.pixels()
    box = object_box(prompt, mask)
    window = box and closer_window(box, first.geometry.image_hw, clear or UNCERTAIN)
    if window is None:
        return first
    if clear is None:
        second = _decode_in_window(question, photo, first, window)
        better = second.first.score > first.first.score and second.masks[0].any()
        return second if better else first
    start = mask if prompt.points is not None else None  # what has been corrected
    question = replace(question, prompt=replace(prompt, mask=start))
    return _average_in_window(question, photo, first, window, clear.weight)


def _average_in_window(
    question: PromptContext, photo: UintImage, first: Prediction, window: Window, weight: float
) -> Prediction:
    """The first answer, its pixels decided by the mean of its chances and those in the window."""

    def averaged(second: Prediction) -> Prediction:
        (mask,) = second.items
        around = logits_around(first.first.logits, first.geometry, window, second.geometry)
        near, far = mask.logits - mask.threshold, around - np.float32(first.threshold)
        mean = mean_chance(near, far, weight) + np.float32(mask.threshold)
        return replace(second, items=(mask.with_logits(mean),))

    second, masks = _ask_window(question, photo, first, window, averaged)
    if not masks.any():
        return first
    item = replace(first.first, score=second.first.score).with_pixels(masks[0])
    return Prediction((item,), violated(item, question.prompt))


def _decode_in_window(
    question: PromptContext, photo: UintImage, first: Prediction, window: Window
) -> Prediction:
    """The answer of one window, with geometry and logits of the first one, of the whole photo."""
    second, masks = _ask_window(question, photo, first, window)
    items = [
        replace(
            one,
            logits=mask_to_model(mask, first.geometry, first.logits.shape[-1])[0],
            geometry=first.geometry,
            threshold=first.threshold,
        ).with_pixels(mask)
        for one, mask in zip(second.items, masks, strict=True)
    ]
    return Prediction(tuple(items), violated(items[0], question.prompt))


def _ask_window(
    question: PromptContext,
    photo: UintImage,
    first: Prediction,
    window: Window,
    step: Step | None = None,
) -> tuple[Prediction, BoolArray]:
    """The answer of one window, after a step of its own, and its masks in the photo (K, H, W).

    Args:
        photo: (H, W, 3), or smaller than the one that the first answer is about.
    """
    height, width = first.geometry.image_hw
    scale = photo.shape[1] / width
    x0, y0, x1, y1 = (round(place * scale) for place in window)
    crop = np.ascontiguousarray(photo[y0:y1, x0:x1])
    start = question.prompt.mask
    if start is not None:
        start = mask_on_photo(start, first.geometry, first.logits.shape[-1], first.threshold)
        start = _resized(start, (photo.shape[0], photo.shape[1]))
    asked = replace(scaled_prompt(question.prompt, scale), mask=start)
    moved = prompt_in_window(asked, (x0, y0, x1, y1))
    features = question.encode(crop)
    second = question.ask(features, [moved], step)[0]
    second = refine_edges(second, replace(question, photo=crop, features=features, prompt=moved))
    masks = np.zeros((len(second), *photo.shape[:2]), np.bool_)
    masks[:, y0:y1, x0:x1] = second.masks
    if scale == 1:
        return second, masks
    return second, np.stack([_resized(mask, (height, width)) for mask in masks])


def _resized(mask: BoolArray, hw: tuple[int, int]) -> BoolArray:  # (H, W)
    if mask.shape == hw:
        return mask
    resized = cv2.resize(mask.view(np.uint8), hw[::-1], interpolation=cv2.INTER_NEAREST)
    return np.asarray(resized, np.uint8).view(np.bool_)


def prompt_in_window(prompt: Prompt, window: Window) -> Prompt:
    """The same prompt in the window's pixels; negative clicks outside it have nothing to say."""
    x0, y0, x1, y1 = window
    offset = np.array([x0, y0], np.float32)
    points, labels = prompt.points, prompt.labels
    if points is not None and labels is not None:
        seen = ((points >= (x0, y0)) & (points < (x1, y1))).all(axis=1)
        points, labels = points[seen] - offset, labels[seen]
    box = prompt.box
    if box is not None:
        box = np.clip(box - np.tile(offset, 2), 0, np.array([x1 - x0, y1 - y0] * 2, np.float32))
    mask = None if prompt.mask is None else prompt.mask[y0:y1, x0:x1]
    return Prompt.of(points=points, labels=labels, box=box, mask=mask)
