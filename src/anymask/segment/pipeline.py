"""Predict masks for prompts on one image.

The steps are: encode, decode, select, apply clicks, clean, refine in a crop. The model family
selects and orders the masks (`models.rules`); `decode_prompts` and `answer_prompts` define the
order of the other steps. Of a prompt that is decoded in several steps (`plan_steps`), only the
last step is cleaned and refined.

Letters: H W the image, N prompts, K candidates, m the side of a low-resolution mask.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

import cv2
import numpy as np

from anymask.base import BoolArray, FloatArray, InputError, PromptError, UintImage, brief
from anymask.masks import (
    CORNERS,
    MAX_STEPS,
    NO_POINT,
    OPENCV,
    CropRefinement,
    Decode,
    Features,
    Geometry,
    LazyImage,
    ModelPrompts,
    ModelSpec,
    Prompt,
    Window,
    apply_negative_points,
    check_features,
    click_steps,
    geometry,
    image_to_model,
    keep_previous,
    mask_to_model,
)
from anymask.models.rules import (
    Family,
    check_prompt,
    crop_window,
    group_prompts,
    logits_around,
    mask_on_image,
    mean_probability,
    object_box,
)
from anymask.runtime import ImageRuntime
from anymask.segment.prediction import (
    Prediction,
    Previous,
    apply_clicks,
    clicks_of,
    image_for_edges,
    scaled_prompt,
    violated,
    with_fine_edges,
    without_small_regions,
)
from anymask.segment.settings import Granularity, SegmentSettings

PROMPTS_PER_CALL = 16  # larger calls are no faster on a CPU and need more memory
COMPARABLE = 0.1  # maximum score difference to the best candidate
CACHE_MEGABYTES = "ANYMASK_CACHE_MEGABYTES"  # environment variable
DEFAULT_CACHE_MEGABYTES = 256

Step = Callable[[Prediction], Prediction]
Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


def encode_image(
    runtime: ImageRuntime,
    image: UintImage,
    *,
    mirror: bool = False,
    recent: EmbeddingCache | None = None,
) -> Features:  # (H, W, 3)
    """Encode one image, and optionally its mirror image, or take them from a cache."""
    if recent is None:
        features = _encode(runtime, image, image_hash(image))
    else:
        features = recent.encode(runtime, image).embedding
    return with_mirror_image(features, runtime, image, recent) if mirror else features


def with_mirror_image(
    features: Features, runtime: ImageRuntime, image: UintImage, recent: EmbeddingCache | None
) -> Features:
    """Add the encoded mirror image of an image (H, W, 3)."""
    turned = np.ascontiguousarray(image[:, ::-1])
    return replace(features, mirrored=encode_image(runtime, turned, recent=recent).encoder_output)


def _encode(runtime: ImageRuntime, image: UintImage, pixels: str) -> Features:
    spec = runtime.spec
    return Features(
        encoder_output=runtime.encode_images(image_to_model(image, spec)[None])[0],
        geometry=geometry((image.shape[0], image.shape[1]), spec),
        model=spec.name,
        model_hash=runtime.weights_hash,
        image_hash=pixels,
    )


def image_hash(image: UintImage) -> str:
    """Hash of the pixels and the shape: 32 hexadecimal digits of a SHA-256."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()[:32]


@brief
@dataclass(frozen=True)
class EncodedImage:
    """Embedding of an image, optionally with the image."""

    embedding: Features  # Embedding of the image
    # Image (H, W, 3), possibly smaller than the image of the embedding
    image: UintImage | None = None
    source_image: LazyImage | None = None  # Reference to the image, stored in predictions
    recent: EmbeddingCache | None = None  # Cache for crops of the image

    @property
    def nbytes(self) -> int:
        """Size of features and pixels in bytes."""
        return self.embedding.nbytes + (0 if self.image is None else self.image.nbytes)


# Cache of the last embeddings, so that the next prompt on an image only decodes.


class RecentValues(Generic[Key, Value]):
    """Thread-safe LRU cache with a memory limit.

    Args:
        memory_bytes: Maximum total size. Larger values are not cached.
        size_of: Function that returns the size of a value in bytes.
        seconds: Lifetime of unused values.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self,
        memory_bytes: int,
        size_of: Callable[[Value], int],
        seconds: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.memory_bytes, self.used_bytes, self.seconds = memory_bytes, 0, seconds
        self._size_of, self._clock, self._lock = size_of, clock, threading.Lock()
        self._kept: OrderedDict[Key, tuple[Value, float]] = OrderedDict()  # and its last use

    def __len__(self) -> int:
        return len(self._kept)

    def recall(self, key: Key) -> Value | None:
        """Return a value and mark it as used, or None."""
        with self._lock:
            value, used = self._kept.get(key, (None, 0.0))
            if value is None or self._clock() - used > self.seconds:
                return None
            self._kept[key] = value, self._clock()
            self._kept.move_to_end(key)
            return value

    def keep(self, key: Key, value: Value) -> None:
        """Store a value, and evict expired values and those beyond the memory limit."""
        size, now = self._size_of(value), self._clock()
        with self._lock:
            if size > self.memory_bytes:
                return
            if key not in self._kept:
                self.used_bytes += size
            self._kept[key] = value, now
            self._kept.move_to_end(key)
            while self._evict_oldest(now):
                _, (dropped, _) = self._kept.popitem(last=False)
                self.used_bytes -= self._size_of(dropped)

    def _evict_oldest(self, now: float) -> bool:
        _, used = next(iter(self._kept.values()))
        return self.used_bytes > self.memory_bytes or now - used > self.seconds


class EmbeddingCache(RecentValues[tuple[ModelSpec, str, str], EncodedImage]):
    """Cache of encoded images, with the pixels for edge refinement. Threads can share it.

    The key is a hash of the pixels, so an array that was changed is another image.

    Args:
        memory_bytes: Maximum size of features and pixels.
    """

    def __init__(self, memory_bytes: int) -> None:
        super().__init__(memory_bytes, lambda seen: seen.nbytes)

    def get(self, runtime: ImageRuntime, pixels: str) -> EncodedImage | None:
        """Return an encoded image by the hash of its pixels, or None."""
        return self.recall((runtime.spec, runtime.weights_hash, pixels))

    def encode(
        self, runtime: ImageRuntime, image: UintImage, georeferenced: bool = False
    ) -> EncodedImage:  # (H, W, 3)
        """Return an encoded image, and encode it first if it is not stored.

        An image that was georeferenced once stays marked.
        """
        pixels = image_hash(image)
        encoded = self.get(runtime, pixels)
        if encoded is None:
            features = replace(_encode(runtime, image, pixels), georeferenced=georeferenced)
            edge_image = None  # edges are refined on RGB images only
            if runtime.spec.channels is None:
                edge_image = np.array(image_for_edges(image, features.geometry))  # may be `image`
            encoded = EncodedImage(features, edge_image)
        elif georeferenced and not encoded.embedding.georeferenced:
            encoded = replace(encoded, embedding=replace(encoded.embedding, georeferenced=True))
        else:
            return encoded
        self.keep((runtime.spec, runtime.weights_hash, pixels), encoded)
        return encoded


def default_cache() -> EmbeddingCache | None:
    """Create the cache of a model, or None if the environment variable is 0.

    Raises InputError if the environment variable is invalid.
    """
    text = os.environ.get(CACHE_MEGABYTES, "")
    try:
        megabytes = float(text or DEFAULT_CACHE_MEGABYTES)
        if not 0 <= megabytes < 1e12:
            raise ValueError
    except ValueError:
        raise InputError(
            f"{CACHE_MEGABYTES} must be a number of megabytes of at least 0, got {text!r}."
        ) from None
    return EmbeddingCache(int(megabytes * 1e6)) if megabytes else None


# Prediction for a prompt.


@brief
@dataclass(frozen=True)
class PromptContext:
    """A prompt with its image, model and settings."""

    runtime: ImageRuntime  # Runtime of the model
    image: UintImage | None  # Image (H, W, 3), possibly smaller than that of the embedding, or None
    features: Features  # Embedding of the image
    prompt: Prompt  # Validated prompt in image pixels
    settings: SegmentSettings  # Settings of the prediction
    recent: EmbeddingCache | None = None  # Cache for crops of the image

    def encode(self, image: UintImage) -> Features:
        """Encode another image with the same model."""
        mirror, recent = self.settings.mirror, self.recent
        features = encode_image(self.runtime, image, mirror=mirror, recent=recent)
        if recent is not None:
            recent.get(self.runtime, self.features.image_hash)  # evicted after its crops
        return features

    def predict(
        self, features: Features, prompts: Sequence[Prompt], first: Step | None = None
    ) -> list[Prediction]:
        """Predict for other prompts with the same settings, without refinement in a crop."""
        return decode_prompts(self.runtime, features, prompts, self.settings, first)


def answer_prompts(
    runtime: ImageRuntime,
    image: UintImage | None,
    features: Features,
    prompts: Sequence[Prompt],
    settings: SegmentSettings,
    previous: Previous = None,
    recent: EmbeddingCache | None = None,
) -> list[Prediction]:
    """Validate all prompts for one image, then predict each of them in order.

    Args:
        runtime: Runtime of the model.
        image: Image (H, W, 3), possibly smaller than that of the embedding, or None.
        features: Embedding of the image.
        prompts: N prompts.
        settings: Settings of the prediction.
        previous: Previous prediction for the first clicks of each prompt.
        recent: Cache for crops of the image.

    Raises:
        PromptError, InputError: A prompt is invalid, or the features belong to another model.
    """
    check_features(features, runtime.spec, runtime.weights_hash)
    if settings.mirror and image is not None and features.mirrored is None:
        features = with_mirror_image(features, runtime, image, recent)
    spec, vectors = runtime.spec, runtime.vector_length
    if vectors is not None:
        spec = replace(spec, accepts=spec.accepts | {"embedding"})
    checked = [check_prompt(prompt, features.image_hw, spec) for prompt in prompts]
    for prompt in checked:
        if vectors is not None and prompt.embedding is not None:
            wide, requested = prompt.embedding.shape[-1], vectors()
            if wide != requested:
                raise PromptError(
                    f"{spec.name} requires prompt vectors of length {requested}, but "
                    f"vectors of length {wide} were passed."
                )
    plans = [
        plan_steps(prompt, before, runtime.family, settings, features.geometry)
        for prompt, before in zip(checked, previous_list(previous, checked), strict=True)
    ]
    answers = []
    decoded = decode_in_steps(runtime, features, plans, settings)
    for (answer, last), prompt in zip(decoded, prompts, strict=True):
        question = PromptContext(runtime, image, features, last, settings, recent)
        answer = refine_edges(refine_in_crop(answer, question), question)
        answer = apply_clicks(answer, last) if settings.multimask == "auto" else answer
        answers.append(replace(answer, prompt=prompt))
    if not runtime.spec.classes:
        return answers
    from anymask.segment.labels import label_answers  # rarely needed

    return label_answers(runtime, features, answers)


def decode_in_steps(
    runtime: ImageRuntime,
    features: Features,
    plans: Sequence[Sequence[DecodingStep]],
    settings: SegmentSettings,
) -> list[tuple[Prediction, Prompt]]:
    """Prediction for the last step of each plan, and the prompt of that step with its logits.

    All plans advance together, so that a step of many prompts is decoded in batches.
    """
    current = {index: plan[0].prompt for index, plan in enumerate(plans)}
    finished: dict[int, tuple[Prediction, Prompt]] = {}
    for step in range(max(map(len, plans), default=0)):
        indices = [index for index in current if index not in finished]
        prompts = [current[index] for index in indices]
        answers = _decode_and_order(runtime, features, prompts, settings)
        for index, prompt, answer in zip(indices, prompts, answers, strict=True):
            if plans[index][step].adds_negatives:  # undo a large change by clicks outside the mask
                before, clicks = np.asarray(prompt.mask, np.float32), clicks_of(prompt)
                where, cut = answer.geometry, answer.threshold
                kept = keep_previous(answer.logits, before, clicks, where, cut, OPENCV)
                first = answer.first.with_logits(kept[0])
                answer = replace(answer, items=(first, *answer.items[1:]))
            if step + 1 < len(plans[index]):
                current[index] = replace(plans[index][step + 1].prompt, mask=answer.logits[0])
            else:
                finished[index] = _finish(answer, prompt, settings), prompt
    return [finished[index] for index in range(len(plans))]


def decode_prompts(
    runtime: ImageRuntime,
    features: Features,
    prompts: Sequence[Prompt],
    settings: SegmentSettings,
    first: Step | None = None,
) -> list[Prediction]:
    """Decode validated prompts once each, without refinement in a crop.

    Args:
        first: Function that is applied to each prediction before all other steps.
    """
    answers = _decode_and_order(runtime, features, prompts, settings, first)
    return [
        _finish(answer, prompt, settings) for answer, prompt in zip(answers, prompts, strict=True)
    ]


def _decode_and_order(
    runtime: ImageRuntime,
    features: Features,
    prompts: Sequence[Prompt],
    settings: SegmentSettings,
    first: Step | None = None,
) -> list[Prediction]:
    """Decode, order by granularity and apply negative clicks; the logits can be a mask prompt."""
    where, spec, family = features.geometry, runtime.spec, runtime.family
    decode: Decode = partial(runtime.decode, features.encoder_output)
    if settings.mirror and features.mirrored is not None:
        decode = with_mirrored(decode, partial(runtime.decode, features.mirrored), where, spec)
    answers: dict[int, Prediction] = {}
    for indices, batch in group_prompts(prompts, where, spec, PROMPTS_PER_CALL):
        selected = family.answer(decode, batch, where, settings.multimask, settings.ranking)
        for index, masks in zip(indices, selected, strict=True):
            answer = Prediction.of_logits(*masks, where, spec.mask_threshold)
            answer = answer if first is None else first(answer)
            answer = order_by_granularity(answer, settings.granularity, family.graded)
            if settings.multimask == "auto":
                cleared = apply_negative_points(
                    answer.logits, clicks_of(prompts[index]), where, spec.mask_threshold, OPENCV
                )
                items = zip(answer.items, cleared, strict=True)
                answer = replace(
                    answer, items=tuple(candidate.with_logits(plane) for candidate, plane in items)
                )
            answers[index] = answer
    return [answers[index] for index in range(len(prompts))]


def _finish(answer: Prediction, prompt: Prompt, settings: SegmentSettings) -> Prediction:
    """Remove small holes and islands from every candidate, and list the violated clicks."""
    clicks, (holes, islands) = clicks_of(prompt), settings.min_areas
    items = tuple(without_small_regions(mask, clicks, holes, islands) for mask in answer.items)
    return replace(answer, items=items, violated_points=violated(items[0], prompt))


def order_by_granularity(
    answer: Prediction, granularity: Granularity, graded: bool = False
) -> Prediction:
    """Move the candidate of the requested granularity to the front.

    A click on a wheel may mean the bolt, the wheel or the car (Segment Anything, section 3,
    "resolving ambiguity"). Among the nonempty candidates whose score is within `COMPARABLE` of the
    best score, "part" selects the smallest, "whole" the largest, and a number interpolates between
    them. "all" keeps the order. If the candidates are `graded`, all nonempty ones can be selected.
    """
    if granularity == "all" or len(answer) < 2:
        return answer
    sizes = answer.cells()
    good = graded | (answer.scores >= answer.scores.max() - np.float32(COMPARABLE))
    choice = np.flatnonzero(good & (sizes > 0))
    if not len(choice):
        return answer
    by_size = choice[np.argsort(sizes[choice], kind="stable")]
    share = {"part": 0.0, "whole": 1.0}.get(str(granularity), granularity)
    first = int(by_size[math.floor(float(share) * (len(by_size) - 1) + 0.5)])
    return answer.picked([first, *(index for index in range(len(answer)) if index != first)])


def refine_edges(answer: Prediction, question: PromptContext) -> Prediction:
    """Refine the edges on the image, if the settings enable it.

    Without an edge network or an image, the prediction is returned unchanged.
    """
    settings, image, network = question.settings, question.image, question.runtime.refine_edge
    requested = settings.refine_edges
    requested = settings.multimask == "auto" if requested == "auto" else requested
    if not requested or network is None or image is None:
        return answer
    return with_fine_edges(answer, image, question.prompt, settings.min_areas, network)


# Mirror images.
#
# The predictions for an image and its mirror image differ. Their mean is better than either,
# because their errors differ (Sofiiuk et al. 2021, "Reviving iterative training with mask
# guidance", section 4).


def with_mirrored(decode: Decode, mirrored: Decode, place: Geometry, spec: ModelSpec) -> Decode:
    """Return a decoder that averages logits and quality over the image and its mirror image.

    Args:
        decode: Decoder of the image.
        mirrored: Decoder of the mirror image.
        place: Position of both images in model space.
        spec: Specification of the model.
    """
    cells = place.input_hw[1] * spec.mask_side / spec.image_side  # columns that the image covers

    def answer(prompts: ModelPrompts) -> tuple[FloatArray, FloatArray]:
        logits, quality = decode(prompts)
        turned, other = mirrored(mirror_prompts(prompts, place, cells))
        half = np.float32(0.5)
        return half * (logits + flip_columns(turned, cells)), half * (quality + other)

    return answer


def mirror_prompts(prompts: ModelPrompts, place: Geometry, cells: float) -> ModelPrompts:
    """Mirror prompts."""
    coords, labels = prompts.coords.copy(), prompts.labels
    x = coords[..., 0]
    x[labels != NO_POINT] = place.input_hw[1] - x[labels != NO_POINT]
    left, right = (labels == corner for corner in CORNERS)
    x[left], x[right] = x[right], x[left]  # each row with a box has one of each
    return replace(prompts, coords=coords, masks=flip_columns(prompts.masks, cells))


def flip_columns(planes: FloatArray, cells: float) -> FloatArray:  # (.., m, m) -> the same
    """Mirror the first `cells` columns; values between two columns are interpolated."""
    side = planes.shape[-1]
    source = np.clip(cells - 1 - np.arange(side), 0, side - 1)
    low = np.floor(source).astype(np.int64)
    high = np.minimum(low + 1, side - 1)
    share = (source - low).astype(np.float32)
    return planes[..., low] * (1 - share) + planes[..., high] * share


# Refinement in a crop.
#
# All images have the same size in model space, so an object covers few cells of the feature maps. A
# crop around the box, or else the first mask, enlarges the object and makes its cells finer.
#
# A box, or more than one click, determines the size of the object. If the model family gains from
# it, the probabilities of both predictions are then averaged per pixel: context identifies the
# object, detail draws its edge. A single click requires context to be interpreted. For it, and for
# other families, the second prediction replaces the first only if its score is higher.
#
# For ambiguous prompts, only the prediction from the crop counts, if it is better.
SINGLE_CLICK_CROP = CropRefinement(margin=0.5, gain=1.5, weight=1.0, min_side=96)


def refine_in_crop(first: Prediction, question: PromptContext) -> Prediction:
    """Refine a prediction in a crop around it, or return it unchanged."""
    image, settings, prompt = question.image, question.settings, question.prompt
    is_clear = prompt.box is not None or (prompt.points is not None and len(prompt.points) > 1)
    clear = question.runtime.family.crop_refinement if len(first) == 1 and is_clear else None
    automatic = clear is not None and settings.multimask == "auto"
    if image is None or not (automatic if settings.zoom == "auto" else settings.zoom):
        return first
    mask = first.first.pixels()
    box = object_box(prompt, mask)
    window = box and crop_window(box, first.geometry.image_hw, clear or SINGLE_CLICK_CROP)
    if window is None:
        return first
    if clear is None:
        second, masks = _predict_in_window(question, image, first, window)
        if second.first.score <= first.first.score or not masks[0].any():
            return first
        items = [
            replace(
                candidate,
                logits=mask_to_model(mask, first.geometry, first.logits.shape[-1])[0],
                geometry=first.geometry,
                threshold=first.threshold,
            ).with_pixels(mask)
            for candidate, mask in zip(second.items, masks, strict=True)
        ]
        return Prediction(tuple(items), violated(items[0], prompt))
    weight = clear.weight

    def averaged(second: Prediction) -> Prediction:
        (mask,) = second.items
        around = logits_around(first.first.logits, first.geometry, window, second.geometry)
        near, far = mask.logits - mask.threshold, around - np.float32(first.threshold)
        mean = mean_probability(near, far, weight) + np.float32(mask.threshold)
        return replace(second, items=(mask.with_logits(mean),))

    start = mask if prompt.points is not None else None  # the mask after corrections
    question = replace(question, prompt=replace(prompt, mask=start))
    second, masks = _predict_in_window(question, image, first, window, averaged)
    if not masks.any():
        return first
    item = replace(first.first, score=second.first.score).with_pixels(masks[0])
    return Prediction((item,), violated(item, prompt))


def _predict_in_window(
    question: PromptContext,
    image: UintImage,
    first: Prediction,
    window: Window,
    step: Step | None = None,
) -> tuple[Prediction, BoolArray]:
    """Prediction from a crop, after an optional step, and its masks in the image (K, H, W).

    Args:
        image: Image (H, W, 3), possibly smaller than that of the first prediction.
    """
    height, width = first.geometry.image_hw
    scale = image.shape[1] / width
    x0, y0, x1, y1 = (round(edge * scale) for edge in window)
    crop = np.ascontiguousarray(image[y0:y1, x0:x1])
    start = question.prompt.mask
    if start is not None:
        start = mask_on_image(start, first.geometry, first.logits.shape[-1], first.threshold)
        start = _resized(start, (image.shape[0], image.shape[1]))
    scaled = replace(scaled_prompt(question.prompt, scale), mask=start)
    moved = prompt_in_window(scaled, (x0, y0, x1, y1))
    features = question.encode(crop)
    second = question.predict(features, [moved], step)[0]
    second = refine_edges(second, replace(question, image=crop, features=features, prompt=moved))
    masks = np.zeros((len(second), *image.shape[:2]), np.bool_)
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
    """Shift a prompt to pixels of a window; clicks outside it are dropped."""
    x0, y0, x1, y1 = window
    offset = np.array([x0, y0], np.float32)
    points, labels = prompt.points, prompt.labels
    if points is not None and labels is not None:
        inside = ((points >= (x0, y0)) & (points < (x1, y1))).all(axis=1)
        points, labels = points[inside] - offset, labels[inside]
    box = prompt.box
    if box is not None:
        box = np.clip(box - np.tile(offset, 2), 0, np.array([x1 - x0, y1 - y0] * 2, np.float32))
    mask = None if prompt.mask is None else prompt.mask[y0:y1, x0:x1]
    return Prompt.of(points=points, labels=labels, box=box, mask=mask)


def previous_list(previous: Previous, prompts: Sequence[Prompt]) -> list[Prediction | None]:
    """Previous prediction of each of N prompts. Raises PromptError if the number differs."""
    if previous is None:
        return [None] * len(prompts)
    given: object = [previous] if isinstance(previous, Prediction) else previous
    if not isinstance(given, list | tuple) or any(
        answer is not None and not isinstance(answer, Prediction) for answer in given
    ):
        raise PromptError(
            "Invalid previous. Expected a prediction, or a list of predictions and None, got "
            f"{str(previous)[:60]!r}."
        )
    several: list[Prediction | None] = [*given]
    if len(several) != len(prompts):
        raise PromptError(
            f"{len(prompts)} prompts were passed with {len(several)} previous predictions. Pass "
            "one previous prediction for each prompt, or None for a prompt without one."
        )
    return several


@dataclass(frozen=True)
class DecodingStep:
    """One decoding of a prompt."""

    prompt: Prompt  # Prompt with the clicks up to this step
    # True if the clicks that the mask prompt does not include are all negative
    adds_negatives: bool = False


def plan_steps(
    prompt: Prompt,
    previous: Prediction | None,
    family: Family,
    settings: SegmentSettings,
    place: Geometry,
) -> list[DecodingStep]:
    """Steps to decode one after the other, each with the logits of the one before.

    A family that was trained to correct its own masks decodes clicks one by one; other families
    decode all new clicks at once. Raises PromptError if `previous` or lone negative points fail.
    """
    answered, corrects = 0, previous is not None
    if previous is not None:
        answered = _check_previous(prompt, previous, family, place)
        prompt = replace(prompt, mask=previous.logits[0])
    elif prompt.kinds == {"negative_point"}:
        raise PromptError(
            "Negative points take away from an object, but no object is selected. Add a point on "
            "the object, a box or a mask."
        )
    points, labels = prompt.points, prompt.labels
    if points is None or labels is None or settings.multimask != "auto" or not family.stepwise:
        return [DecodingStep(prompt)]
    numbers = labels.tolist()
    steps = click_steps(
        numbers, answered,
        "mask" if prompt.mask is not None else "box" if prompt.box is not None else "click",
    )  # fmt: skip
    before, plan = list(range(answered)), []
    for some in steps:
        added = [numbers[index] for index in some if index not in before]
        negative = corrects and added != [] and not any(added)
        part = replace(prompt, points=points[some], labels=labels[some])
        plan.append(DecodingStep(part, negative))
        before, corrects = some, True
    return plan


def count_steps(clicks: int) -> int:
    """Maximum number of decoder calls for these clicks, besides one for a box before them."""
    return min(max(clicks, 1), MAX_STEPS)


def _check_previous(prompt: Prompt, previous: Prediction, family: Family, place: Geometry) -> int:
    """Number of clicks that a previous prediction includes. Raises PromptError if it differs."""
    spec = family.spec
    if "mask" not in spec.accepts:
        raise PromptError(
            f"{spec.name} does not support previous=, because it does not support mask "
            "prompts. Omit previous=."
        )
    if prompt.mask is not None:
        raise PromptError(
            "Options mask= and previous= cannot be combined, because both set "
            "the mask to refine. Pass one of them."
        )
    side = spec.mask_side
    if previous.geometry != place or previous.logits.shape[1:] != (side, side):
        (height, width), (rows, columns) = previous.geometry.image_hw, place.image_hw
        raise PromptError(
            "The previous prediction belongs to another image or model: it has "
            f"{width} x {height} pixels, and this image has {columns} x {rows}. Pass a "
            "prediction for this image by this model."
        )
    before = previous.prompt
    if before is None or before.points is None or before.labels is None:
        return 0
    count = len(before.points)
    enough = (0 if prompt.points is None else len(prompt.points)) >= count
    if (
        not enough
        or not np.array_equal(prompt.points[:count], before.points)  # type: ignore[index]
        or not np.array_equal(prompt.labels[:count], before.labels)  # type: ignore[index]
    ):
        raise PromptError(
            f"The {count} points of the previous prediction must come first in "
            "points=. Pass all points, the earlier ones first, or omit previous=."
        )
    return count
