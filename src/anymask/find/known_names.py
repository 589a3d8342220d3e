"""Words without a detector: the names that a model knows, compared with the masks of everything.

The network of names (docs/explanation/prompts.md) encodes the close-up of each mask that
`everything` finds, also of unlikely and of overlapping ones. The score of a mask is the probability
that it is one whole object of that name: a logistic regression on the probability of the name among
all learned ones, on the same with everything outside of the mask gray, which lowers it for masks
beside the object, and on the mask's objectness. It is fitted on masks of training images that the
network of names has not learned from, where parts, unions and background are the other class
(`research.fit_words`). Of masks that overlap, the one with the highest score is kept.

The names are those of COCO and LVIS with their synonyms, placed by CLIP's embeddings of their
words; other words raise an error that lists the nearest known names.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from anymask.base import BoolArray, FloatArray, Floats, InputError, UintImage, brief
from anymask.find.phrases import Phrase
from anymask.masks import Mask, Prompt, mask_nms, rle_iou
from anymask.models.rules import NameTable
from anymask.runtime import MaskNaming, mask_vectors, require

if TYPE_CHECKING:
    from anymask.segment import Model

log = logging.getLogger("anymask.find")

THRESHOLD = 0.13  # of the score, and ...
CERTAIN = 0.05  # ... of the name's probability: docs/reference/results.md
WEIGHTS = (0.649, 0.147, 0.843, -0.006)  # of two log probabilities, the objectness' logit, and 1
FAINT = -8.0  # the least log probability that counts
POSSIBLE = 0.003  # probability of a name below which a mask is not looked at alone
ALIKE, LIKELY = 0.8, 0.02  # the IoU of two candidates at most, and the least objectness of one
MOST = 56  # candidates of a photo
UNJUDGED = 0.3  # the objectness of masks of models that do not judge it
OVERLAP = 0.3  # of the smaller one's area: what two finds of one label may share
RIVAL = 1 / 3  # of the best score of a label, which others need where no threshold is given
SAME = 0.9  # IoU of a mask and the one that its click brings again
NEAREST = 5  # names that an error offers


@brief
@dataclass(frozen=True, eq=False)
class SeenMasks:
    """The masks of a photo that words choose from, and their vectors (n, D).

    Attributes:
        lone: Vectors with everything outside of the mask gray, by place: those that were
            needed.
    """

    model: Model
    photo: UintImage
    records: list[Mask]
    vectors: FloatArray
    lone: dict[int, FloatArray] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Model, photo: UintImage) -> SeenMasks:
        """What any word may choose from. Raises ModelError for a model without names."""
        require(model.runtime, MaskNaming)
        found = model.everything(
            photo, iou=ALIKE, contained=1, min_objectness=LIKELY, refine_edges=False
        )
        records = [one for one in sorted(found, key=lambda one: -one.rank) if one.area][:MOST]
        vectors = mask_vectors(model.runtime, photo, [one.rle for one in records])
        return cls(model, photo, records, vectors)

    def alone(self, places: Sequence[int]) -> FloatArray:  # -> (n, D)
        """The vectors of some masks with everything outside gray; those of the others as seen."""
        new = [place for place in places if place not in self.lone]
        rles = [self.records[place].rle for place in new]
        found = mask_vectors(self.model.runtime, self.photo, rles, alone=True)
        self.lone.update(zip(new, found, strict=True))
        vectors = self.vectors.copy()
        for place in places:
            vectors[place] = self.lone[place]
        return vectors

    def chances(self, names: Sequence[str]) -> tuple[Floats, Floats]:  # -> (n, P) each
        """The probability of each name, and with everything outside of the mask gray."""
        table = require(self.model.runtime, MaskNaming).name_table()
        chosen = table.chosen([*dict.fromkeys(names)])

        def told(vectors: FloatArray) -> Floats:
            rows = [dict(row) for row in chosen.suggest(vectors, len(names))]
            return np.array([[row[name] for name in names] for row in rows])

        seen = told(self.vectors)
        return seen, told(self.alone(np.flatnonzero(seen.max(1) >= POSSIBLE).tolist()))

    def objectness(self) -> Floats:  # -> (n, 1)
        """Of each mask."""
        judged = [UNJUDGED if one.objectness is None else one.objectness for one in self.records]
        return np.array(judged)[:, None]


def word_facts(seen: Floats, alone: Floats, objectness: Floats) -> Floats:  # -> (..., 3)
    """What a score depends on: the log probabilities of a name, and the logit of objectness."""
    logs = [np.log(np.maximum(one, np.exp(FAINT))) for one in (seen, alone)]
    sure = np.clip(objectness, 0.001, 0.99)
    logit = np.log(sure) - np.log1p(-sure)
    return np.stack([*logs, np.broadcast_to(logit, seen.shape)], axis=-1)


def word_scores(seen: Floats, alone: Floats, objectness: Floats) -> Floats:  # (n, P), (n, 1)
    """The probability that a mask is one whole object of a name, 0..1.

    Args:
        seen: The probability of the name, and with everything outside of the mask gray.
        alone: Like `seen`.
    """
    told = word_facts(seen, alone, objectness) @ np.array(WEIGHTS[:-1]) + WEIGHTS[-1]
    scores: Floats = np.round(1 / (1 + np.exp(-told)), 4)
    return scores


def find_by_name(
    model: Model, photo: UintImage, phrases: Sequence[Phrase], seen: SeenMasks | None = None
) -> list[Mask]:
    """The masks of everything that are called so, best first.

    Raises ModelError for a model without names, InputError for phrases that it does not know.

    Args:
        seen: Of this photo; None: made here.
    """
    names = match_names(require(model.runtime, MaskNaming).name_table(), phrases)
    seen = SeenMasks.of(model, photo) if seen is None else seen
    if not seen.records:
        return []
    named, alone = seen.chances(names)
    scores = word_scores(named, alone, seen.objectness())
    given = np.array([phrase.threshold is not None for phrase in phrases])
    possible = (named >= CERTAIN) | given
    passed = possible & (scores >= least_scores(np.where(possible, scores, 0.0), phrases))
    found = one_winner(name_records(seen.records, scores, named, passed, phrases))
    return with_edges(model, photo, found)


def least_scores(scores: Floats, phrases: Sequence[Phrase]) -> list[float]:
    """The threshold of each phrase: the given one, else a share of its best score of (n, P)."""
    return [
        max(THRESHOLD, RIVAL * float(best)) if phrase.threshold is None else phrase.threshold
        for phrase, best in zip(phrases, scores.max(0), strict=True)
    ]


def name_records(
    records: Sequence[Mask],
    scores: Floats,
    named: Floats,
    passed: BoolArray,
    phrases: Sequence[Phrase],
) -> list[Mask]:
    """The records that pass for a phrase, each with the label of the best such phrase.

    Args:
        scores: (n, P): the scores, the probabilities of the names, and what passes.
        named: Like `scores`.
        passed: Like `scores`.
    """
    labels, found = [phrase.label for phrase in phrases], []
    rows = zip(records, scores.tolist(), named.tolist(), passed, strict=True)
    for record, row, chances, passes in rows:
        if not passes.any():
            continue
        best = max(np.flatnonzero(passes).tolist(), key=row.__getitem__)
        others = [
            (label, score)
            for label, score in zip(labels, row, strict=True)
            if label != labels[best]
        ]
        found.append(
            replace(
                record,
                label=labels[best],
                score=row[best],
                label_probability=chances[best],
                runner_up=max(others, key=lambda one: one[1], default=None),
            )
        )
    return found


def one_winner(records: Sequence[Mask]) -> list[Mask]:
    """The records, best first, without those that overlap a better one of the same label."""
    kept: list[Mask] = []
    for label in dict.fromkeys(one.label for one in records):
        same = [one for one in records if one.label == label]
        places = mask_nms([m.rle for m in same], [m.score for m in same], OVERLAP, "smaller")
        kept += [same[place] for place in places.tolist()]
    return sorted(kept, key=lambda one: -one.score)


def with_edges(model: Model, photo: UintImage, records: Sequence[Mask]) -> list[Mask]:
    """The records with refined edges, where their click brings the same mask again."""
    clicked = [one for one in records if one.points]
    if not clicked:
        return [*records]
    prompts = [Prompt.of(points=one.points[:1]) for one in clicked]
    answers = model.segment(photo, prompts=prompts, multimask=True, ranking="own", zoom=False)
    better = {}
    for record, answer in zip(clicked, answers, strict=True):
        alike = rle_iou(answer.rles(), [record.rle])[:, 0]
        if alike.max() >= SAME:
            better[id(record)] = replace(record, rle=answer.rles()[int(alike.argmax())])
    return [better.get(id(one), one) for one in records]


def check_names(model: Model, phrases: Sequence[Phrase]) -> list[str]:
    """The names without training images, whose scores are less accurate.

    Raises ModelError for a model without names, InputError for phrases that it does not know.
    """
    table = require(model.runtime, MaskNaming).name_table()
    return untrained_names(table, match_names(table, phrases))


def untrained_names(table: NameTable, names: Sequence[str]) -> list[str]:
    """Of names that the table knows those without training images."""
    return [one for one in names if not table.learned[table.also[" ".join(one.lower().split())]]]


def match_names(table: NameTable, phrases: Sequence[Phrase]) -> list[str]:
    """For each phrase the name that the table has for it.

    Raises InputError for those that it does not know, all of them at once.
    """
    found = [known_spelling(table, phrase.prompt) for phrase in phrases]
    unknown = [p.prompt for p, name in zip(phrases, found, strict=True) if name is None]
    if unknown:
        told = "; ".join(f"{word!r} (closest: {_offer(table, word)})" for word in unknown[:5])
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise InputError(
            f"Unknown names: {told}{more}. Without a detector, only {len(table.words)} "
            "names are known. Use known names, pass a detector "
            '(detector="llmdet_tiny"), or learn the names from your own examples '
            "(`anymask names`)."
        )
    names = [name for name in found if name is not None]
    if rough := untrained_names(table, names):
        log.warning(
            "Name %s has no training images. Its scores come from the text only and are less "
            "accurate.",
            ", ".join(rough),
        )
    return names


def known_spelling(table: NameTable, phrase: str) -> str | None:
    """The spelling of a phrase that the table knows; None without any."""
    return next((word for word in spellings(phrase) if table.knows(word)), None)


def spellings(phrase: str) -> list[str]:
    """A phrase as it stands, and where it looks like a plural its singulars."""
    word = " ".join(phrase.replace("-", " ").split())
    found = [phrase, word]
    lower = word.lower()
    if lower.endswith("ies"):
        found.append(word[:-3] + "y")
    if lower.endswith("ves"):
        found += [word[:-3] + "f", word[:-3] + "fe"]
    if lower.endswith("es"):
        found.append(word[:-2])
    if lower.endswith("s") and not lower.endswith("ss"):
        found.append(word[:-1])
    if lower in IRREGULAR:
        found.append(IRREGULAR[lower])
    return found


IRREGULAR = {"people": "person", "men": "man", "women": "woman", "children": "child",
             "mice": "mouse", "geese": "goose", "teeth": "tooth"}  # fmt: skip


def _offer(table: NameTable, word: str) -> str:
    """The nearest names: those of its own words first, the last of them before the others."""
    parts = word.lower().split()
    inside = [name for part in reversed(parts) for name in spellings(part) if table.knows(name)]
    near = list(dict.fromkeys([*inside, *table.near(word), *table.near(parts[-1])]))[:NEAREST]
    return ", ".join(near) or "none"
