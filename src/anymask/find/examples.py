"""Everything in photos that is like an example: photos and examples in, masks with scores out.

For the bundled models. The example's cells and what is around it say where in a photo something
like it may be (`likeness.Kind.agreement`); the best places become clicks; the masks that the model
answers are compared with the example, and `chance_of` turns the facts of each into the chance that
a person would say "the same kind". The likeliest mask, and how alike the two photos are as a whole,
tell the chance that there is one at all (`alike_scores`); below `THRESHOLD` nothing is found, so
that "not here" is an answer. The weights are logistic regressions on pairs of training photos
(`research.fit_likeness`).

Letters: H W a photo, h w its cells, n masks.
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
    FACTS,
    NAMED,
    STRIDE,
    Kind,
    PhotoCells,
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
from anymask.images import ImageSource, load_image, load_mask, picture_of
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

THRESHOLD = 0.55  # of the score, at which something is found: docs/explanation/text-prompts.md
LIKELY = 0.1  # of the chance, at which a mask says that there may be more like it
MAX_PLACES = 96  # clicks in a photo
REACH = 0.35  # of an example's side: how near to each other two clicks may lie
MAX_COMPARED = 40  # masks whose vectors are worked out
ROUNDS, MANY = 4, 8  # a photo is asked again where so many things were found
SAME = 0.8  # IoU of two answers of which only one is compared
DETECTED = 0.6  # the least score of a detector's box; not measured
APART = 0.2  # of the smaller one's area: what two things beside each other may share
GROUP = 2  # things that a mask holds, which make it a group of them ...
COVERED = 0.2  # ... where they cover so much of it
LIKE = "like"  # what a detector's answers to examples are called meanwhile
LEAST, MOST = 9, 0.95  # pixels of a mask; its part of the photo

# Of a mask, in the order of FACTS, then the constant; and without those of the network of names.
WEIGHTS = (1.409, 9.531, 2.983, -1.881, 6.203, -1.113, -0.131, 4.887, -16.255)
CHEAP_WEIGHTS = (7.429, -6.0, 7.408, 0.952, -0.242, 4.884)
# Of a photo: the logit of its likeliest mask, how alike the photos are, the constant.
PHOTO_WEIGHTS = (0.664, 3.468, 0.462)
PART = 0.9  # of a mask inside a surer one of the same label: a part of that thing
STEEPNESS = 0.7  # of how a score falls with a mask's chance against that of the likeliest


Prompted = tuple[ImageSource, Mapping[str, Any]]
Examples = str | Prompted | Sequence[str | Prompted]
SHAPE = '(image, {"point": (x, y)}), with "mask" or "box" instead of "point"'
KINDS = {"click": "point", "point": "point", "box": "box", "mask": "mask"}
_TEXT = re.compile(r"(.+)@(click|point|box|mask):(.+)", re.DOTALL)


class Example(NamedTuple):
    """A thing in a photo: (H, W, 3), (H, W)."""

    photo: UintImage
    mask: BoolArray


def one_question(words: object, like: object) -> None:
    """Raises InputError unless there are words or an example, not both."""
    if (words is None) == (like is None):
        got = "neither" if words is None else "both"
        raise InputError(
            f"Pass either a text prompt or an exemplar (like=), but {got} was given. An exemplar "
            f"is {SHAPE}."
        )


def read_examples(model: Model, given: Examples) -> list[Example]:
    """Examples as users give them, one or a list.

    Each is (photo, {"mask" | "box" | "point": ...}), or a text: "photo.jpg@click:320,200",
    "@box:x0,y0,x1,y1" or "@mask:mask.png" (white is the thing). A box or a point becomes the
    model's best mask for it.

    Raises InputError for anything else, PromptError for a prompt that makes no sense, ImageError.
    """
    if not isinstance(given, Iterable):
        raise InputError(f"Invalid exemplar. Use {SHAPE}. Given: {str(given)[:80]}")
    several = [given] if isinstance(given, str | tuple) else list(given)
    if not several:
        raise InputError(f"The list of exemplars is empty. Pass at least one exemplar as {SHAPE}.")
    photos: dict[str, UintImage] = {}  # several examples of one photo share its features
    found = []
    for one in several:
        source, kind, value = parse_example(one)
        if isinstance(source, str | Path):
            photo = photos.setdefault(str(source), load_image(source))
        else:
            photo = load_image(source)
        mask = _example_mask(model, photo, kind, value)
        if not mask.any():
            raise InputError("The exemplar mask is empty. Pass a point, a box or a non-empty mask.")
        found.append(Example(photo, mask))
    return found


def parse_example(one: object) -> tuple[ImageSource, str, Any]:
    """Photo, kind of prompt and its value. Raises InputError."""
    if isinstance(one, str):
        found = _TEXT.fullmatch(one)
        if found is None:
            raise InputError(
                f"Invalid exemplar {one!r}. Use IMAGE@point:X,Y, IMAGE@box:X0,Y0,X1,Y1 or "
                "IMAGE@mask:FILE."
            )
        source, kind, text = found.groups()
        if kind == "mask":
            return source, kind, Path(text)
        try:
            numbers = tuple(map(float, text.split(",")))
        except ValueError:
            raise InputError(
                f"Invalid coordinates {text!r} after @{kind}:. Use numbers separated by commas."
            ) from None
        return source, KINDS[kind], numbers
    if not isinstance(one, tuple) or len(one) != 2 or not isinstance(one[1], Mapping):
        raise InputError(f"Invalid exemplar {str(one)[:80]}. Use {SHAPE}.")
    photo, told = one
    if len(told) != 1 or not {"mask", "box", "point"} & told.keys():
        raise InputError(
            f"Invalid exemplar with the keys {', '.join(map(str, told))}. Use {SHAPE}."
        )
    ((kind, value),) = told.items()
    return photo, kind, value


def _example_mask(model: Model, photo: UintImage, kind: str, value: Any) -> BoolArray:  # (H, W)
    """The mask that a prompt means. Raises InputError, PromptError, ImageError."""
    if kind == "box":
        return model.segment(photo, box=value).best.mask
    if kind == "point":
        return model.segment(photo, points=[value]).best.mask
    if isinstance(value, str | Path):
        value = load_mask(value, "binary") > 0
    mask: BoolArray = np.asarray(value.mask if isinstance(value, Mask) else value) != 0
    if mask.shape != photo.shape[:2]:
        raise InputError(
            f"The exemplar mask has the size {mask.shape}, but its image has {photo.shape[:2]}. "
            "Pass a mask of the size of the image."
        )
    return mask


@dataclass(frozen=True, eq=False)
class Wanted:
    """What is looked for, and what it must not be mistaken for."""

    like: Kind
    unlike: Kind | None = None


def learn_kinds(model: Model, like: Sequence[Example], unlike: Sequence[Example] = ()) -> Wanted:
    """What examples look like. Raises ModelError for a model without names."""
    seen = {
        id(one.photo): PhotoCells.of(one.photo, model.encode(one.photo)) for one in (*like, *unlike)
    }

    def kind(examples: Sequence[Example]) -> Kind:
        rows = [(one.photo, one.mask, seen[id(one.photo)]) for one in examples]
        return Kind.of(model.runtime, rows)

    return Wanted(kind(like), kind(unlike) if unlike else None)


@dataclass(frozen=True, eq=False)
class ScoredCandidates:
    """Masks of a photo, best first, and what is known of each.

    Attributes:
        facts: (n, len(FACTS)).
        unlike: (n,) whether each is rather like what it must not be.
        scene: The cosine of the photo's vector with that of the nearest example's photo.
    """

    masks: list[Mask]
    facts: FloatArray
    unlike: BoolArray
    scene: float


class ExampleFinder:
    """Finds what is like examples, in any number of photos: what was learned of them is kept.

    With a detector, its boxes and our masks; else by `settings.method`: the bundled models' own
    features, or PerSAM, which always answers one mask a photo. Raises InputError, ModelError,
    PromptError, ImageError, and what `open_detector` raises.

    Attributes:
        examples: What it is like, and what it is not.
        others: What it is like, and what it is not.
        about: What its answers depend on, ready for JSON.
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
            "like": [_marks(one) for one in self.examples],
            "unlike": [_marks(one) for one in self.others],
            **{name: getattr(settings, name) for name in ("score", "iou", "top_k", "side")},
        }
        self._look = self._detecting() if settings.detector is not None else self._own()

    def __call__(self, image: ImageSource, source: Mapping[str, Any] | None = None) -> Masks:
        """What is found in a photo; `source`: how it is read. Raises ImageError."""
        photo = load_image(image, **(source or {}))
        hw = (photo.shape[0], photo.shape[1])
        found, picture = self.find(photo), picture_of(image, photo)
        return Masks(found, image_hw=hw, picture=picture, origin=self.model.origin)

    def find(self, photo: UintImage) -> list[Mask]:
        """What is found in a photo (H, W, 3), best first."""
        found = one_per_object(self._look(photo), self.settings.iou)
        return best_of_each(found, self.settings.top_k)

    def _own(self) -> Callable[[UintImage], list[Mask]]:
        """By the model itself."""
        model, least = self.model, self.settings.score
        bundled = model.spec.family in BUNDLED_MODELS
        method = self.settings.method or ("likeness" if bundled else "persam")
        self.about["method"] = method
        if method != "likeness":
            if self.others:
                raise InputError(
                    f"Method {method} does not support negative exemplars (unlike). Omit them, or "
                    "use a bundled model."
                )
            target = learn_target(model, self.examples, method == "persam_f")
            return lambda photo: [
                one
                for one in [find_target(model, photo, target)]
                if rle_area(one.rle) and one.score >= cast(float, least or 0)
            ]
        if not bundled:
            raise ModelError(
                f"{model.name} does not support this method for exemplar prompts. Use "
                'method="persam", or a bundled model.'
            )
        wanted = learn_kinds(model, self.examples, self.others)
        return lambda photo: find_alike(model, photo, wanted, cast("float | None", least))

    def _detecting(self) -> Callable[[UintImage], list[Mask]]:
        """By a detector that takes examples. Raises ModelError for one that does not."""
        assert self.settings.detector is not None
        if self.settings.method is not None:
            raise InputError("`method` and `detector` cannot be combined. Pass only one of them.")
        opened = open_detector(self.settings.detector, self.settings.device)
        if not isinstance(opened, ExampleDetector):
            raise ModelError(
                f"{opened.name} supports text prompts only. For exemplars, use an OWL detector "
                "such as owlv2_base."
            )
        detector = opened
        self.about["detector"] = detector.about
        shown = [*self.examples, *self.others]
        boxes = [(one.photo, open_box(one.mask)) for one in shown]
        learned, count = detector.learn_examples(boxes), len(self.examples)
        given = self.settings.score
        least = DETECTED if given is None else cast(float, given)

        def look(photo: UintImage) -> list[Mask]:
            seen = detector.detect_examples(photo, learned, self.settings.side)
            best = seen.scores[:, :count].max(1)
            kept = best > seen.scores[:, count:].max(1, initial=-1)
            boxes = ScoredBoxes(seen.boxes[kept], best[kept, None])
            named = name_boxes(boxes, [Phrase(LIKE, LIKE)], least)
            found = mask_boxes(self.model, photo, clip_boxes(named, photo.shape[:2]))
            return [replace(one, label=None, label_probability=None) for one in found]

        return look


def _marks(one: Example) -> list[str]:
    """What an example is, in little."""
    digest = hashlib.sha256(np.ascontiguousarray(one.photo).data).hexdigest()
    return [digest[:32], rle_to_string(mask_to_rle(one.mask))]


def without_parts(records: Sequence[Mask]) -> list[Mask]:
    """The records, the surest first, without those that lie in a surer one of the same label."""
    kept: list[Mask] = []
    for record in sorted(records, key=lambda one: -one.score):
        same = [one.rle for one in kept if one.label == record.label]
        inside = rle_intersection(same, [record.rle]).max(initial=0) if same else 0
        if inside <= PART * rle_area(record.rle):
            kept.append(record)
    return kept


def find_alike(model: Model, photo: UintImage, wanted: Wanted, score: float | None) -> list[Mask]:
    """The things in a photo (H, W, 3) whose score reaches `score`, the surest first.

    Groups of things, and parts of a surer thing, are left out.
    """
    least = THRESHOLD if score is None else score
    seen = compare(model, photo, wanted)
    scores = alike_scores(np.where(seen.unlike, 0, chance_of(seen.facts)), seen.scene)
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= max(least, 1e-4)]
    found = [replace(seen.masks[n], score=round(float(scores[n]), 4)) for n in order]
    group = allows_several([one.rle for one in found], seen.facts[order, FACTS.index("size")])
    return without_parts([one for one, several in zip(found, group, strict=True) if not several])


def allows_several(rles: Sequence[Rle], sizes: FloatArray) -> BoolArray:  # -> (n,)
    """Which masks are a group of others: they hold several that lie apart from each other, and each
    of these is nearer to the example's size.

    Args:
        rles: N, the surest first.
        sizes: (n,) how much larger or smaller than the example each is, as a logarithm.
    """
    shared = rle_intersection(rles, rles)
    areas = shared.diagonal()
    groups = np.zeros(len(rles), np.bool_)
    for place, area in enumerate(areas):
        held: list[int] = []
        inside = (shared[:, place] > PART * areas) & (areas < area / 2) & (sizes < sizes[place])
        for n in np.flatnonzero(inside):
            if all(shared[n, m] < APART * min(areas[n], areas[m]) for m in held):
                held.append(int(n))
        groups[place] = len(held) >= GROUP and areas[held].sum() >= COVERED * area
    return groups


def chance_of(facts: FloatArray, weights: Sequence[float] = WEIGHTS) -> FloatArray:
    """The chance (n,) that a mask is the same kind of thing, of its facts (n, len(FACTS))."""
    told = facts @ np.array(weights[:-1], np.float32) + np.float32(weights[-1])
    return sigmoid(told)


def alike_scores(
    chances: FloatArray, scene: float, weights: Sequence[float] = PHOTO_WEIGHTS
) -> FloatArray:  # (n,) -> (n,)
    """The chance that the photo has such a thing at all, less for masks that are less likely than
    its likeliest.

    Args:
        chances: Of the masks.
        scene: See `ScoredCandidates`.
        weights: See `PHOTO_WEIGHTS`.
    """
    best = float(chances.max(initial=0))
    if best == 0:
        return chances
    there = chance_of(np.array([[logit(best), scene]], np.float32), weights)
    scores: FloatArray = np.power(chances / best, STEEPNESS) * there
    return scores


def logit(chance: float) -> float:
    """Of a chance, 0 and 1 included."""
    return float(np.log((chance + 1e-4) / (1 - chance + 1e-4)))


def compare(
    model: Model, photo: UintImage, wanted: Wanted, most: int = MAX_COMPARED
) -> ScoredCandidates:
    """What the model answers at the best places of a photo, compared with the examples.

    Where many things were found, it is asked again beside them: nuclei come by the hundred.
    `most`: masks that are compared each time, the most promising ones
    """
    features = model.encode(photo)
    cells = PhotoCells.of(photo, features)
    whole = scene_vector(model.runtime, photo)
    agreement = wanted.like.agreement(cells)
    if wanted.unlike is not None:
        agreement = agreement - np.maximum(wanted.unlike.agreement(cells), 0)
    left, rounds = agreement.copy(), list[tuple[list[Mask], FloatArray, BoolArray]]()
    while len(rounds) < ROUNDS:
        places = _places(left, wanted.like, features.geometry)
        masks = _answers(model, features, places)
        if not masks:
            break
        facts = cheap_facts(
            wanted.like,
            cells,
            agreement,
            [one.rle for one in masks],
            np.array([one.score for one in masks], np.float32),
        )
        told = facts[:, NAMED:] @ np.array(CHEAP_WEIGHTS, np.float32)
        promising = np.argsort(-told, kind="stable")[:most]
        masks, facts = [masks[n] for n in promising], facts[promising]
        rounds.append((masks, facts, _add_names(model, photo, wanted, masks, facts)))
        alike = chance_of(facts) >= LIKELY
        if alike.sum() < MANY:
            break
        for one, is_alike in zip(masks, alike, strict=True):
            if is_alike:
                left[cells.share(one.mask) > 0] = -np.inf
    return ScoredCandidates(
        [one for masks, _, _ in rounds for one in masks],
        np.concatenate([np.zeros((0, len(FACTS)), np.float32), *(facts for _, facts, _ in rounds)]),
        np.concatenate([np.zeros(0, np.bool_), *(unlike for _, _, unlike in rounds)]),
        float(vector_likeness(whole, wanted.like.scenes)[0]),
    )


def _add_names(
    model: Model, photo: UintImage, wanted: Wanted, masks: list[Mask], facts: FloatArray
) -> BoolArray:  # -> (n,)
    """Fill in the facts of the network of names; whether each mask is rather unlike."""
    vectors = mask_vectors(model.runtime, photo, [one.rle for one in masks])
    facts[:, 0] = vector_likeness(vectors, wanted.like.vectors)
    facts[:, 1] = name_likeness(wanted.like, vectors)
    if wanted.unlike is None:
        return np.zeros(len(masks), np.bool_)
    rather: BoolArray = vector_likeness(vectors, wanted.unlike.vectors) >= facts[:, 0]
    return rather


def _places(agreement: FloatArray, kind: Kind, place: Geometry) -> list[tuple[float, float]]:
    """Pixels (x, y) of the best cells, none too near to a better one."""
    rows, columns = agreement.shape
    side = float(np.sqrt(np.median(kind.shares) * rows * columns))
    radius = float(np.clip(REACH * side, 1.0, min(rows, columns) / 6))
    y, x = np.mgrid[:rows, :columns]
    left, found = agreement.copy(), []
    for _ in range(MAX_PLACES):
        row, column = np.unravel_index(left.argmax(), left.shape)
        if not np.isfinite(left[row, column]):
            break
        found.append((float(column), float(row)))
        left[(y - row) ** 2 + (x - column) ** 2 <= radius**2] = -np.inf
    height, width = place.image_hw
    scale = [STRIDE / factor for factor in place.scale_xy]
    return [
        (min((column + 0.5) * scale[0], width - 1), min((row + 0.5) * scale[1], height - 1))
        for column, row in found
    ]


def _answers(model: Model, features: Features, places: Sequence[tuple[float, float]]) -> list[Mask]:
    """The different masks that clicks at these places mean."""
    prompts = [Prompt.of(points=[place]) for place in places]
    masks = [
        one
        for answer in model.segment(features, prompts=prompts)
        for one in answer
        if LEAST <= rle_area(one.rle) <= MOST * one.rle.size[0] * one.rle.size[1]
    ]
    if not masks:
        return []
    kept = mask_nms([one.rle for one in masks], [one.score for one in masks], SAME)
    return [masks[n] for n in kept]
