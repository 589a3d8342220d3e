"""Explanations of a grade: the features of a mask in, sentences about what is unusual out.

Letters: F features.

Report of an audit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import cv2
import numpy as np

from anymask.base import BoolArray, UintImage
from anymask.evaluation.audit import ExaminedPhoto
from anymask.evaluation.audit_results import AuditHeader
from anymask.evaluation.label_errors import GradedMask, Suspect
from anymask.evaluation.pages import (
    html_page,
    jpeg_bytes,
    markdown_table,
    note,
    picture_tag,
    section,
)
from anymask.evaluation.plots import Series, bar_plot
from anymask.masks import (
    Colour,
    Rle,
    counted,
    overlay,
    rle_box_xyxy,
    rle_in_window,
    rle_to_mask,
    rle_to_string,
)

AUDIT_FORMAT = 1
GIVEN_COLOUR: Colour = (255, 112, 67)
PROPOSED_COLOUR: Colour = (60, 200, 90)
PANEL_SIDE = 360  # pixels of the longest side of a panel, at most four times the photo's own
WINDOW_MARGIN = 0.35  # of the window's sides, around both masks
MASK_HEADER = ("no.", "image", "mask", "label", "grade", "proposal", "why")
OBJECT_HEADER = ("no.", "image", "quality", "area", "missing object, box x0,y0,x1,y1")
TENTHS = tuple(f".{n}-{'1' if n == 9 else f'.{n + 1}'}" for n in range(10))


@dataclass(frozen=True, eq=False, kw_only=True)
class AuditReport:
    """A finished audit.

    name      of the data set
    header    the model and the settings
    below     grades below it are suspects
    photos    what was found
    verdicts  of every mask
    suspects  numbered
    """

    name: str
    header: AuditHeader
    below: float
    photos: Sequence[ExaminedPhoto]
    verdicts: Sequence[GradedMask]
    suspects: Sequence[Suspect]


def audit_to_markdown(report: AuditReport, top: int) -> str:
    """The counts in a few lines, then the first suspects, masks and missing objects apart."""
    masks = [s for s in report.suspects if s.mask is not None]
    missing = [s for s in report.suspects if s.mask is None]
    lines = [*summarise_audit(report), ""]
    if masks:
        rows = [_mask_row(report, suspect) for suspect in masks[:top]]
        lines += [markdown_table(MASK_HEADER, rows, "rlrlrll"), ""]
    if missing:
        rows = [_missing_row(report, suspect) for suspect in missing[:top]]
        lines += [markdown_table(OBJECT_HEADER, rows, "rlrrl"), ""]
    shown = min(len(masks), top) + min(len(missing), top)
    if len(report.suspects) > shown:
        lines.append(f"{len(report.suspects) - shown} more suspects in audit.json; --top N shows N")
    return "\n".join(lines).strip() + "\n"


def summarise_audit(report: AuditReport) -> list[str]:
    """How many masks, how many suspects, what is proposed."""
    grades = np.array([verdict.grade for verdict in report.verdicts])
    actions = [suspect.action for suspect in report.suspects]
    low = sum(suspect.mask is not None for suspect in report.suspects)
    mean = f", mean grade {grades.mean():.2f}" if len(grades) else ""
    return [
        f"{report.name}: {counted(len(report.photos), 'image')}, "
        f"{counted(len(grades), 'mask')}{mean}",
        f"{counted(low, 'mask')} with a grade below {report.below:g}: for "
        f"{actions.count('replace')} another mask is proposed, {actions.count('remove')} are to be "
        f"removed, {actions.count('keep')} to be looked at",
        f"{counted(actions.count('add'), 'object')} without a mask",
    ]


def _mask_row(report: AuditReport, suspect: Suspect) -> tuple[str, ...]:
    return (
        f"{suspect.number}",
        report.photos[suspect.photo].file_name,
        f"{suspect.mask}",
        suspect.label or "",
        f"{suspect.grade:.2f}",
        _describe_action(suspect),
        "; ".join(suspect.reasons),
    )


def _describe_action(suspect: Suspect) -> str:
    action = {"replace": f"replace (+{suspect.gain:.2f})", "keep": ""}
    return action.get(suspect.action, suspect.action)


def _missing_row(report: AuditReport, suspect: Suspect) -> tuple[str, ...]:
    assert suspect.proposal is not None
    box = ",".join(f"{side:.0f}" for side in suspect.proposal.box)
    name = report.photos[suspect.photo].file_name
    quality, area = suspect.proposal.score, suspect.proposal.area
    return f"{suspect.number}", name, f"{quality:.2f}", f"{area}", box


# JSON.


def audit_to_json(report: AuditReport) -> dict[str, Any]:
    """Every grade and every suspect."""
    return {
        "format": AUDIT_FORMAT,
        "name": report.name,
        **asdict(report.header),
        "below": report.below,
        "images": [photo.file_name for photo in report.photos],
        "grades": [
            {
                "image": report.photos[verdict.photo].file_name,
                "mask": verdict.found.mask,
                "label": verdict.found.label,
                "grade": round(verdict.grade, 4),
            }
            for verdict in report.verdicts
        ],
        "suspects": [suspect_to_json(report, suspect) for suspect in report.suspects],
    }


def suspect_to_json(report: AuditReport, suspect: Suspect) -> dict[str, Any]:
    """One suspect with the mask as it stands, the proposal, and where that comes from."""
    row: dict[str, Any] = {
        "number": suspect.number,
        "image": report.photos[suspect.photo].file_name,
        "mask": suspect.mask,
        "label": suspect.label,
        "grade": None if suspect.grade is None else round(suspect.grade, 4),
        "reasons": list(suspect.reasons),
        "action": suspect.action,
    }
    if suspect.given is not None:
        row["given"] = {"size": list(suspect.given.size), "counts": rle_to_string(suspect.given)}
    if suspect.proposal is not None:
        row["proposal"] = suspect.proposal.to_sa1b()
        row["gain"] = round(suspect.gain, 4)
        row["made_by"] = {
            "model": report.header.model,
            "weights": report.header.weights,
            "asked": suspect.asked,
        }
    return row


# The page.


def audit_to_html(report: AuditReport, pictures: Sequence[tuple[Suspect, UintImage]]) -> str:
    """One self-contained page: the grades as a plot, then each suspect that has a picture."""
    grades = np.array([verdict.grade for verdict in report.verdicts])
    counts = np.bincount(np.clip((grades * 10).astype(np.int64), 0, 9), minlength=10)
    shares = counts / max(len(grades), 1)
    masks = [(s, picture) for s, picture in pictures if s.mask is not None]
    missing = [(s, picture) for s, picture in pictures if s.mask is None]
    plot = f'<div class="sheet small">{bar_plot(TENTHS, [Series("masks", shares)], "grade")}</div>'
    parts = [*(note(line) for line in summarise_audit(report)[1:]), plot]
    about = "Left the mask as it stands, right the proposed one."
    if masks:
        parts.append(section("Suspects", note(about), _cards(report, masks)))
    if missing:
        parts.append(section("Objects without a mask", _cards(report, missing)))
    model = f"{report.header.model}, weights {report.header.weights[:12]}"
    return html_page(f"Audit: {report.name}", f"{summarise_audit(report)[0]}; {model}", parts)


def _cards(report: AuditReport, pictures: Sequence[tuple[Suspect, UintImage]]) -> str:
    cards = []
    for suspect, picture in pictures:
        name = report.photos[suspect.photo].file_name
        title = f"{suspect.number}. {suspect.label or name}"
        if suspect.grade is not None:
            title += f" · grade {suspect.grade:.2f}"
        about = f"{name}, mask {suspect.mask}" if suspect.mask is not None else name
        action = _describe_action(suspect) or "look at it"
        reasons = "".join(f"<li>{escape(reason)}</li>" for reason in suspect.reasons)
        image = picture_tag(jpeg_bytes(picture), title)
        cards.append(
            f'<div class="sheet"><h3>{escape(title)}</h3>{image}'
            f'<p class="note">{escape(about)} · proposal: {escape(action)}</p><ul>{reasons}</ul>'
            "</div>"
        )
    return f'<div class="sheets">{"".join(cards)}</div>'


# Pictures.


def draw_suspect(pixels: UintImage, suspect: Suspect) -> UintImage:  # (H, W, 3) -> (h, w, 3)
    """The photo around a suspect: left the given mask, right the proposed one.

    Without a proposal the right side shows the photo alone, without a given mask the left one.
    """
    proposal = None if suspect.proposal is None else suspect.proposal.rle
    window = _find_window([rle for rle in (suspect.given, proposal) if rle is not None])
    x0, y0, x1, y1 = window
    crop = np.ascontiguousarray(pixels[y0:y1, x0:x1])
    panels = []
    for rle, colour in ((suspect.given, GIVEN_COLOUR), (proposal, PROPOSED_COLOUR)):
        mask = None if rle is None else rle_to_mask(rle_in_window(rle, window))
        panels.append(_draw_panel(crop, mask, colour))
    gap = np.full((panels[0].shape[0], 6, 3), 128, np.uint8)
    return np.concatenate([panels[0], gap, panels[1]], axis=1)


def _find_window(rles: Sequence[Rle]) -> tuple[int, int, int, int]:
    """The part of the photo to show: around all masks, or all of it around an empty one."""
    height, width = rles[0].size
    boxes = np.array([rle_box_xyxy(rle) for rle in rles if len(rle.counts) > 1])
    if not len(boxes):
        return (0, 0, width, height)
    (x0, y0), (x1, y1) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0) + 1
    dx, dy = (max(12, round(WINDOW_MARGIN * float(side))) for side in (x1 - x0, y1 - y0))
    low_x, low_y = max(int(x0) - dx, 0), max(int(y0) - dy, 0)
    return (low_x, low_y, min(int(x1) + dx, width), min(int(y1) + dy, height))


def _draw_panel(crop: UintImage, mask: BoolArray | None, colour: Colour) -> UintImage:
    scale = min(PANEL_SIDE / max(crop.shape[:2]), 4)
    size = (max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale)))
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    shown = cv2.resize(crop, size, interpolation=kind).astype(np.uint8).reshape(size[1], size[0], 3)
    if mask is None:
        return shown
    near = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return overlay(shown, near.reshape(1, size[1], size[0]) > 0, alpha=0.3, palette=[colour])
