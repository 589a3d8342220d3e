"""Segment every object that matches a text prompt, with labels.

With a detector: boxes with a score per phrase, each segmented by the model. Without one: all masks
of the image, compared with the names that the model was trained on (`known_names`).

There is one mask per object: of the phrases that reach their threshold, the best is the label, and
the next best is stored as `runner_up`. Duplicate boxes, and boxes of two phrases around one object,
are detected by their masks.

Letters: Q boxes, P phrases, H W the image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Unpack

import numpy as np

from anymask.base import InputError, Progress, Setting, UintImage, check_keywords, describe_settings
from anymask.find.clip import ClipNames
from anymask.find.detectors import open_detector
from anymask.find.grounding import Detector, ScoredBoxes, SegmentedBoxes
from anymask.find.known_names import CandidateMasks, check_names, find_by_name
from anymask.find.phrases import Phrase, Phrases, read_phrases
from anymask.images import ImageSource, load_referenced
from anymask.masks import Features, Mask, Masks, box_nms, cut_boxes, rle_area, rle_iou

if TYPE_CHECKING:
    from anymask.keywords import FindKeywords
    from anymask.segment import Model

SAME_OBJECT_IOU = 0.7  # minimum IoU of two masks of one object
SAME_BOX = 0.9  # minimum IoU of two boxes of which only one is segmented
MAX_BOXES = 300  # per image
BOX_BATCH_SIZE = 64  # boxes per batch
NO_MATCH = "no matching objects; lower --score, for example --score 0.1"


ExemplarMethod = Literal["likeness", "persam", "persam_f"]


@describe_settings
@dataclass(frozen=True, kw_only=True)
class FindSettings:
    """Settings of `Model.find`.

    Raises:
        InputError: A value is out of range.
    """

    detector: Annotated[
        str | Path | Detector | None,
        Setting("detector that finds objects by arbitrary words", metavar="NAME|FOLDER",
                default="none; only the built-in names are found"),
    ] = None  # fmt: skip
    score: Annotated[
        float | Mapping[str, float] | None,
        Setting("minimum confidence score, 0 to 1", default="set by the detector"),
    ] = None
    nms_iou: Annotated[
        float, Setting("minimum overlap (IoU) at which two masks are merged", le=1)
    ] = SAME_OBJECT_IOU
    top_k: Annotated[
        int | None,
        Setting("maximum number of objects per label, highest score first", ge=1, default="all"),
    ] = None
    side: Annotated[
        int | None,
        Setting("longer side of the detector input, in pixels", ge=1, unit="pixels",
                default="set by the detector; on a CPU 640"),
    ] = None  # fmt: skip
    device: str = "auto"  # Device of the detector: "auto", "cpu", "cuda", ...
    method: Annotated[
        ExemplarMethod | None,
        Setting("how objects are compared with an exemplar: by the features of a bundled model, or "
                "by PerSAM with a SAM-type model on PyTorch",
                default="the method that the model supports"),
    ] = None  # fmt: skip

    def __post_init__(self) -> None:
        if self.side is not None and self.detector is None:
            raise InputError("Option side requires a detector. Pass detector, or omit side.")


class WordFinder:
    """Finds objects that match a text prompt in any number of images.

    Attributes:
        phrases: Phrases, optionally with thresholds (`read_phrases`).
        detector: The detector, or None for the model's names.
        about: Values on which the results depend, as JSON types.
        untrained: Without a detector: names without training images.

    Raises:
        InputError: A name is unknown, and there is no detector.
        ModelError: The model does not support names. `WordFinder` also raises the errors of
            `open_detector`.
    """

    def __init__(
        self, model: Model, phrases: Sequence[Phrase], settings: FindSettings = FindSettings()
    ) -> None:
        if settings.method is not None:
            raise InputError("Option method applies only to exemplars. Omit it with a text prompt.")
        self.model, self.phrases, self.settings = model, phrases, settings
        name = settings.detector
        self.detector = None if name is None else open_detector(name, settings.device)
        self.untrained = check_names(model, phrases) if self.detector is None else []
        self.about: dict[str, Any] = {
            "phrases": [asdict(phrase) for phrase in phrases],
            "detector": None if self.detector is None else self.detector.about,
            "iou": settings.nms_iou,
            "top_k": settings.top_k,
            "side": settings.side,
        }

    def __call__(self, image: ImageSource, source: Mapping[str, Any] | None = None) -> Masks:
        """Find objects in an image; `source` has the image options. Raises ImageError."""
        pixels, source_image = load_referenced(image, **(source or {}))
        hw, origin = (pixels.shape[0], pixels.shape[1]), self.model.origin
        return Masks(self.find(pixels), image_hw=hw, source_image=source_image, origin=origin)

    def find(self, image: UintImage, progress: Progress = None) -> list[Mask]:
        """Find objects in an image (H, W, 3), best first.

        Args:
            image: The image.
            progress: Without a detector: as for `Model.everything`.
        """
        own = self.detector is None
        candidates = CandidateMasks.of(self.model, image, progress=progress) if own else None
        return find_phrases(
            self.model, image, self.phrases, self.detector, self.settings, candidates
        )


def find_words(
    model: Model, image: ImageSource, words: Phrases, **given: Unpack[FindKeywords]
) -> Masks:
    """Implementation of `Model.find` with a text prompt."""
    settings, source = split_settings(image, given)
    return WordFinder(model, read_phrases(words, settings.score), settings)(image, source)


def split_settings(image: object, given: Mapping[str, Any]) -> tuple[FindSettings, dict[str, Any]]:
    """Split keywords into settings and image options.

    Raises:
        InputError: A keyword is invalid, or the image is an embedding.
    """
    check_keywords(given, sorted(["bgr", "allow_url", *FindSettings.__dataclass_fields__]))
    if isinstance(image, Features):
        raise InputError(
            "Finding objects requires the image, but only its embedding was given. Pass the image."
        )
    source = {name: given[name] for name in ("bgr", "allow_url") if name in given}
    return FindSettings(**{name: v for name, v in given.items() if name not in source}), source


def find_phrases(
    model: Model,
    image: UintImage,
    phrases: Sequence[Phrase],
    detector: Detector | None,
    settings: FindSettings,
    candidates: CandidateMasks | None = None,
) -> list[Mask]:
    """Objects in an image (H, W, 3), best first, with the thresholds of the phrases.

    Args:
        model: The model.
        image: Image (H, W, 3).
        phrases: Phrases to find.
        detector: The detector, or None for the model's names.
        settings: Settings of the search.
        candidates: Without a detector: candidates of the image, shared by several searches.
    """
    if detector is None:
        masks = find_by_name(model, image, phrases, candidates)
    elif isinstance(detector, ClipNames):
        if settings.side is not None:
            raise InputError(f"{detector.name} has a fixed input size. Omit side.")
        masks = find_by_name(model, image, phrases, naming=detector.naming(phrases))
    else:
        boxes = detector.detect(image, [phrase.prompt for phrase in phrases], settings.side)
        named = name_boxes(boxes, phrases, detector.threshold)
        inside = clip_boxes(named, image.shape[:2])
        if isinstance(boxes, SegmentedBoxes):
            # Masks of a detector that segments; empty ones are removed.
            pairs = [(box, boxes.mask(box.row)) for box in inside]
            masks = [name_mask(Mask(rle), box) for box, rle in pairs if rle_area(rle)]
        else:
            masks = mask_boxes(model, image, inside)
    return best_of_each(one_per_object(masks, settings.nms_iou), settings.top_k)


class NamedBox(NamedTuple):
    """A box x0, y0, x1, y1 in pixels with label, score and runner-up."""

    corners: tuple[float, ...]  # The box
    label: str  # Label of its best phrase
    score: float  # Score of its best phrase
    runner_up: tuple[str, float] | None  # Second-best label and its score, or None
    row: int = 0  # Index of the box in the detector's output


def name_boxes(boxes: ScoredBoxes, phrases: Sequence[Phrase], threshold: float) -> list[NamedBox]:
    """Boxes that reach a phrase's threshold, best first, without duplicates.

    Args:
        boxes: Output of the detector.
        phrases: P phrases.
        threshold: Threshold of phrases without one.
    """
    least = np.array([threshold if p.threshold is None else p.threshold for p in phrases])
    passed = np.where(boxes.scores >= least, boxes.scores, -1.0)
    best, winner = passed.max(1), passed.argmax(1)
    order = np.argsort(-best, kind="stable")
    order = order[best[order] >= 0][:MAX_BOXES]
    # Only boxes of one label are compared: another label may become a runner-up by its mask.
    places = {label: index for index, label in enumerate(dict.fromkeys(p.label for p in phrases))}
    apart = np.array([places[phrases[winner[row]].label] for row in order], np.float32)
    reach = float(np.abs(boxes.boxes).max(initial=0)) * 4
    kept = box_nms(boxes.boxes[order] + (apart * reach)[:, None], best[order], SAME_BOX)
    named = []
    for row in order[np.sort(kept)]:
        label = phrases[winner[row]].label
        others = [
            (phrase.label, round(float(score), 4))
            for phrase, score in zip(phrases, boxes.scores[row], strict=True)
            if phrase.label != label and score > 0
        ]
        runner_up = max(others, key=lambda one: one[1], default=None)
        corners = tuple(map(float, boxes.boxes[row]))
        named.append(NamedBox(corners, label, round(float(best[row]), 4), runner_up, int(row)))
    return named


def clip_boxes(named: Sequence[NamedBox], hw: tuple[int, int]) -> list[NamedBox]:
    """Clip boxes to the image; boxes of less than a pixel are removed."""
    kept = []
    for box in named:
        x0, y0, x1, y1 = box.corners
        x0, x1 = max(0.0, x0), min(float(hw[1]), x1)
        y0, y1 = max(0.0, y0), min(float(hw[0]), y1)
        if x1 - x0 >= 1 and y1 - y0 >= 1:
            kept.append(box._replace(corners=(x0, y0, x1, y1)))
    return kept


def mask_boxes(model: Model, image: UintImage, named: Sequence[NamedBox]) -> list[Mask]:
    """Segment the object in each box; empty masks are removed.

    Raises InputError if the model does not support box prompts.
    """
    if "box" not in model.spec.accepts:
        raise InputError(f"{model.name} does not support box prompts. Use another model.")
    if not named:
        return []
    features = model.encode(image)
    masks = []
    for start in range(0, len(named), BOX_BATCH_SIZE):
        some = named[start : start + BOX_BATCH_SIZE]
        boxes = cut_boxes([box.corners for box in some], features.image_hw)
        for box, record in zip(some, model.segment(features, boxes=boxes), strict=True):
            if rle_area(record.rle):
                masks.append(name_mask(replace(record, source_image=None), box))
    return masks


def name_mask(mask: Mask, one: NamedBox) -> Mask:
    """Set label, score and runner-up of a mask from its box."""
    return replace(
        mask, label=one.label, score=one.score, label_probability=one.score, runner_up=one.runner_up
    )


def one_per_object(found: Sequence[Mask], iou: float) -> list[Mask]:
    """Remove masks of an object that already has a better one; best first.

    A different label of the removed mask may become the runner-up of the better one.
    """
    kept: list[Mask] = []
    for record in sorted(found, key=lambda one: -one.score):
        alike = rle_iou([mask.rle for mask in kept], [record.rle])[:, 0] if kept else np.zeros(0)
        if not len(alike) or alike.max() <= iou:
            kept.append(record)
            continue
        index = int(alike.argmax())
        better = kept[index]
        known = better.runner_up[1] if better.runner_up else 0.0
        if record.label is not None and record.label != better.label and record.score > known:
            kept[index] = replace(better, runner_up=(record.label, record.score))
    return kept


def best_of_each(found: Sequence[Mask], top_k: int | None) -> list[Mask]:
    """The first `top_k` masks of each label."""
    if top_k is None:
        return [*found]
    counts: dict[str | None, int] = {}
    kept = []
    for record in found:
        counts[record.label] = counts.get(record.label, 0) + 1
        if counts[record.label] <= top_k:
            kept.append(record)
    return kept
