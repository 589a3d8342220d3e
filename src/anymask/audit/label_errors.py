"""What an audit comes to: numbered suspects, the better masks that are proposed, and pictures.

A suspect is a mask with a low grade or an object without a mask. Suspects are numbered from 1,
masks from the worst grade on, then missing objects from the surest on; the number names the suspect
in the table, on the pictures and when a proposal is accepted.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from anymask.audit.examination import BELOW, Examined, PhotoEvidence, Verdict
from anymask.audit.missing_objects import sureness
from anymask.data.annotations import AnnotatedImage, AnnotatedMask
from anymask.primitives.draw import Colour, overlay
from anymask.primitives.records import MaskRecord
from anymask.primitives.rle import Rle, rle_box_xyxy, rle_to_mask
from anymask.primitives.rle_windows import rle_in_window
from anymask.primitives.types import BoolArray, UintImage

GIVEN: Colour = (255, 112, 67)
PROPOSED: Colour = (60, 200, 90)
PANEL = 360  # pixels of the longest side of a panel, at most four times the photo's own
MARGIN = 0.35  # of the window's sides, around both masks
MISSING = "missing: the model is sure of an object that no mask covers"


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
    proposal: MaskRecord | None
    gain: float = 0.0
    asked: str = ""


def list_suspects(
    photos: Sequence[PhotoEvidence], verdicts: Sequence[Verdict], below: float = BELOW
) -> list[Suspect]:
    """All suspects in the order of their numbers."""
    low = sorted(
        (verdict for verdict in verdicts if verdict.grade < below),
        key=lambda verdict: (verdict.grade, verdict.photo, verdict.found.mask),
    )
    suspects = [_of_verdict(n, verdict) for n, verdict in enumerate(low, start=1)]
    unlisted = sorted(
        ((place, record) for place, photo in enumerate(photos) for record in photo.missing),
        key=lambda pair: -sureness(pair[1]),
    )
    for n, (place, record) in enumerate(unlisted, start=len(suspects) + 1):
        suspects.append(
            Suspect(
                number=n,
                photo=place,
                mask=None,
                label=None,
                grade=None,
                reasons=(MISSING,),
                action="add",
                given=None,
                proposal=record,
                asked="click",
            )
        )
    return suspects


def _of_verdict(number: int, verdict: Verdict) -> Suspect:
    found: Examined = verdict.found
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
            record = replace(suspect.proposal, label=mask.label)
            masks.append(replace(mask, record=record))
    added = [s.proposal for s in chosen if s.action == "add" and s.proposal is not None]
    masks += [AnnotatedMask(record=record) for record in added]
    return replace(image, masks=tuple(masks))


# Pictures.


def suspect_picture(pixels: UintImage, suspect: Suspect) -> UintImage:  # (H, W, 3) -> (h, w, 3)
    """The photo around a suspect: left the given mask, right the proposed one.

    Without a proposal the right side shows the photo alone, without a given mask the left one.
    """
    proposal = None if suspect.proposal is None else suspect.proposal.rle
    window = _window([rle for rle in (suspect.given, proposal) if rle is not None])
    x0, y0, x1, y1 = window
    crop = np.ascontiguousarray(pixels[y0:y1, x0:x1])
    panels = []
    for rle, colour in ((suspect.given, GIVEN), (proposal, PROPOSED)):
        mask = None if rle is None else rle_to_mask(rle_in_window(rle, window))
        panels.append(_panel(crop, mask, colour))
    gap = np.full((panels[0].shape[0], 6, 3), 128, np.uint8)
    return np.concatenate([panels[0], gap, panels[1]], axis=1)


def _window(rles: Sequence[Rle]) -> tuple[int, int, int, int]:
    """The part of the photo to show: around all masks, or all of it around an empty one."""
    height, width = rles[0].size
    boxes = np.array([rle_box_xyxy(rle) for rle in rles if len(rle.counts) > 1])
    if not len(boxes):
        return (0, 0, width, height)
    (x0, y0), (x1, y1) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0) + 1
    dx, dy = (max(12, round(MARGIN * float(side))) for side in (x1 - x0, y1 - y0))
    low_x, low_y = max(int(x0) - dx, 0), max(int(y0) - dy, 0)
    return (low_x, low_y, min(int(x1) + dx, width), min(int(y1) + dy, height))


def _panel(crop: UintImage, mask: BoolArray | None, colour: Colour) -> UintImage:
    scale = min(PANEL / max(crop.shape[:2]), 4)
    size = (max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale)))
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    shown = cv2.resize(crop, size, interpolation=kind).astype(np.uint8).reshape(size[1], size[0], 3)
    if mask is None:
        return shown
    near = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return overlay(shown, near.reshape(1, size[1], size[0]) > 0, alpha=0.3, palette=[colour])
