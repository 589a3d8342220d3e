"""PerSAM and PerSAM-F: segment the object of an exemplar in another image.

Zhang et al. 2023, "Personalize Segment Anything Model with One Shot"; the released code
(ZrrSkywalker/Personalize-SAM, MIT) for numbers and the order of steps. Requires a SAM model with
guided decoding (`models.guided`), so torch.

    PerSAM    The most similar pixel is a foreground click, the least similar one a background
              click. The first prediction is guided; two more refine it, the second with the box of
              the first mask.
    PerSAM-F  Only the most similar pixel, unguided. A combination of the three masks, with two
              weights learned on the exemplar, is refined in the same way.

There is always one mask per image: the method cannot reject an image, its score is the predicted
IoU. Difference: the cells of several exemplars are concatenated (the paper has one).

Letters: H W an image, C channels, h w the features, S the model's input side, m side of logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from PIL import Image

from anymask.base import BoolArray, FloatArray, InputError, ModelError, UintImage
from anymask.find.grounding import sigmoid
from anymask.masks import (
    Features,
    Geometry,
    Mask,
    Prompt,
    logits_to_image,
    logits_to_masks,
    mask_to_box,
    mask_to_rle,
)
from anymask.models.rules import SamFamily, group_prompts
from anymask.runtime import ImageRuntime, require

if TYPE_CHECKING:
    from anymask.segment import Model

TRAINING_STEPS, LEARNING_RATE = 1000, 1e-3  # training of the two weights
FOCAL = (0.25, 2.0)  # alpha and gamma of the focal loss
ADAMW_EPSILON = 1e-4  # of AdamW


@dataclass(frozen=True, eq=False)
class PersonalTarget:
    """Features of the object to find."""

    direction: FloatArray  # Unit vector (C,) with which cells are compared
    mean: FloatArray  # Mean (C,) of the exemplar's cells
    weights: FloatArray | None = None  # Weights (3,) of the masks for PerSAM-F, or None for PerSAM


class PersonalStep(NamedTuple):
    """One prediction: logits (K, m, m), scores (K,), and the index of the selected mask."""

    prompt: Prompt
    logits: FloatArray
    scores: FloatArray
    best: int


def learn_target(
    model: Model,
    examples: Sequence[tuple[UintImage, BoolArray]],
    tuned: bool = False,
    steps: int = TRAINING_STEPS,
) -> PersonalTarget:
    """Learn the features of exemplars: images (H, W, 3) with masks (H, W).

    Args:
        tuned: Whether to learn the mask weights of PerSAM-F on the first exemplar.
        steps: Number of training steps.

    Raises ModelError for a model without guided decoding, InputError if a mask covers no cell.
    """
    if model.runtime.decode_guided is None:
        raise ModelError(
            f'{model.name} does not support exemplars. Use a bundled model, or runtime="torch".'
        )
    features = [model.encode(image) for image, _ in examples]
    cells = np.concatenate(
        [
            _map_of(encoded)[:, _cells_of(mask, encoded.geometry, _map_of(encoded).shape[1:])].T
            for encoded, (_, mask) in zip(features, examples, strict=True)
        ]
    )
    if not len(cells):
        raise InputError(
            "The exemplar object is too small for the image embedding. Pass a larger object."
        )
    mean = cells.mean(0)
    like = (mean + cells.max(0)) / 2 if tuned else mean
    target = PersonalTarget(like / np.linalg.norm(like), mean)
    if not tuned:
        return target
    weights = _learn_weights(model.runtime, features[0], target, examples[0][1], steps)
    return PersonalTarget(target.direction, mean, weights)


def _map_of(features: Features) -> FloatArray:  # -> (C, h, w)
    return features.encoder_output.maps()[0].values


def _cells_of(
    mask: BoolArray, place: Geometry, hw: tuple[int, ...]
) -> BoolArray:  # (H, W) -> (h, w)
    """Cells that a mask covers, resized as SAM does."""
    drawn = Image.fromarray(mask.view(np.uint8) * np.uint8(255))
    small = drawn.resize(place.input_hw[::-1], Image.Resampling.BILINEAR)
    whole = np.zeros((place.side, place.side), np.float32)
    whole[: place.input_hw[0], : place.input_hw[1]] = np.asarray(small)
    return cv2.resize(whole, hw[::-1], interpolation=cv2.INTER_LINEAR) > 0


def likeness_on_image(features: Features, target: PersonalTarget) -> FloatArray:  # -> (H, W)
    """Cosine similarity of every pixel's cell to the target."""
    cells = _map_of(features)
    similarity = np.tensordot(target.direction, cells / np.linalg.norm(cells, axis=0), 1)
    large = cv2.resize(similarity, (4 * similarity.shape[1], 4 * similarity.shape[0]))
    return logits_to_image(np.asarray(large, np.float32)[None], features.geometry)[0]


def find_target(model: Model, image: UintImage, target: PersonalTarget) -> Mask:
    """Mask of the target in an image (H, W, 3)."""
    features = model.encode(image)
    *_, last = personal_steps(model.runtime, features, target)
    mask = _pixels(last.logits[last.best], features, model.runtime.spec.mask_threshold)
    return Mask(rle=mask_to_rle(mask), score=float(np.clip(last.scores[last.best], 0, 1)))


def personal_steps(
    runtime: ImageRuntime, features: Features, target: PersonalTarget
) -> list[PersonalStep]:
    """The three predictions for an image; the last is the result."""
    likeness = likeness_on_image(features, target)
    likest = _pixel(likeness.argmax(), likeness)
    if target.weights is None:
        clicks, labels = [likest, _pixel(likeness.argmin(), likeness)], [1, 0]
        prompt = Prompt.of(clicks, labels)
        plain = (likeness - likeness.mean()) / likeness.std(ddof=1)
        cells = _map_of(features).shape[1:]
        small = cv2.resize(plain, cells[::-1], interpolation=cv2.INTER_LINEAR)
        first = _ask(
            runtime, features, prompt, 1, sigmoid(np.asarray(small, np.float32)), target.mean
        )
        steps = [first, _ask(runtime, features, Prompt.of(clicks, labels, mask=first.logits[0]), 3)]
        best = steps[-1].logits[steps[-1].best]
        mask = _pixels(best, features, runtime.spec.mask_threshold)
    else:
        clicks, labels = [likest], [1]
        first = _ask(runtime, features, Prompt.of(clicks, labels), 3)
        steps, best = [first], np.tensordot(target.weights, first.logits, 1)
        mask = _pixels(best, features, runtime.spec.mask_threshold)
    while len(steps) < 3:
        box = mask_to_box(mask) if mask.any() else None
        steps.append(_ask(runtime, features, Prompt.of(clicks, labels, box, best), 3))
        best = steps[-1].logits[steps[-1].best]
        mask = _pixels(best, features, runtime.spec.mask_threshold)
    return steps


def _pixel(place: np.intp, plane: FloatArray) -> tuple[float, float]:
    y, x = np.unravel_index(place, plane.shape)
    return float(x), float(y)


def _pixels(logits: FloatArray, features: Features, threshold: float) -> BoolArray:  # -> (H, W)
    return logits_to_masks(logits[None], features.geometry, threshold)[0]


def _ask(
    runtime: ImageRuntime,
    features: Features,
    prompt: Prompt,
    count: int,
    attention: FloatArray | None = None,
    target: FloatArray | None = None,
) -> PersonalStep:
    """Predict one or three masks for a prompt, in the model's order, optionally guided."""
    ((_, batch),) = group_prompts([prompt], features.geometry, runtime.spec, 1)
    if attention is None or target is None:
        decoded = runtime.decode(features.encoder_output, batch)
    else:
        decode_guided = require(runtime, runtime.decode_guided, "guided decoding")
        decoded = decode_guided(features.encoder_output, batch, attention, target)
    family = runtime.family
    assert isinstance(family, SamFamily)  # models with guided decoding
    choose = family.single if count == 1 else family.several
    logits, scores = choose(*decoded)
    return PersonalStep(prompt, logits[0], scores[0], int(scores[0].argmax()))


def _learn_weights(
    runtime: ImageRuntime, features: Features, target: PersonalTarget, truth: BoolArray, steps: int
) -> FloatArray:  # (H, W) -> (3,)
    """Weights with which the combination of the three masks is the exemplar's mask."""
    import torch
    from torch.nn import functional as F

    likeness = likeness_on_image(features, target)
    prompt = Prompt.of([_pixel(likeness.argmax(), likeness)], [1])
    logits = _ask(runtime, features, prompt, 3).logits
    planes = torch.from_numpy(logits_to_image(logits, features.geometry)).flatten(1)
    requested = torch.from_numpy(truth).flatten().float()
    weights = torch.full((2,), 1 / 3, requires_grad=True)
    learner = torch.optim.AdamW([weights], lr=LEARNING_RATE, eps=ADAMW_EPSILON)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(learner, steps)
    alpha, gamma = FOCAL
    for _ in range(steps):
        mixed = (planes * torch.cat([1 - weights.sum()[None], weights])[:, None]).sum(0)
        chance = mixed.sigmoid()
        dice = 1 - (2 * (chance * requested).sum() + 1) / (chance.sum() + requested.sum() + 1)
        missed = 1 - (chance * requested + (1 - chance) * (1 - requested))
        balance = alpha * requested + (1 - alpha) * (1 - requested)
        entropy = F.binary_cross_entropy_with_logits(mixed, requested, reduction="none")
        loss = dice + (balance * entropy * missed**gamma).mean()
        learner.zero_grad()
        loss.backward()
        learner.step()
        schedule.step()
    return torch.cat([1 - weights.detach().sum()[None], weights.detach()]).numpy()
