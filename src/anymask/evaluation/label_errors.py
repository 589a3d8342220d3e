"""Find label errors of a dataset: grade all masks and list numbered suspects.

All masks are graded at once, relative to the usual values of the same dataset: if a model performs
poorly, all masks disagree with it, and only those that disagree more than others are suspects.

A suspect is a mask with a low grade or an object without a mask. Suspects are numbered from 1:
masks by ascending grade, then missing objects by descending confidence. The number identifies the
suspect in the table, in images and when a proposal is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from anymask.base import Floats
from anymask.evaluation.audit_features import FEATURES
from anymask.evaluation.audit_grading import Grader, fit_scale
from anymask.evaluation.audit_images import (
    MIN_USUAL_MASKS,
    ExaminedImage,
    ExaminedMask,
    object_certainty,
)
from anymask.formats import AnnotatedImage
from anymask.masks import Mask, Masks, Rle, rle_area

MAX_REASONS = 3  # maximum number of features in the reasons of one mask
TINY_AREA = 64  # pixels
ERROR_PHRASES = {
    "shifted": "probably shifted",
    "dilated": "probably too large on all sides",
    "eroded": "probably too small on all sides",
    "halved": "probably cut off",
    "merged": "probably several objects in one mask",
    "swapped": "no matching object at this location",
    "coarse": "probably a coarse outline",
}
Correction = Literal["keep", "replace", "remove"]
SUSPECT_BELOW = 0.5  # grades below it are suspects
DUPLICATE_GRADE = 0.02  # maximum grade of the later duplicate
UNREPLACED_ERRORS = ("merged", "swapped")  # a single predicted mask cannot fix these
MIN_GAIN = 0.1  # minimum expected gain of IoU of a proposal
# Fields that a mask keeps when its outline is replaced.
ANNOTATED = ("label", "id", "crowd", "annotator", "drawn_box", "extra")


def explain_error(error: str, values: Floats, label: str | None, area: int) -> tuple[str, ...]:
    """Describe the likely error of a mask, then its most unusual features.

    Args:
        error: Most likely kind of error.
        values: (F,) features.
    """
    at = dict(zip(FEATURES, values.tolist(), strict=True))
    parts, holes = round(math.exp(at["parts"])), round(math.expm1(at["holes"]))
    inside, of = at["inside_clicks"], at["of_clicks"]
    kind = f"for {label!r}" if label else "in this dataset"
    weighed = [  # (severity, about 0..1 and 0 or less if it does not apply; text)
        (0.55 - at["best"],
         f"no predicted mask is similar at this location (best IoU {at['best']:.2f})"),
        (0.7 * (inside - of - 0.2),
         f"the object extends beyond the mask: the mask covers {100 * of:.0f} % of the region "
         "predicted for clicks inside the mask"),
        (0.7 * (of - inside - 0.2),
         "the mask extends beyond the object: the region predicted for clicks inside the mask "
         f"covers {100 * inside:.0f} % of the mask"),
        (0.4 * (0.3 - at["one_object"]), "two clicks inside the mask predict different objects"),
        (0.5 * (0.6 - at["outline"]),
         "the predicted outline differs from the outline of the mask (agreement "
         f"{at['outline']:.2f})"),
        (-0.7 * at["edge_beside"], "image edges run next to the outline, not along it"),
        (0.6 * (at["bare_stretch"] - 0.25),
         f"{100 * at['bare_stretch']:.0f} % of the outline has no image edge"),
        (0.4 * (0.3 - at["contrast"]), "low contrast along the outline"),
        (at["swallows"] - 0.6, f"covers {100 * at['swallows']:.0f} % of another mask"),
        (0.2 * math.sqrt(max(parts - 4, 0)), f"{parts} separate parts"),
        (0.2 * math.sqrt(max(holes - 3, 0)), f"{holes} holes"),
        (0.15 * (at["odd_size"] - 2.5), f"unusual size {kind}"),
        (0.1 * (area < TINY_AREA), f"only {area} pixels"),
    ]  # fmt: skip
    holding = sorted((pair for pair in weighed if pair[0] > 0), key=lambda pair: -pair[0])
    most = (words for _, words in holding[:MAX_REASONS])
    return (ERROR_PHRASES.get(error, f"probably {error}"), *most)


@dataclass(frozen=True, eq=False, kw_only=True)
class GradedMask:
    """Grade of one mask."""

    image: int  # Index of the image among those examined
    found: ExaminedMask  # Examination result of the mask
    grade: float  # 0..1, how likely the mask is correct
    error: str = ""  # Most likely kind of error; "" if it is not a suspect
    reasons: tuple[str, ...] = ()  # Texts, most severe first; empty if it is not a suspect
    action: Correction = "keep"  # Proposed correction; "replace" uses `found.answer`
    gain: float = 0.0  # Expected gain of IoU by the proposal


def grade_masks(
    grader: Grader, images: Sequence[ExaminedImage], below: float = SUSPECT_BELOW
) -> list[GradedMask]:
    """Grade every mask, in the order of images and masks.

    Args:
        below: Masks with a lower grade are suspects.
    """
    places = [(n, mask) for n, image in enumerate(images) for mask in image.masks]
    filled = [mask.values for _, mask in places if len(mask.values)]
    values = np.stack(filled) if filled else np.zeros((0, len(FEATURES)))
    usual = fit_scale(values) if len(values) >= MIN_USUAL_MASKS else None
    rows = zip(
        grader.grade(values, usual).tolist(),
        grader.guess_given(values, usual).tolist(),
        grader.log_odds(values, usual),
        strict=True,
    )
    verdicts = []
    for image, mask in places:
        verdict = GradedMask(image=image, found=mask, grade=0.0)
        if not len(mask.values):
            verdicts.append(replace(verdict, reasons=("empty mask",), action="remove"))
            continue
        grade, given, odds = next(rows)
        if mask.twin is not None:
            same, least = f"duplicate of mask {mask.twin}", min(grade, DUPLICATE_GRADE)
            verdict = replace(verdict, grade=least, reasons=(same,), action="remove")
        elif grade < below:
            error = grader.errors[int(odds.argmax())]
            reasons = explain_error(error, mask.values, mask.label, rle_area(mask.rle))
            verdict = replace(verdict, grade=grade, error=error, reasons=reasons)
            gain = mask.guess - given
            if mask.answer and gain >= MIN_GAIN and error not in UNREPLACED_ERRORS:
                verdict = replace(verdict, action="replace", gain=gain)
        verdicts.append(verdict if verdict.reasons else replace(verdict, grade=grade))
    return verdicts


@dataclass(frozen=True, eq=False, kw_only=True)
class Suspect:
    """Suspected label error."""

    number: int  # Number in this audit
    image: int  # Index of the image
    mask: int | None  # Index of the mask in its image; None for a missing object
    label: str | None  # Class of the mask
    grade: float | None  # 0..1; None for a missing object
    reasons: tuple[str, ...]  # Texts
    action: str  # "keep" if there is no better mask, else "replace", "remove" or "add"
    given: Rle | None  # Annotated mask, None for a missing object
    proposal: Mask | None  # Better mask, None if it is kept or removed
    gain: float = 0.0  # Expected gain of IoU by the proposal
    prompt_kind: str = ""  # Prompt of the proposal


def list_suspects(
    images: Sequence[ExaminedImage], verdicts: Sequence[GradedMask], below: float = SUSPECT_BELOW
) -> list[Suspect]:
    """List all suspects in the order of their numbers."""
    suspects: list[Suspect] = []
    low = [verdict for verdict in verdicts if verdict.grade < below]
    for graded in sorted(low, key=lambda one: (one.grade, one.image, one.found.mask)):
        mask, replaced = graded.found, graded.action == "replace"
        suspects.append(
            Suspect(
                number=len(suspects) + 1, image=graded.image, mask=mask.mask, label=mask.label,
                grade=graded.grade, reasons=graded.reasons, action=graded.action, given=mask.rle,
                proposal=mask.answer if replaced else None, gain=graded.gain,
                prompt_kind=mask.prompt_kind if replaced else "",
            )
        )  # fmt: skip
    missing = [(index, record) for index, image in enumerate(images) for record in image.missing]
    for index, record in sorted(missing, key=lambda pair: -object_certainty(pair[1])):
        suspects.append(
            Suspect(
                number=len(suspects) + 1, image=index, mask=None, label=None, grade=None,
                reasons=("missing: the model predicts an object without a mask",), action="add",
                given=None, proposal=record, prompt_kind="click",
            )
        )  # fmt: skip
    return suspects


def apply_proposals(
    image: AnnotatedImage, suspects: Sequence[Suspect], accepted: Collection[int] | None = None
) -> AnnotatedImage:
    """Apply proposals to the masks of an image.

    Args:
        suspects: Suspects of this image.
        accepted: Numbers of the proposals to apply. Defaults to all.
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
    masks += [s.proposal for s in chosen if s.action == "add" and s.proposal is not None]
    return replace(image, masks=Masks(masks))
