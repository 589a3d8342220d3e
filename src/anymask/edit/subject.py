"""Find and segment the main subject of an image, without a prompt.

A logistic probe on the features of `small` predicts for each cell the probability that it belongs
to the main subject, from the cell's features, their distance to those along the image's border, and
its position. Boxes around the likely cells, a click in their centre and the cells themselves are
prompts; of the predicted masks, the one with the highest agreement with the others is returned. If
none agrees with the map, the image has no clear subject.

The probe is a table next to the weights (`subject.json`), fitted by `research/subject.py`; it fits
no other weights. `nano` has one for the JavaScript package (`web/src/model/subject.ts`); Python
uses `small`, which finds more subjects.

Letters: H W an image, h w its cells of 16 model pixels, C channels, D features of a cell.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from anymask.base import DataError, FloatArray, UintImage, WeightsError, brief, parse_json
from anymask.masks import Features, Mask, Prompt, center_click, open_box
from anymask.runtime import ASSETS, open_runtime, without_advice

if TYPE_CHECKING:
    from anymask.segment import Model

SUBJECT_MODEL = "small"  # model of the features
SUBJECT_STRIDE = 16  # model pixels per cell
BOX_THRESHOLDS = (0.15, 0.25, 0.5, 0.7)  # thresholds of the map for boxes


@brief
@dataclass(frozen=True)
class SubjectProbe:
    """A fitted probe."""

    weights_hash: str  # Hash of the model weights whose features it requires
    weights: FloatArray  # Weights (D,) of a cell's features
    offset: float  # Constant term
    least: float  # Minimum agreement of mask and map for a clear subject, 0..1


def probe_file(model: str) -> Path:
    """Return the path of the table of a bundled model."""
    return ASSETS / model / "subject.json"


@functools.cache
def shipped_probe(model: str = SUBJECT_MODEL) -> SubjectProbe:
    """Load the probe next to the weights. Raises WeightsError if it is missing or invalid."""
    path = probe_file(model)
    try:
        table: Any = parse_json(path.read_bytes(), path)
        weights = np.array(table["weights"], np.float32)
        return SubjectProbe(
            table["weights_hash"], weights, float(table["offset"]), float(table["least"])
        )
    except (OSError, LookupError, TypeError, ValueError, DataError) as error:
        raise WeightsError(
            f"The file {path} is missing or corrupted. Reinstall anymask."
        ) from error


def cell_numbers(features: Features) -> FloatArray:  # -> (h, w, D)
    """Inputs of the probe: features, their distance to those of the border, and the position."""
    h, w = (-(-side // SUBJECT_STRIDE) for side in features.geometry.input_hw)
    cells = features.features.astype(np.float32)[:, :h, :w]
    rim = [cells[:, 0], cells[:, -1], cells[:, :, 0], cells[:, :, -1]]
    border = np.concatenate(rim, axis=1).mean(axis=1)[:, None, None]  # (C, 1, 1)
    away = cells - border
    length = np.linalg.norm(cells, axis=0) * np.linalg.norm(border) + 1e-6
    alike = (cells * border).sum(axis=0) / length
    y, x = np.meshgrid(_places(h), _places(w), indexing="ij")
    position = np.stack([alike, x**2, y**2, np.hypot(x, y), np.abs(x), y])
    numbers = np.concatenate([cells, away, np.abs(away), position]).transpose(1, 2, 0)
    return np.asarray(numbers, np.float32)


def _places(count: int) -> FloatArray:
    """Centres of `count` cells, -1..1."""
    return ((np.arange(count, dtype=np.float32) + 0.5) / count * 2 - 1).astype(np.float32)


def subject_map(features: Features, probe: SubjectProbe) -> FloatArray:  # -> (h, w)
    """Probability that each cell belongs to the main subject, 0..1."""
    likely = cell_numbers(features) @ probe.weights + probe.offset
    return np.asarray(1 / (1 + np.exp(-np.clip(likely, -30, 30))), np.float32)


def main_subject(model: Model, image: UintImage) -> Mask | None:  # (H, W, 3)
    """Mask of the main subject, or None if there is no clear subject.

    The score of the mask is the clarity of the subject, 0..1.

    Args:
        model: The model. If it is not `small`, that model is also loaded, once.
        image: Image (H, W, 3).

    Raises:
        WeightsError: `small` has other weights than the bundled ones.
    """
    probe = shipped_probe()
    kind: Any = type(model)  # mypy checks the hash of its instances
    seer = model if model.name == SUBJECT_MODEL else _open_seer(kind)
    if seer.runtime.weights_hash != probe.weights_hash:
        raise WeightsError(
            f"Detection of the main subject requires the weights of {SUBJECT_MODEL} "
            "that are included in the package. Pass a prompt, or use the model "
            f"{SUBJECT_MODEL!r}."
        )
    with without_advice():  # another model does not find subjects
        features = seer.encode(image)
    best = best_candidate(seer, features, subject_map(features, probe))
    return best if best is not None and best.score >= probe.least else None


def prompted_object(
    model: Model, image: UintImage, shown: UintImage, prompt: Mapping[str, Any]
) -> Mask | None:
    """Object of the arguments of `Model.segment`, or without them the main subject, if any.

    Negative points alone take away from the main subject of `shown` (H, W, 3).
    """
    if not prompt:
        return main_subject(model, shown)
    given: dict[str, Any] = {**prompt}
    if given.keys() == {"points", "point_labels"} and not np.any(given["point_labels"]):
        less = less_of_subject(Prompt.of(*given.values()), main_subject(model, shown))
        given |= {"mask": less.mask, "box": less.box}
    return model.segment(image, **given).best


def less_of_subject(prompt: Prompt, subject: Mask | None) -> Prompt:
    """Add the main subject to negative points, with its box: without it, they remove too much."""
    if subject is None:
        return prompt
    return replace(prompt, mask=subject.mask, box=np.array(subject.xyxy, np.float32))


@functools.cache  # loaded once per class
def _open_seer(kind: type[Model]) -> Model:
    """Load the bundled model that finds main subjects."""
    return kind(open_runtime(SUBJECT_MODEL))


def best_candidate(model: Model, features: Features, likely: FloatArray) -> Mask | None:
    """Of the masks for the map (h, w), the one with the highest agreement with the others.

    Its score is the best agreement of any mask with the map.
    """
    height, width = features.image_hw
    large = cv2.resize(likely, (width, height), interpolation=cv2.INTER_LINEAR)
    prompts = subject_prompts(np.asarray(large, np.float32))
    if not prompts:
        return None
    answers = model.segment(features, prompts=prompts)
    places = [(answer, index) for answer in answers for index in range(len(answer))]
    size = (likely.shape[1], likely.shape[0])
    small = np.stack(
        [
            cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
            for answer in answers
            for mask in answer.masks
        ]
    )
    alike = np.array([[agreement(one, other) for one in small] for other in small])
    scores = np.array([answer.scores[index] for answer, index in places])
    chosen, index = places[int(np.argmax(alike.sum(axis=1) * np.clip(scores, 0.01, 1)))]
    clear = max(agreement(plane, likely) for plane in small)
    return replace(chosen[index], score=clear, points=(), source_image=None)


def subject_prompts(likely: FloatArray) -> list[Prompt]:  # (H, W)
    """Candidate prompts: boxes at several thresholds; at 0.5 also a center click and a mask."""
    prompts = []
    for level in BOX_THRESHOLDS:
        count, labels = cv2.connectedComponents((likely > level).astype(np.uint8))
        if count < 2:
            continue
        mass = np.bincount(labels.ravel(), weights=likely.ravel())[1:]
        largest = labels == 1 + int(mass.argmax())
        prompts += [Prompt.of(box=open_box(largest)), Prompt.of(box=open_box(labels > 0))]
        if level == 0.5:
            click = center_click(largest)
            prompts += [
                Prompt.of(points=[click]),
                Prompt.of(points=[click], box=open_box(largest)),
                Prompt.of(mask=likely > level),
            ]
    return prompts


def agreement(one: FloatArray, other: FloatArray) -> float:  # two (h, w) of 0..1
    """Soft IoU; 0 if both are empty."""
    union = float(np.maximum(one, other).sum())
    return float(np.minimum(one, other).sum()) / union if union else 0.0
