"""Label errors of a data set: features of its masks in, graded masks and numbered suspects out.

All masks are graded at once, each against what is usual in its own data set: where a model is weak,
all masks disagree with it, and only those that disagree more than the others are suspects.

A suspect is a mask with a low grade or an object without a mask. Suspects are numbered from 1,
masks from the worst grade on, then missing objects from the surest on; the number names the suspect
in the table, on the pictures and when a proposal is accepted.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from anymask.evaluation.audit import (
    LEAST_USUAL_MASKS,
    ExaminedMask,
    ExaminedPhoto,
    object_certainty,
)
from anymask.evaluation.audit_features import FEATURES
from anymask.evaluation.audit_grading import Grader, fit_scale
from anymask.evaluation.audit_report import explain_error
from anymask.formats import AnnotatedImage, AnnotatedMask, record_to_mask
from anymask.masks import Mask, Rle, rle_area

Correction = Literal["keep", "replace", "remove"]

SUSPECT_BELOW = 0.5  # grades below it are suspects
DUPLICATE_GRADE = 0.02  # at most, of the later one
EMPTY_REASON = "it has no pixel"
UNREPLACED_ERRORS = ("merged", "swapped")  # after these one answer of the model is no better mask
LEAST_GAIN = 0.1  # in guessed IoU, that a proposal must promise
MISSING_REASON = "missing: the model is sure of an object that no mask covers"


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


def apply_proposals(
    image: AnnotatedImage, suspects: Sequence[Suspect], accepted: Collection[int] | None = None
) -> AnnotatedImage:
    """The photo's masks with the proposals in their place; all others stay as they are.

    suspects  of this photo
    accepted  numbers of those that are taken over; all when left out
    """
    chosen = [s for s in suspects if accepted is None or s.number in accepted]
    changed = {s.mask: s for s in chosen if s.mask is not None and s.action != "keep"}
    masks: list[AnnotatedMask] = []
    for number, mask in enumerate(image.masks):
        suspect = changed.get(number)
        if suspect is None:
            masks.append(mask)
        elif suspect.proposal is not None:
            proposal = replace(suspect.proposal, label=mask.label)
            masks.append(replace(mask, rle=proposal.rle, made=proposal))
    added = [s.proposal for s in chosen if s.action == "add" and s.proposal is not None]
    masks += [record_to_mask(record) for record in added]
    return replace(image, masks=tuple(masks))
