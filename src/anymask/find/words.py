"""Everything in a photo that words mean: photo and phrases in, one mask a thing out, labelled.

With a detector: boxes with a score for each phrase, then our segmenter's mask in each box. Without
one: the masks of everything, each compared with the names that the model knows (`known_names`).

One record a thing: of the phrases that reach their threshold the highest names it, the next best is
kept as `runner_up`. Boxes that came twice, and boxes of two phrases around one thing, are told by
their masks.

Letters: Q boxes, P phrases, H W the photo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict, Unpack, get_args

import numpy as np

from anymask.base import InputError, UintImage, check_keywords, check_number
from anymask.find.detectors import open_detector
from anymask.find.grounding import Detector, ScoredBoxes, SegmentedBoxes
from anymask.find.known_names import SeenMasks, check_names, find_by_name
from anymask.find.phrases import Phrase, Phrases, read_phrases
from anymask.images import ImageSource, load_image, picture_of
from anymask.masks import Features, Mask, Masks, box_nms, cut_boxes, rle_area, rle_iou

if TYPE_CHECKING:
    from anymask.segment import Model

DUPLICATE = 0.7  # IoU of two masks from which on they are one thing
SAME_BOX = 0.9  # IoU of two boxes from which on only one is segmented
MAX_BOXES = 300  # of a photo
AT_ONCE = 64  # boxes that are segmented together
NOTHING = "no matching objects; lower --score, for example --score 0.1"


Method = Literal["likeness", "persam", "persam_f"]


class FindKeywords(TypedDict, total=False):
    """The keyword arguments of `Model.find` beside the photo and the words."""

    detector: str | Path | Detector | None
    score: float | Mapping[str, float] | None
    iou: float
    top_k: int | None
    side: int | None
    device: str
    method: Method | None
    bgr: bool
    allow_url: bool


@dataclass(frozen=True, kw_only=True)
class FindSettings:
    """How things are found.

    Raises InputError for values out of range.

    Attributes:
        detector: A name of `find.known_detectors()`, a folder, or an open one; None: the
            model's own names.
        score: The least score of a thing, 0..1; a mapping has one for each phrase or label;
            None: the detector's own.
        iou: Two masks that overlap with a larger IoU are one thing.
        top_k: The best so many of each label; None: all.
        side: The longer side, in pixels, of what the detector sees; None: its own, on a
            processor 640 where it takes any size.
        device: Of the detector: "auto", "cpu", "cuda", ...
        method: With an example and no detector: "likeness" (the bundled models), "persam" or
            "persam_f" (SAM-type models on torch); None: what the model has.
    """

    detector: str | Path | Detector | None = None
    score: float | Mapping[str, float] | None = None
    iou: float = DUPLICATE
    top_k: int | None = None
    side: int | None = None
    device: str = "auto"
    method: Method | None = None

    def __post_init__(self) -> None:
        check_number("iou", self.iou, 0, 1)
        if self.top_k is not None and (type(self.top_k) is not int or self.top_k < 1):
            raise InputError(
                f"Invalid top_k {self.top_k!r}. Use a whole number of at least 1, or None."
            )
        if self.method is not None and self.method not in get_args(Method):
            raise InputError(
                f"Unknown method {self.method!r}. Use one of: "
                f"{', '.join(map(str, get_args(Method)))}."
            )
        if self.side is not None and self.detector is None:
            raise InputError("Option side requires a detector. Pass detector, or omit side.")


class WordFinder:
    """Finds what words mean, in any number of photos.

    Raises InputError for words that the model does not know where there is no detector, ModelError,
    and what `open_detector` raises.

    Attributes:
        phrases: With thresholds of their own where they have any (`read_phrases`).
        detector: What reads them; None: the model's own names.
        about: What its answers depend on, ready for JSON.
        untrained: Without a detector: the names without training images.
    """

    def __init__(
        self,
        model: Model,
        phrases: Sequence[Phrase],
        settings: FindSettings = FindSettings(),
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
            "iou": settings.iou,
            "top_k": settings.top_k,
            "side": settings.side,
        }

    def __call__(self, image: ImageSource, source: Mapping[str, Any] | None = None) -> Masks:
        """What is found in a photo; `source`: how it is read. Raises ImageError."""
        photo = load_image(image, **(source or {}))
        hw = (photo.shape[0], photo.shape[1])
        picture, origin = picture_of(image, photo), self.model.origin
        return Masks(self.find(photo), image_hw=hw, picture=picture, origin=origin)

    def find(self, photo: UintImage) -> list[Mask]:
        """What is found in a photo (H, W, 3), best first."""
        return find_phrases(self.model, photo, self.phrases, self.detector, self.settings)


def find_words(
    model: Model, image: ImageSource, words: Phrases, **given: Unpack[FindKeywords]
) -> Masks:
    """What `Model.find` answers: best first. Raises as it does."""
    settings, source = split_settings(image, given)
    return WordFinder(model, read_phrases(words, settings.score), settings)(image, source)


def split_settings(image: object, given: Mapping[str, Any]) -> tuple[FindSettings, dict[str, Any]]:
    """The settings of a call, and how its photo is read. Raises InputError."""
    check_keywords(given, sorted(FindKeywords.__optional_keys__))
    if isinstance(image, Features):
        raise InputError(
            "Finding objects requires the image, but only its embedding was given. Pass the image."
        )
    source = {name: given[name] for name in ("bgr", "allow_url") if name in given}
    return FindSettings(**{name: one for name, one in given.items() if name not in source}), source


def find_phrases(
    model: Model,
    photo: UintImage,
    phrases: Sequence[Phrase],
    detector: Detector | None,
    settings: FindSettings,
    seen: SeenMasks | None = None,
) -> list[Mask]:
    """The things in a photo (H, W, 3), best first; the thresholds are those of the phrases.

    Args:
        seen: Without a detector: the masks of the photo, which several searches can share.
    """
    if detector is None:
        found = find_by_name(model, photo, phrases, seen)
    else:
        boxes = detector.detect(photo, [one.prompt for one in phrases], settings.side)
        named = name_boxes(boxes, phrases, detector.threshold)
        inside = clip_boxes(named, photo.shape[:2])
        if isinstance(boxes, SegmentedBoxes):
            found = own_masks(boxes, inside)
        else:
            found = mask_boxes(model, photo, inside)
    return best_of_each(one_per_object(found, settings.iou), settings.top_k)


class NamedBox(NamedTuple):
    """A box x0, y0, x1, y1 in pixels, the label and score of its phrase, and the next best.

    Attributes:
        row: Of the box in what the detector saw.
    """

    corners: tuple[float, ...]
    label: str
    score: float
    runner_up: tuple[str, float] | None
    row: int = 0


def name_boxes(seen: ScoredBoxes, phrases: Sequence[Phrase], threshold: float) -> list[NamedBox]:
    """The boxes that reach a phrase's threshold, best first, each once.

    Args:
        threshold: Of phrases that have none of their own.
    """
    least = np.array([threshold if p.threshold is None else p.threshold for p in phrases])
    passed = np.where(seen.scores >= least, seen.scores, -1.0)
    best, own = passed.max(1), passed.argmax(1)
    order = np.argsort(-best, kind="stable")
    order = order[best[order] >= 0][:MAX_BOXES]
    # Only boxes of one label are compared: another label's may become a runner-up by its mask.
    places = {label: place for place, label in enumerate(dict.fromkeys(p.label for p in phrases))}
    apart = np.array([places[phrases[own[row]].label] for row in order], np.float32)
    reach = float(np.abs(seen.boxes).max(initial=0)) * 4
    kept = box_nms(seen.boxes[order] + (apart * reach)[:, None], best[order], SAME_BOX)
    named = []
    for row in order[np.sort(kept)]:
        label = phrases[own[row]].label
        others = [
            (phrase.label, round(float(score), 4))
            for phrase, score in zip(phrases, seen.scores[row], strict=True)
            if phrase.label != label and score > 0
        ]
        runner_up = max(others, key=lambda one: one[1], default=None)
        corners = tuple(map(float, seen.boxes[row]))
        named.append(NamedBox(corners, label, round(float(best[row]), 4), runner_up, int(row)))
    return named


def clip_boxes(named: Sequence[NamedBox], hw: tuple[int, int]) -> list[NamedBox]:
    """The boxes cut at the photo's border; those with less than a pixel in it are left out."""
    kept = []
    for one in named:
        x0, y0, x1, y1 = one.corners
        x0, x1 = max(0.0, x0), min(float(hw[1]), x1)
        y0, y1 = max(0.0, y0), min(float(hw[0]), y1)
        if x1 - x0 >= 1 and y1 - y0 >= 1:
            kept.append(one._replace(corners=(x0, y0, x1, y1)))
    return kept


def mask_boxes(model: Model, photo: UintImage, named: Sequence[NamedBox]) -> list[Mask]:
    """A mask for each box; boxes in which the model sees nothing are left out.

    Raises InputError for a model that takes no boxes.
    """
    if "box" not in model.spec.accepts:
        raise InputError(f"{model.name} does not support box prompts. Use another model.")
    if not named:
        return []
    features = model.encode(photo)
    found = []
    for start in range(0, len(named), AT_ONCE):
        some = named[start : start + AT_ONCE]
        boxes = cut_boxes([one.corners for one in some], features.image_hw)
        masks = model.segment(features, boxes=boxes)
        for one, record in zip(some, masks, strict=True):
            if rle_area(record.rle):
                found.append(name_mask(replace(record, picture=None), one))
    return found


def own_masks(seen: SegmentedBoxes, named: Sequence[NamedBox]) -> list[Mask]:
    """The masks of a detector that brings its own; empty ones are left out."""
    masks = [(one, seen.mask(one.row)) for one in named]
    return [name_mask(Mask(rle), one) for one, rle in masks if rle_area(rle)]


def name_mask(mask: Mask, one: NamedBox) -> Mask:
    """A mask called as its box is."""
    return replace(
        mask, label=one.label, score=one.score, label_probability=one.score, runner_up=one.runner_up
    )


def one_per_object(found: Sequence[Mask], iou: float) -> list[Mask]:
    """The records, best first, without those whose thing a better one has already.

    Where they are of different labels, the worse one's may become the better one's runner-up.
    """
    kept: list[Mask] = []
    for record in sorted(found, key=lambda one: -one.score):
        alike = rle_iou([one.rle for one in kept], [record.rle])[:, 0] if kept else np.zeros(0)
        if not len(alike) or alike.max() <= iou:
            kept.append(record)
            continue
        place = int(alike.argmax())
        better = kept[place]
        known = better.runner_up[1] if better.runner_up else 0.0
        if record.label is not None and record.label != better.label and record.score > known:
            kept[place] = replace(better, runner_up=(record.label, record.score))
    return kept


def best_of_each(found: Sequence[Mask], top_k: int | None) -> list[Mask]:
    """The first `top_k` of each label."""
    if top_k is None:
        return [*found]
    counts: dict[str | None, int] = {}
    kept = []
    for record in found:
        counts[record.label] = counts.get(record.label, 0) + 1
        if counts[record.label] <= top_k:
            kept.append(record)
    return kept
