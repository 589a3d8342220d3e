"""Label errors of a data set: features of its masks in, graded masks and numbered suspects out.

All masks are graded at once, each against what is usual in its own data set: where a model is weak,
all masks disagree with it, and only those that disagree more than the others are suspects.

A suspect is a mask with a low grade or an object without a mask. Suspects are numbered from 1,
masks from the worst grade on, then missing objects from the surest on; the number names the suspect
in the table, on the pictures and when a proposal is accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from anymask.base import Floats
from anymask.evaluation.audit_features import FEATURES
from anymask.evaluation.audit_grading import Grader, fit_scale
from anymask.evaluation.audit_photos import (
    LEAST_USUAL_MASKS,
    ExaminedMask,
    ExaminedPhoto,
    object_certainty,
)
from anymask.formats import AnnotatedImage
from anymask.masks import Mask, Masks, Rle, rle_area

MOST_REASONS = 3  # features in the reasons of one mask
TINY_AREA = 64  # pixels
ERROR_PHRASES = {
    "shifted": "it looks moved",
    "dilated": "it looks too large all around",
    "eroded": "it looks too small all around",
    "halved": "it looks cut off",
    "merged": "it looks like several objects in one",
    "swapped": "it fits nothing in this place",
    "coarse": "its outline looks rough",
}
Correction = Literal["keep", "replace", "remove"]
SUSPECT_BELOW = 0.5  # grades below it are suspects
DUPLICATE_GRADE = 0.02  # at most, of the later one
EMPTY_REASON = "it has no pixel"
UNREPLACED_ERRORS = ("merged", "swapped")  # after these one answer of the model is no better mask
LEAST_GAIN = 0.1  # in guessed IoU, that a proposal must promise
MISSING_REASON = "missing: the model is sure of an object that no mask covers"
ANNOTATED = ("label", "id", "crowd", "annotator", "drawn_box", "extra")


@dataclass(frozen=True)
class ExplainedMask:
    """One mask as the rules see it: its features (F,), its label or None, its pixels."""

    values: Floats
    label: str | None
    area: int

    def at(self, name: str) -> float:
        """One feature by its name."""
        return float(self.values[FEATURES.index(name)])

    @property
    def parts(self) -> int:
        return round(float(np.exp(self.at("parts"))))

    @property
    def holes(self) -> int:
        return round(float(np.expm1(self.at("holes"))))


# One thing that can be wrong: how badly it is so, about 0..1 (not so: 0 or less); how to say it.
ExplanationRule = tuple[Callable[[ExplainedMask], float], Callable[[ExplainedMask], str]]


def explain_error(error: str, values: Floats, label: str | None, area: int) -> tuple[str, ...]:
    """What the mask looks like, then its unusual features, the heaviest first.

    error  the kind of error that it resembles most
    """
    case = ExplainedMask(values, label, area)
    weighed = [(weight(case), words) for weight, words in EXPLANATION_RULES]
    holding = sorted((pair for pair in weighed if pair[0] > 0), key=lambda pair: -pair[0])
    looks = ERROR_PHRASES.get(error, f"it looks {error}")
    return (looks, *(words(case) for _, words in holding[:MOST_REASONS]))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _many(number: int, usual: int) -> float:
    return 0.2 * float(np.sqrt(max(number - usual, 0)))


EXPLANATION_RULES: tuple[ExplanationRule, ...] = (
    (
        lambda case: 0.55 - case.at("best"),
        lambda case: f"the model finds nothing like it there (best IoU {case.at('best'):.2f})",
    ),
    (
        lambda case: 0.7 * (case.at("inside_clicks") - case.at("of_clicks") - 0.2),
        lambda case: (
            "the object goes on where the mask ends: the mask is "
            f"{_percent(case.at('of_clicks'))} of what clicks inside it find"
        ),
    ),
    (
        lambda case: 0.7 * (case.at("of_clicks") - case.at("inside_clicks") - 0.2),
        lambda case: (
            "it takes in more than its object: clicks inside it find "
            f"{_percent(case.at('inside_clicks'))} of it"
        ),
    ),
    (
        lambda case: 0.4 * (0.3 - case.at("one_object")),
        lambda case: "clicks at two places inside it find two things",
    ),
    (
        lambda case: 0.5 * (0.6 - case.at("outline")),
        lambda case: f"the model draws another outline (agreement {case.at('outline'):.2f})",
    ),
    (
        lambda case: -0.7 * case.at("edge_beside"),
        lambda case: "the photo's edges lie beside its outline",
    ),
    (
        lambda case: 0.6 * (case.at("bare_stretch") - 0.25),
        lambda case: f"a stretch of {_percent(case.at('bare_stretch'))} of its outline has no edge",
    ),
    (
        lambda case: 0.4 * (0.3 - case.at("contrast")),
        lambda case: "both sides of its outline look alike",
    ),
    (
        lambda case: case.at("swallows") - 0.6,
        lambda case: f"it covers {_percent(case.at('swallows'))} of another mask",
    ),
    (lambda case: _many(case.parts, 4), lambda case: f"it falls into {case.parts} parts"),
    (lambda case: _many(case.holes, 3), lambda case: f"it has {case.holes} holes"),
    (
        lambda case: 0.15 * (case.at("odd_size") - 2.5),
        lambda case: "its size is unusual " + (f"for {case.label!r}" if case.label else "here"),
    ),
    (lambda case: 0.1 * (case.area < TINY_AREA), lambda case: f"it has {case.area} pixels"),
)


@dataclass(frozen=True, eq=False, kw_only=True)
class GradedMask:
    """What is thought of one mask.

    photo     index of the photo among those that were examined
    found     what was found about the mask
    grade     0..1, how likely it is a careful one
    error     the kind of error that it resembles most; "" where it is no suspect
    reasons   in words, the heaviest first; empty where it is no suspect
    action    what is proposed; "replace": by `found.answer`
    gain      the IoU with the truth that the proposal may win
    """

    photo: int
    found: ExaminedMask
    grade: float
    error: str = ""
    reasons: tuple[str, ...] = ()
    action: Correction = "keep"
    gain: float = 0.0


def grade_masks(
    grader: Grader, photos: Sequence[ExaminedPhoto], below: float = SUSPECT_BELOW
) -> list[GradedMask]:
    """A verdict for every mask, in the order of photos and masks.

    below  masks with a lower grade are suspects
    """
    places = [(n, one) for n, photo in enumerate(photos) for one in photo.masks]
    filled = [one.values for _, one in places if len(one.values)]
    values = np.stack(filled) if filled else np.zeros((0, len(FEATURES)))
    usual = fit_scale(values) if len(values) >= LEAST_USUAL_MASKS else None
    verdicts = []
    row = 0
    grades, guesses = grader.grade(values, usual), grader.guess_given(values, usual)
    odds = grader.log_odds(values, usual)
    for photo, found in places:
        bare = GradedMask(photo=photo, found=found, grade=0.0)
        if not len(found.values):
            verdicts.append(replace(bare, reasons=(EMPTY_REASON,), action="remove"))
            continue
        graded = replace(bare, grade=float(grades[row]))
        if found.twin is not None:
            verdicts.append(_mark_duplicate(graded, found.twin))
        elif graded.grade < below:
            error = grader.errors[int(odds[row].argmax())]
            verdicts.append(_propose_answer(graded, error, float(guesses[row])))
        else:
            verdicts.append(graded)
        row += 1
    return verdicts


def _mark_duplicate(verdict: GradedMask, of: int) -> GradedMask:
    reasons = (f"it says the same as mask {of}",)
    least = min(verdict.grade, DUPLICATE_GRADE)
    return replace(verdict, grade=least, reasons=reasons, action="remove")


def _propose_answer(verdict: GradedMask, error: str, given: float) -> GradedMask:
    """With reasons, and the model's answer where that promises to be better."""
    found = verdict.found
    reasons = explain_error(error, found.values, found.label, rle_area(found.rle))
    verdict = replace(verdict, error=error, reasons=reasons)
    gain = found.guess - given
    if found.answer is None or gain < LEAST_GAIN or error in UNREPLACED_ERRORS:
        return verdict
    return replace(verdict, action="replace", gain=gain)


# Suspects.


@dataclass(frozen=True, eq=False, kw_only=True)
class Suspect:
    """One thing to look at.

    number    its name in this audit
    photo     index of the photo
    mask      index of the mask in its photo; None for a missing object
    label     the mask's class
    grade     0..1; of a missing object None
    reasons   in words
    action    "keep" where there is no better mask, else "replace", "remove" or "add"
    given     the mask as it stands, None for a missing object
    proposal  the better mask, None where it is kept or removed
    gain      the IoU with the truth that the proposal may win
    asked     how the model was asked for the proposal
    """

    number: int
    photo: int
    mask: int | None
    label: str | None
    grade: float | None
    reasons: tuple[str, ...]
    action: str
    given: Rle | None
    proposal: Mask | None
    gain: float = 0.0
    asked: str = ""


def list_suspects(
    photos: Sequence[ExaminedPhoto], verdicts: Sequence[GradedMask], below: float = SUSPECT_BELOW
) -> list[Suspect]:
    """All suspects in the order of their numbers."""
    low = sorted(
        (verdict for verdict in verdicts if verdict.grade < below),
        key=lambda verdict: (verdict.grade, verdict.photo, verdict.found.mask),
    )
    suspects = [_grade_to_suspect(n, verdict) for n, verdict in enumerate(low, start=1)]
    unlisted = sorted(
        ((place, record) for place, photo in enumerate(photos) for record in photo.missing),
        key=lambda pair: -object_certainty(pair[1]),
    )
    for n, (place, record) in enumerate(unlisted, start=len(suspects) + 1):
        suspects.append(
            Suspect(
                number=n,
                photo=place,
                mask=None,
                label=None,
                grade=None,
                reasons=(MISSING_REASON,),
                action="add",
                given=None,
                proposal=record,
                asked="click",
            )
        )
    return suspects


def _grade_to_suspect(number: int, verdict: GradedMask) -> Suspect:
    found: ExaminedMask = verdict.found
    replaced = verdict.action == "replace"
    return Suspect(
        number=number,
        photo=verdict.photo,
        mask=found.mask,
        label=found.label,
        grade=verdict.grade,
        reasons=verdict.reasons,
        action=verdict.action,
        given=found.rle,
        proposal=found.answer if replaced else None,
        gain=verdict.gain,
        asked=found.asked if replaced else "",
    )


# Proposals.

# What of a mask stays when another outline takes its place.


def apply_proposals(
    image: AnnotatedImage, suspects: Sequence[Suspect], accepted: Collection[int] | None = None
) -> AnnotatedImage:
    """The photo's masks with the proposals in their place; all others stay as they are.

    suspects  of this photo
    accepted  numbers of those that are taken over; all when left out
    """
    chosen = [s for s in suspects if accepted is None or s.number in accepted]
    changed = {s.mask: s for s in chosen if s.mask is not None and s.action != "keep"}
    masks: list[Mask] = []
    for number, mask in enumerate(image.masks):
        suspect = changed.get(number)
        if suspect is None:
            masks.append(mask)
        elif suspect.proposal is not None:
            kept = {name: getattr(mask, name) for name in ANNOTATED}
            masks.append(replace(suspect.proposal, **kept))
    added = [s.proposal for s in chosen if s.action == "add" and s.proposal is not None]
    masks += added
    return replace(image, masks=Masks(masks))
