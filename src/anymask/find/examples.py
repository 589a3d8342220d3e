"""Segment every object that matches an exemplar.

For the bundled models: the feature cells of the exemplar and its surroundings predict the locations
of similar objects (`likeness.Kind.agreement`). The best locations become clicks; the resulting
masks are compared with the exemplar, and `chance_of` converts their features to the probability of
the same kind of object. The highest probability, and the similarity of the two images, give the
probability that the image contains such an object (`alike_scores`). Masks below `EXAMPLE_THRESHOLD`
are dropped, so the result may be empty. The weights are logistic regressions on pairs of training
images (`research.fit_likeness`).

Letters: H W an image, h w its cells, n masks.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from anymask.base import BoolArray, FloatArray, InputError, ModelError, UintImage
from anymask.find.detectors import open_detector
from anymask.find.grounding import ExampleDetector, ScoredBoxes, sigmoid
from anymask.find.likeness import (
    CELL_STRIDE,
    LIKENESS_FACTS,
    NAMED,
    ImageCells,
    Kind,
    cheap_facts,
    name_likeness,
    scene_vector,
    vector_likeness,
)
from anymask.find.persam import find_target, learn_target
from anymask.find.phrases import Phrase
from anymask.find.words import (
    FindSettings,
    best_of_each,
    clip_boxes,
    mask_boxes,
    name_boxes,
    one_per_object,
)
from anymask.images import ImageSource, load_image, load_mask, load_referenced
from anymask.masks import (
    Features,
    Geometry,
    Mask,
    Masks,
    Prompt,
    Rle,
    mask_nms,
    mask_to_rle,
    open_box,
    rle_area,
    rle_intersection,
    rle_to_string,
)
from anymask.models.rules import BUNDLED_MODELS
from anymask.runtime import mask_vectors

if TYPE_CHECKING:
    from anymask.segment import Model

EXAMPLE_THRESHOLD = 0.55  # default minimum score: docs/explanation/text-prompts.md
MIN_MATCH_PROBABILITY = 0.1  # probability from which a mask indicates further objects
MAX_IMAGE_CLICKS = 96  # clicks per image
CLICK_DISTANCE = 0.35  # minimum distance of two clicks, relative to the exemplar's side
MAX_COMPARED = 40  # masks with computed name vectors
MAX_ROUNDS, MIN_ROUND_MATCHES = 4, 8  # and of matches that cause another round
NMS_IOU = 0.8  # maximum IoU of two masks that are compared
DETECTED = 0.6  # default minimum score of a detector's box; not tuned
MAX_NEIGHBOR_OVERLAP = 0.2  # overlap of two neighbouring objects, relative to the smaller one
GROUP = 2  # number of contained objects from which a mask is a group ...
MIN_GROUP_COVERAGE = 0.2  # ... if they cover this share of it
DETECTOR_LABEL = "like"  # temporary label of a detector's boxes for exemplars
MIN_MASK_AREA, MAX_MASK_SHARE = 9, 0.95  # limits of a mask: area in pixels, share of the image

# Weights of the features in the order of FACTS, and the constant; and without those of the name
# model.
FACT_WEIGHTS = (1.409, 9.531, 2.983, -1.881, 6.203, -1.113, -0.131, 4.887, -16.255)
CHEAP_WEIGHTS = (7.429, -6.0, 7.408, 0.952, -0.242, 4.884)
# Weights of the image: the logit of its best mask, the similarity of the images, the constant.
IMAGE_WEIGHTS = (0.664, 3.468, 0.462)
PART = 0.9  # share of a mask inside a better one of the same label, from which it is a part
STEEPNESS = 0.7  # exponent of a mask's probability relative to the best one


Prompted = tuple[ImageSource, Mapping[str, Any]]
Examples = str | Prompted | Sequence[str | Prompted]
SYNTAX = '(image, {"point": (x, y)}), with "mask" or "box" instead of "point"'
PROMPT_KINDS = {"click": "point", "point": "point", "box": "box", "mask": "mask"}
_EXAMPLE_TEXT = re.compile(r"(.+)@(click|point|box|mask):(.+)", re.DOTALL)


class Example(NamedTuple):
    """An exemplar: image (H, W, 3) and mask (H, W)."""

    image: UintImage
    mask: BoolArray


def one_question(words: object, like: object) -> None:
    """Raise InputError unless there is either a text prompt or an exemplar.

    Raises:
        InputError: Both or neither are given.
    """
    if (words is None) == (like is None):
        got = "neither" if words is None else "both"
        raise InputError(f"Pass either a text prompt or an exemplar (like=), but {got} was given.")


def read_examples(model: Model, given: Examples) -> list[Example]:
    """Read one or several exemplars.

    Each is (image, {"mask" | "box" | "point": ...}), or a text: "photo.jpg@click:320,200",
    "@box:x0,y0,x1,y1" or "@mask:mask.png" (white is foreground). For a box or a point, the model's
    best mask is used.

    Raises InputError for an invalid exemplar, PromptError for an invalid prompt, ImageError.
    """
    if not isinstance(given, Iterable):
        raise InputError(f"Invalid exemplar. Use {SYNTAX}. Given: {str(given)[:80]}")
    several = [given] if isinstance(given, str | tuple) else list(given)
    if not several:
        raise InputError(f"The list of exemplars is empty. Pass at least one exemplar as {SYNTAX}.")
    images: dict[str, UintImage] = {}  # several exemplars of one image share its features
    examples = []
    for example in several:
        source, kind, value = parse_example(example)
        image = load_image(source)
        if isinstance(source, str | Path):
            image = images.setdefault(str(source), image)
        mask = _example_mask(model, image, kind, value)
        if not mask.any():
            raise InputError("The exemplar mask is empty. Pass a point, a box or a non-empty mask.")
        examples.append(Example(image, mask))
    return examples


def parse_example(one: Any) -> tuple[ImageSource, str, Any]:
    """Image, kind of prompt and its value. Raises InputError."""
    if isinstance(one, str):
        match = _EXAMPLE_TEXT.fullmatch(one)
        if match is None:
            raise InputError(
                f"Invalid exemplar {one!r}. Use IMAGE@point:X,Y, @box:X0,Y0,X1,Y1 or @mask:FILE."
            )
        source, kind, text = match.groups()
        if kind == "mask":
            return source, kind, Path(text)
        try:
            numbers = tuple(map(float, text.split(",")))
        except ValueError:
            raise InputError(
                f"Invalid coordinates {text!r} after @{kind}:. Use numbers separated by commas."
            ) from None
        return source, PROMPT_KINDS[kind], numbers
    is_pair = isinstance(one, tuple) and len(one) == 2 and isinstance(one[1], Mapping)
    if not is_pair or len(one[1]) != 1 or not {"mask", "box", "point"} & one[1].keys():
        raise InputError(f"Invalid exemplar {str(one)[:80]}. Use {SYNTAX}.")
    image, ((kind, value),) = one[0], one[1].items()
    return image, kind, value


def _example_mask(model: Model, image: UintImage, kind: str, value: Any) -> BoolArray:  # (H, W)
    """Mask of a prompt. Raises InputError, PromptError, ImageError."""
    if kind == "box":
        return model.segment(image, box=value).best.mask
    if kind == "point":
        return model.segment(image, points=[value]).best.mask
    if isinstance(value, str | Path):
        value = load_mask(value, "binary") > 0
    mask: BoolArray = np.asarray(value.mask if isinstance(value, Mask) else value) != 0
    if mask.shape != image.shape[:2]:
        raise InputError(
            f"The exemplar mask has the size {mask.shape}, its image {image.shape[:2]}."
        )
    return mask


@dataclass(frozen=True, eq=False)
class ExampleQuery:
    """Kind of object to find, and optionally the kind to exclude."""

    like: Kind
    unlike: Kind | None = None


def learn_kinds(
    model: Model, like: Sequence[Example], unlike: Sequence[Example] = ()
) -> ExampleQuery:
    """Learn the appearance of exemplars. Raises ModelError for a model without names."""
    features = {
        id(e.image): ImageCells.of(e.image, model.encode(e.image)) for e in (*like, *unlike)
    }

    def kind(examples: Sequence[Example]) -> Kind:
        rows = [(e.image, e.mask, features[id(e.image)]) for e in examples]
        return Kind.of(model.runtime, rows)

    return ExampleQuery(kind(like), kind(unlike) if unlike else None)


@dataclass(frozen=True, eq=False)
class ScoredCandidates:
    """Masks of an image, best first, with features."""

    masks: list[Mask]  # The masks
    facts: FloatArray  # Features (n, len(FACTS))
    unlike: BoolArray  # Whether each mask is more similar to the excluded kind (n,)
    scene: float  # Cosine similarity of the image's vector and the nearest exemplar's image


class ExampleFinder:
    """Finds objects that match exemplars in any number of images.

    With a detector, its boxes are segmented. Without one, `settings.method` is used: the features
    of the bundled models, or PerSAM, which always returns one mask per image.

    Attributes:
        examples: Exemplars to find.
        others: Exemplars to exclude.
        about: Values on which the results depend, as JSON types.

    Raises:
        InputError, ModelError, PromptError, ImageError: An exemplar or setting is invalid.
            `ExampleFinder` also raises the errors of `open_detector`.
    """

    def __init__(
        self,
        model: Model,
        like: Examples,
        unlike: Examples | None = None,
        settings: FindSettings = FindSettings(),  # noqa: B008 - it is frozen
    ) -> None:
        if isinstance(settings.score, Mapping):
            raise InputError(
                "A score per phrase requires a text prompt. Pass a single score with an exemplar."
            )
        self.model, self.settings = model, settings
        self.examples = read_examples(model, like)
        self.others = [] if unlike is None else read_examples(model, unlike)
        self.about: dict[str, Any] = {
            "like": [_marks(example) for example in self.examples],
            "unlike": [_marks(example) for example in self.others],
            **{name: getattr(settings, name) for name in ("score", "nms_iou", "top_k", "side")},
        }
        self._encode_example = self._detecting() if settings.detector is not None else self._own()

    def __call__(self, image: ImageSource, source: Mapping[str, Any] | None = None) -> Masks:
        """Find objects in an image; `source` has the image options. Raises ImageError."""
        pixels, source_image = load_referenced(image, **(source or {}))
        hw, origin = (pixels.shape[0], pixels.shape[1]), self.model.origin
        return Masks(self.find(pixels), image_hw=hw, source_image=source_image, origin=origin)

    def find(self, image: UintImage) -> list[Mask]:
        """Find objects in an image (H, W, 3), best first."""
        masks = one_per_object(self._encode_example(image), self.settings.nms_iou)
        return best_of_each(masks, self.settings.top_k)

    def _own(self) -> Callable[[UintImage], list[Mask]]:
        """Find objects by the model itself."""
        model, least = self.model, self.settings.score
        bundled = model.spec.family in BUNDLED_MODELS
        method = self.settings.method or ("likeness" if bundled else "persam")
        self.about["method"] = method
        if method != "likeness":
            if self.others:
                raise InputError(f"Method {method} does not support negative exemplars. Omit them.")
            target = learn_target(model, self.examples, method == "persam_f")
            return lambda image: [
                mask
                for mask in [find_target(model, image, target)]
                if rle_area(mask.rle) and mask.score >= cast(float, least or 0)
            ]
        if not bundled:
            raise ModelError(f'{model.name} does not support this method. Use method="persam".')
        requested = learn_kinds(model, self.examples, self.others)
        return lambda image: find_alike(model, image, requested, cast("float | None", least))

    def _detecting(self) -> Callable[[UintImage], list[Mask]]:
        """Find objects by a detector. Raises ModelError if it does not support exemplars."""
        assert self.settings.detector is not None
        if self.settings.method is not None:
            raise InputError("`method` and `detector` cannot be combined. Pass only one of them.")
        opened = open_detector(self.settings.detector, self.settings.device)
        if not isinstance(opened, ExampleDetector):
            raise ModelError(
                f"{opened.name} supports text prompts only. Use OWL, such as owlv2_base."
            )
        detector = opened
        self.about["detector"] = detector.about
        boxes = [(e.image, open_box(e.mask)) for e in [*self.examples, *self.others]]
        learned, count = detector.learn_examples(boxes), len(self.examples)
        given = self.settings.score
        least = DETECTED if given is None else cast(float, given)

        def look(image: UintImage) -> list[Mask]:
            encoded = detector.detect_examples(image, learned, self.settings.side)
            best = encoded.scores[:, :count].max(1)
            kept = best > encoded.scores[:, count:].max(1, initial=-1)
            boxes = ScoredBoxes(encoded.boxes[kept], best[kept, None])
            named = name_boxes(boxes, [Phrase(DETECTOR_LABEL, DETECTOR_LABEL)], least)
            masks = mask_boxes(self.model, image, clip_boxes(named, image.shape[:2]))
            return [replace(mask, label=None, label_probability=None) for mask in masks]

        return look


def _marks(one: Example) -> list[str]:
    """Hash of the image and encoding of the mask of an exemplar."""
    digest = hashlib.sha256(np.ascontiguousarray(one.image).data).hexdigest()
    return [digest[:32], rle_to_string(mask_to_rle(one.mask))]


def without_parts(records: Sequence[Mask]) -> list[Mask]:
    """Remove masks that are contained in a better one of the same label; best first."""
    kept: list[Mask] = []
    for record in sorted(records, key=lambda one: -one.score):
        same = [mask.rle for mask in kept if mask.label == record.label]
        inside = rle_intersection(same, [record.rle]).max(initial=0) if same else 0
        if inside <= PART * rle_area(record.rle):
            kept.append(record)
    return kept


def find_alike(
    model: Model, image: UintImage, requested: ExampleQuery, score: float | None
) -> list[Mask]:
    """Objects in an image (H, W, 3) with a minimum score, best first.

    Groups of objects, and parts of better objects, are removed.
    """
    least = EXAMPLE_THRESHOLD if score is None else score
    compared = compare(model, image, requested)
    scores = alike_scores(np.where(compared.unlike, 0, chance_of(compared.facts)), compared.scene)
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= max(least, 1e-4)]
    masks = [replace(compared.masks[n], score=round(float(scores[n]), 4)) for n in order]
    group = mark_groups([m.rle for m in masks], compared.facts[order, LIKENESS_FACTS.index("size")])
    return without_parts([m for m, several in zip(masks, group, strict=True) if not several])


def mark_groups(rles: Sequence[Rle], sizes: FloatArray) -> BoolArray:  # -> (n,)
    """Whether each mask is a group: it contains several disjoint masks, each closer in size to the
    exemplar.

    Args:
        rles: n masks, best first.
        sizes: Absolute logarithm (n,) of the size relative to the exemplar.
    """
    shared = rle_intersection(rles, rles)
    areas = shared.diagonal()
    groups = np.zeros(len(rles), np.bool_)
    for index, area in enumerate(areas):
        held: list[int] = []
        inside = (shared[:, index] > PART * areas) & (areas < area / 2) & (sizes < sizes[index])
        for n in np.flatnonzero(inside):
            if all(shared[n, m] < MAX_NEIGHBOR_OVERLAP * min(areas[n], areas[m]) for m in held):
                held.append(int(n))
        groups[index] = len(held) >= GROUP and areas[held].sum() >= MIN_GROUP_COVERAGE * area
    return groups


def chance_of(facts: FloatArray, weights: Sequence[float] = FACT_WEIGHTS) -> FloatArray:
    """Probability (n,) that a mask is the same kind of object, from features (n, len(FACTS))."""
    return sigmoid(facts @ np.array(weights[:-1], np.float32) + np.float32(weights[-1]))


def alike_scores(
    chances: FloatArray, scene: float, weights: Sequence[float] = IMAGE_WEIGHTS
) -> FloatArray:  # (n,) -> (n,)
    """Probability that the image contains such an object, lowered for masks less likely than the
    best.

    Args:
        chances: Probability of each mask.
        scene: See `ScoredCandidates`.
        weights: See `IMAGE_WEIGHTS`.
    """
    best = float(chances.max(initial=0))
    if best == 0:
        return chances
    there = chance_of(np.array([[logit(best), scene]], np.float32), weights)
    return np.power(chances / best, STEEPNESS) * there


def logit(chance: float) -> float:
    """Logit of a probability, finite for 0 and 1."""
    return float(np.log((chance + 1e-4) / (1 - chance + 1e-4)))


def compare(
    model: Model, image: UintImage, requested: ExampleQuery, most: int = MAX_COMPARED
) -> ScoredCandidates:
    """Predict masks at the best locations of an image, and compare them with the exemplars.

    If many objects match, further rounds search the remaining locations (images may contain
    hundreds of nuclei). `most` is the number of masks compared per round, the most promising ones.
    """
    features = model.encode(image)
    cells = ImageCells.of(image, features)
    whole = scene_vector(model.runtime, image)
    agreement = requested.like.agreement(cells)
    if requested.unlike is not None:
        agreement = agreement - np.maximum(requested.unlike.agreement(cells), 0)
    left, rounds = agreement.copy(), list[tuple[list[Mask], FloatArray, BoolArray]]()
    while len(rounds) < MAX_ROUNDS:
        masks = _answers(model, features, _places(left, requested.like, features.geometry))
        if not masks:
            break
        facts = cheap_facts(
            requested.like,
            cells,
            agreement,
            [mask.rle for mask in masks],
            np.array([mask.score for mask in masks], np.float32),
        )
        logits = facts[:, NAMED:] @ np.array(CHEAP_WEIGHTS, np.float32)
        promising = np.argsort(-logits, kind="stable")[:most]
        masks, facts = [masks[n] for n in promising], facts[promising]
        vectors = mask_vectors(model.runtime, image, [mask.rle for mask in masks])
        facts[:, 0] = vector_likeness(vectors, requested.like.vectors)
        facts[:, 1] = name_likeness(requested.like, vectors)
        excluded = np.zeros(len(masks), np.bool_)
        if requested.unlike is not None:
            excluded = vector_likeness(vectors, requested.unlike.vectors) >= facts[:, 0]
        rounds.append((masks, facts, excluded))
        alike = chance_of(facts) >= MIN_MATCH_PROBABILITY
        if alike.sum() < MIN_ROUND_MATCHES:
            break
        for record, is_alike in zip(masks, alike, strict=True):
            if is_alike:
                left[cells.share(record.mask) > 0] = -np.inf
    return ScoredCandidates(
        [mask for masks, _, _ in rounds for mask in masks],
        np.concatenate(
            [np.zeros((0, len(LIKENESS_FACTS)), np.float32), *(facts for _, facts, _ in rounds)]
        ),
        np.concatenate([np.zeros(0, np.bool_), *(unlike for _, _, unlike in rounds)]),
        float(vector_likeness(whole, requested.like.scenes)[0]),
    )


def _places(agreement: FloatArray, kind: Kind, place: Geometry) -> list[tuple[float, float]]:
    """Pixels (x, y) of the best cells, with a minimum distance."""
    rows, columns = agreement.shape
    side = float(np.sqrt(np.median(kind.shares) * rows * columns))
    radius = float(np.clip(CLICK_DISTANCE * side, 1.0, min(rows, columns) / 6))
    y, x = np.mgrid[:rows, :columns]
    left, cells = agreement.copy(), []
    for _ in range(MAX_IMAGE_CLICKS):
        row, column = np.unravel_index(left.argmax(), left.shape)
        if not np.isfinite(left[row, column]):
            break
        cells.append((float(column), float(row)))
        left[(y - row) ** 2 + (x - column) ** 2 <= radius**2] = -np.inf
    height, width = place.image_hw
    scale = [CELL_STRIDE / factor for factor in place.scale_xy]
    return [
        (min((column + 0.5) * scale[0], width - 1), min((row + 0.5) * scale[1], height - 1))
        for column, row in cells
    ]


def _answers(model: Model, features: Features, places: Sequence[tuple[float, float]]) -> list[Mask]:
    """Distinct masks for clicks at these locations."""
    prompts = [Prompt.of(points=[point]) for point in places]
    masks = [
        m
        for answer in model.segment(features, prompts=prompts)
        for m in answer
        if MIN_MASK_AREA <= rle_area(m.rle) <= MAX_MASK_SHARE * m.rle.size[0] * m.rle.size[1]
    ]
    if not masks:
        return []
    kept = mask_nms([mask.rle for mask in masks], [mask.score for mask in masks], NMS_IOU)
    return [masks[n] for n in kept]
