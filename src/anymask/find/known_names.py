"""Text prompts without a detector: compare a model's known names with all masks of an image.

The name model (docs/guides/name-masks.md) encodes a crop of each mask that `everything` finds,
including unlikely and overlapping ones. The score of a mask is the probability that it is one whole
object of that name: a logistic regression on the probability of the name among all trained ones, on
the same with everything outside the mask gray, which is lower for masks next to the object, and on
the objectness. It is fitted on masks of training images that the name model was not trained on,
where parts, unions and background are the negative class (`research.fit_words`). Of overlapping
masks, the one with the highest score is kept.

The names are those of COCO and LVIS with their synonyms, embedded by CLIP's text encoder; other
words raise an error that suggests known names inside them or of their kind.
"""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from anymask.base import FloatArray, Floats, InputError, Progress, UintImage, brief
from anymask.find.phrases import Phrase
from anymask.masks import Mask, Prompt, mask_nms, rle_iou
from anymask.models.rules import NameTable
from anymask.runtime import MaskNaming, mask_vectors, require

if TYPE_CHECKING:
    from anymask.segment import Model

log = logging.getLogger("anymask.find")

MIN_SCORE = 0.16  # minimum score: docs/reference/results-automatic.md
SCORE_WEIGHTS = (0.649, 0.147, 0.843, -0.006)  # of two log probabilities, objectness logit, and 1
MIN_LOG_PROBABILITY = -8.0  # lower limit of the log probability
POSSIBLE = 0.003  # minimum probability of a name for a second crop with gray surroundings
NMS_IOU, MIN_OBJECTNESS = 0.8, 0.02  # maximum IoU of two candidates, and their minimum objectness
CANDIDATES = 56  # candidates per image
UNJUDGED = 0.3  # objectness of masks of models that do not predict it
LABEL_OVERLAP = 0.3  # maximum overlap of two masks of one label, relative to the smaller one
BEST_SHARE = 1 / 3  # minimum score relative to the best of a label, without a given threshold
SUGGESTED = 5  # names in an error, per unknown word
MIN_CLICK_IOU = 0.9  # minimum IoU of a mask and the prediction for its click


@brief
@dataclass(frozen=True, eq=False)
class CandidateMasks:
    """Candidate masks of an image, with vectors (n, D)."""

    model: Model  # The model
    image: UintImage  # Image (H, W, 3)
    records: list[Mask]  # The masks
    vectors: FloatArray  # Vectors (n, D) of the masks
    # Vectors with everything outside the mask gray, by index, computed on demand
    lone: dict[int, FloatArray] = field(default_factory=dict)
    naming: MaskNaming | None = None  # Name model, or None for that of the model

    @classmethod
    def of(
        cls,
        model: Model,
        image: UintImage,
        naming: MaskNaming | None = None,
        progress: Progress = None,
    ) -> CandidateMasks:
        """Find the candidates of an image; `progress` as for `Model.everything`.

        Raises:
            ModelError: The model does not support names.
        """
        if naming is None:
            require(model.runtime, model.runtime.naming, "mask naming")
        masks = model.everything(
            image, nms_iou=NMS_IOU, max_containment=1, min_objectness=MIN_OBJECTNESS,
            refine_edges=False, progress=progress,
        )  # fmt: skip
        records = [m for m in sorted(masks, key=lambda one: -one.rank) if m.area][:CANDIDATES]
        vectors = mask_vectors(model.runtime, image, [r.rle for r in records], naming=naming)
        return cls(model, image, records, vectors, naming=naming)

    def alone(self, places: Sequence[int]) -> FloatArray:  # -> (n, D)
        """Vectors with everything outside gray for some masks, unchanged for the others."""
        new = [index for index in places if index not in self.lone]
        rles = [self.records[index].rle for index in new]
        runtime, naming = self.model.runtime, self.naming
        added = mask_vectors(runtime, self.image, rles, alone=True, naming=naming)
        self.lone.update(zip(new, added, strict=True))
        vectors = self.vectors.copy()
        for index in places:
            vectors[index] = self.lone[index]
        return vectors

    def probabilities(self, names: Sequence[str]) -> tuple[Floats, Floats]:  # -> (n, P) each
        """Probability of each name, and the same with everything outside the mask gray."""
        runtime = self.model.runtime
        naming = self.naming or require(runtime, runtime.naming, "mask naming")
        chosen = naming.name_table().chosen([*dict.fromkeys(names)])

        def probabilities(vectors: FloatArray) -> Floats:
            rows = [dict(row) for row in chosen.suggest(vectors, len(names))]
            return np.array([[row[name] for name in names] for row in rows])

        seen = probabilities(self.vectors)
        return seen, probabilities(self.alone(np.flatnonzero(seen.max(1) >= POSSIBLE).tolist()))

    def objectness(self) -> Floats:  # -> (n, 1)
        """Objectness of each mask."""
        judged = [UNJUDGED if mask.objectness is None else mask.objectness for mask in self.records]
        return np.array(judged)[:, None]


def word_facts(seen: Floats, alone: Floats, objectness: Floats) -> Floats:  # -> (..., 3)
    """Features of a score: two log probabilities of a name, and the logit of the objectness."""
    logs = [np.log(np.maximum(p, np.exp(MIN_LOG_PROBABILITY))) for p in (seen, alone)]
    sure = np.clip(objectness, 0.001, 0.99)
    logit = np.log(sure) - np.log1p(-sure)
    return np.stack([*logs, np.broadcast_to(logit, seen.shape)], axis=-1)


def word_scores(seen: Floats, alone: Floats, objectness: Floats) -> Floats:  # (n, P), (n, 1)
    """Probability that a mask is one whole object of a name, 0..1.

    Args:
        seen: Probability of the name (n, P).
        alone: Probability with everything outside the mask gray (n, P).
        objectness: Objectness (n, 1).
    """
    logits = word_facts(seen, alone, objectness) @ np.array(SCORE_WEIGHTS[:-1]) + SCORE_WEIGHTS[-1]
    return np.round(1 / (1 + np.exp(-logits)), 4)


def find_by_name(
    model: Model,
    image: UintImage,
    phrases: Sequence[Phrase],
    candidates: CandidateMasks | None = None,
    naming: MaskNaming | None = None,
) -> list[Mask]:
    """Masks that match the phrases, best first.

    Args:
        candidates: Candidates of this image, or None to find them.
        naming: Name model. Defaults to that of the model.

    Raises ModelError for a model without names, InputError for unknown names.
    """
    table = (naming or require(model.runtime, model.runtime.naming, "mask naming")).name_table()
    names = match_names(table, phrases)
    candidates = CandidateMasks.of(model, image, naming) if candidates is None else candidates
    if not candidates.records:
        return []
    named, alone = candidates.probabilities(names)
    scores = word_scores(named, alone, candidates.objectness())
    # Threshold of each phrase: the given one, else relative to its best score of (n, P).
    passed = scores >= [
        max(MIN_SCORE, BEST_SHARE * float(best)) if phrase.threshold is None else phrase.threshold
        for phrase, best in zip(phrases, scores.max(0), strict=True)
    ]
    # The label is that of the best phrase that passes. Its probability and the runner-up's are
    # scores, too: that the mask is one whole object of that name.
    labels, masks = [phrase.label for phrase in phrases], []
    for record, row, passes in zip(candidates.records, scores.tolist(), passed, strict=True):
        if not passes.any():
            continue
        best = max(np.flatnonzero(passes).tolist(), key=row.__getitem__)
        others = [
            (label, score)
            for label, score in zip(labels, row, strict=True)
            if label != labels[best]
        ]
        masks.append(
            replace(
                record,
                label=labels[best],
                score=row[best],
                label_probability=row[best],
                runner_up=max(others, key=lambda one: one[1], default=None),
            )
        )
    return with_edges(model, image, one_winner(masks))


def one_winner(records: Sequence[Mask]) -> list[Mask]:
    """Remove masks that overlap a better one of the same label; best first."""
    kept: list[Mask] = []
    for label in dict.fromkeys(record.label for record in records):
        same = [record for record in records if record.label == label]
        places = mask_nms([m.rle for m in same], [m.score for m in same], LABEL_OVERLAP, "smaller")
        kept += [same[index] for index in places.tolist()]
    return sorted(kept, key=lambda one: -one.score)


def with_edges(model: Model, image: UintImage, records: Sequence[Mask]) -> list[Mask]:
    """Refine the edges of masks that their click reproduces."""
    clicked = [record for record in records if record.points]
    if not clicked:
        return [*records]
    prompts = [Prompt.of(points=record.points[:1]) for record in clicked]
    answers = model.segment(model.encode(image), prompts=prompts, multimask=True, ranking="own")
    better = {}
    for record, answer in zip(clicked, answers, strict=True):
        alike = rle_iou(answer.rles(), [record.rle])[:, 0]
        if alike.max() >= MIN_CLICK_IOU:
            better[id(record)] = replace(record, rle=answer.rles()[int(alike.argmax())])
    return [better.get(id(record), record) for record in records]


def check_names(model: Model, phrases: Sequence[Phrase]) -> list[str]:
    """Names without training images, whose scores are less accurate.

    Raises:
        ModelError: The model does not support names.
        InputError: A name is unknown.
    """
    table = require(model.runtime, model.runtime.naming, "mask naming").name_table()
    return untrained_names(table, match_names(table, phrases))


def untrained_names(table: NameTable, names: Sequence[str]) -> list[str]:
    """Known names without training images."""
    return [name for name in names if not table.learned[table.also[" ".join(name.lower().split())]]]


def match_names(table: NameTable, phrases: Sequence[Phrase]) -> list[str]:
    """Known name of each phrase.

    Raises InputError that lists all unknown names.
    """
    known = [known_spelling(table, phrase.prompt) for phrase in phrases]
    unknown = [p.prompt for p, name in zip(phrases, known, strict=True) if name is None]
    if unknown:
        listed = "; ".join(repr(word) + _suggested(table, word) for word in unknown[:5])
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise InputError(
            f"Unknown names: {listed}{more}. Without a detector, only {len(table.words)} names are "
            "known. Use one of them, draw a box, or mark an example. `anymask names` lists them; "
            'a detector (detector="llmdet_tiny") or a CLIP model (detector="clip_vit_b32") finds '
            "other words."
        )
    names = [name for name in known if name is not None]
    if rough := untrained_names(table, names):
        log.warning(
            "Name %s has no training images. Its scores come from the text only and are less "
            "accurate.",
            ", ".join(rough),
        )
    return names


def known_spelling(table: NameTable, phrase: str) -> str | None:
    """Known spelling of a phrase, or None."""
    return next((word for word in spellings(phrase) if table.knows(word)), None)


def spellings(phrase: str) -> list[str]:
    """A phrase, and its possible singulars."""
    word = " ".join(phrase.replace("-", " ").split())
    forms = [phrase, word]
    lower = word.lower()
    if lower.endswith("ies"):
        forms.append(word[:-3] + "y")
    if lower.endswith("ves"):
        forms += [word[:-3] + "f", word[:-3] + "fe"]
    if lower.endswith("es"):
        forms.append(word[:-2])
    if lower.endswith("s") and not lower.endswith("ss"):
        forms.append(word[:-1])
    if lower in IRREGULAR:
        forms.append(IRREGULAR[lower])
    return forms


IRREGULAR = {"people": "person", "men": "man", "women": "woman", "children": "child",
             "mice": "mouse", "geese": "goose", "teeth": "tooth"}  # fmt: skip


def _suggested(table: NameTable, phrase: str) -> str:
    """Suggestion of the known words of a phrase, else of names of their kind, the last word first.

    Names of a kind are those of kinds.toml, and names and synonyms that end in the word, else those
    that begin with it (kiwi: kiwi fruit): spelling has no meaning.
    """
    words = [word for part in reversed(phrase.lower().split()) for word in spellings(part)]
    names = [word for word in words if table.knows(word)]
    if not names:
        names = [name for word in words for name in _kinds().get(word, ()) if table.knows(name)]
        ends = {
            index
            for name, index in table.also.items()
            if name.partition(" (")[0].split()[-1] in words
        }
        names += [table.words[n] for n in sorted(ends, key=lambda n: (not table.learned[n], n))]
    if not names:
        names = [name for name in table.words if name.split()[0] in words]
    return f" (known: {', '.join([*dict.fromkeys(names)][:SUGGESTED])})" if names else ""


@cache
def _kinds() -> dict[str, list[str]]:
    """Names of each kind."""
    return tomllib.loads(resources.files("anymask.find").joinpath("kinds.toml").read_text("utf-8"))
