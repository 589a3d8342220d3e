"""Classes of a tuned model: a photo in, a label map out; masks in, each with its class out.

The class of a mask is the one that most of its cells are of, and its probability the mean over
those cells, among the K classes. Letters: K classes, m the side of the low-resolution masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from anymask.base import FloatArray, ModelError, UintImage
from anymask.masks import Features, LabelMap, Mask, logits_to_image, mask_to_model, rle_to_mask
from anymask.runtime import ClassLabelling, ImageRuntime
from anymask.segment.prediction import Prediction


def label_photo(runtime: ImageRuntime, embedding: Features) -> LabelMap:
    """The class of every pixel. Raises ModelError for a model without classes."""
    logits = _cell_logits(runtime, embedding)
    best = logits_to_image(logits[:1], embedding.geometry)[0]
    numbers: UintImage = np.zeros(best.shape, np.uint8)
    for number in range(1, len(logits)):  # one at a time: a large photo has many pixels
        plane = logits_to_image(logits[number : number + 1], embedding.geometry)[0]
        higher = plane > best
        numbers[higher] = number
        np.maximum(best, plane, out=best)
    return LabelMap(runtime.spec.classes, numbers)


def name_answers(
    runtime: ImageRuntime, embedding: Features, answers: Sequence[Prediction]
) -> list[Prediction]:
    """Each mask of each answer with its class; empty masks have none, nor have those of a model
    without classes."""
    if not runtime.spec.classes or not answers:
        return list(answers)
    shares = _shares(_cell_logits(runtime, embedding))
    named = []
    for answer in answers:
        items = []
        for one in answer.items:
            cover = (one.shown_logits > one.threshold).astype(np.float32)
            if cover.any():
                label, probability = _class_of(cover, shares, runtime.spec.classes)
                one = replace(one, label=label, label_probability=probability)
            items.append(one)
        named.append(replace(answer, items=tuple(items)))
    return named


def name_records(runtime: ImageRuntime, embedding: Features, records: Sequence[Mask]) -> list[Mask]:
    """Each record with its class; as they are where the model has none."""
    if not runtime.spec.classes or not records:
        return list(records)
    shares = _shares(_cell_logits(runtime, embedding))
    named = []
    for record in records:
        cells = mask_to_model(rle_to_mask(record.rle), embedding.geometry, runtime.spec.mask_side)
        cover = 1 / (1 + np.exp(-cells[0]))
        label, probability = _class_of(cover, shares, runtime.spec.classes)
        named.append(replace(record, label=label, label_probability=probability))
    return named


def _cell_logits(runtime: ImageRuntime, embedding: Features) -> FloatArray:  # (1 + K, m, m)
    labelling = runtime.capability(ClassLabelling)
    if labelling is None:
        raise ModelError(
            f"{runtime.spec.name} knows no classes; tune it on your own: anymask finetune "
            "--classes all"
        )
    return labelling.label_cells(embedding.seen)


def _shares(logits: FloatArray) -> FloatArray:  # (1 + K, m, m) -> the same, in all 1
    powers = np.exp(logits - logits.max(0))
    shares: FloatArray = powers / powers.sum(0)
    return shares


def _class_of(cover: FloatArray, shares: FloatArray, classes: tuple[str, ...]) -> tuple[str, float]:
    """The class of a mask (m, m) and its probability among the classes."""
    sums = (shares[1:] * cover).sum((1, 2)) + 1e-9
    best = int(sums.argmax())
    return classes[best], round(float(sums[best] / sums.sum()), 4)
