"""Audit reports: grades and suspects as tables, page and JSON, and images of suspects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from anymask.base import BoolArray, UintImage
from anymask.evaluation.audit_images import AuditHeader, ExaminedImage
from anymask.evaluation.label_errors import GradedMask, Suspect
from anymask.evaluation.page import Series, bar_plot, jpeg_bytes
from anymask.evaluation.report import Report, Section, Shot, TextTable
from anymask.masks import (
    Color,
    Rle,
    counted,
    overlay,
    rle_box_xyxy,
    rle_in_window,
    rle_to_mask,
    rle_to_string,
)

AUDIT_FORMAT = 1
GIVEN_COLOR: Color = (255, 112, 67)
PROPOSED_COLOR: Color = (60, 200, 90)
PANEL_SIDE = 360  # longest side of a panel in pixels; images are magnified at most four times
WINDOW_MARGIN = 0.35  # margin around both masks, relative to their size
MASK_HEADER = ("no.", "image", "mask", "label", "grade", "proposal", "why")
OBJECT_HEADER = ("no.", "image", "score", "area", "box around the unmasked object (x0,y0,x1,y1)")
TENTHS = tuple(f".{n}-{'1' if n == 9 else f'.{n + 1}'}" for n in range(10))


@dataclass(frozen=True, eq=False, kw_only=True)
class AuditResult:
    """Results of a finished audit."""

    name: str  # Name of the dataset
    header: AuditHeader  # Model and settings
    below: float  # Grade threshold of suspects
    images: Sequence[ExaminedImage]  # Examined images
    graded: Sequence[GradedMask]  # All masks with grades
    suspects: Sequence[Suspect]  # Numbered suspects

    def image_of(self, one: Suspect | GradedMask) -> str:
        """Return the name of the image of a suspect or mask."""
        return self.images[one.image].file_name


def report_audit(
    result: AuditResult,
    top: int,
    images: Sequence[tuple[Suspect, UintImage]] = (),
    notes: Sequence[str] = (),
) -> Report:
    """Report the counts, and the first `top` suspects and missing objects, with images."""
    masks = [s for s in result.suspects if s.mask is not None]
    missing = [s for s in result.suspects if s.mask is None]
    grades = np.array([mask.grade for mask in result.graded])
    tenths = np.bincount(np.clip((grades * 10).astype(np.int64), 0, 9), minlength=10)
    plot = bar_plot(TENTHS, [Series("masks", tenths / max(len(grades), 1))], "grade")
    rows = [
        (
            f"{suspect.number}", result.image_of(suspect), f"{suspect.mask}", suspect.label or "",
            f"{suspect.grade:.2f}", _proposal(suspect), "; ".join(suspect.reasons),
        )
        for suspect in masks[:top]
    ]  # fmt: skip
    objects = [_object_row(result, suspect) for suspect in missing[:top]]
    hidden = len(result.suspects) - min(len(masks), top) - min(len(missing), top)
    actions = [suspect.action for suspect in result.suspects]
    mean = f", mean grade {grades.mean():.2f}" if len(grades) else ""
    sections = [
        Section(
            notes=[
                f"{result.name}: {counted(len(result.images), 'image')}, "
                f"{counted(len(grades), 'mask')}{mean}",
                f"{counted(len(masks), 'mask')} with a grade below {result.below:g}: "
                f"{actions.count('replace')} to replace, {actions.count('remove')} to remove, "
                f"{actions.count('keep')} to review",
                f"{counted(actions.count('add'), 'object')} without a mask",
            ],
            plots=[("Grades", plot)],
        ),
        Section(
            title="Suspects",
            tables=[TextTable(MASK_HEADER, rows, align="rlrlrll")],
            images=[_card(result, s, p) for s, p in images if s.mask is not None],
        ),
        Section(
            title="Objects without a mask",
            tables=[TextTable(OBJECT_HEADER, objects, align="rlrrl")],
            images=[_card(result, s, p) for s, p in images if s.mask is None],
        ),
    ]
    reading = [
        f"audit.json lists {hidden} more suspects. To show up to N of each kind in this report, "
        "use --top N."
    ] * (hidden > 0)
    reading += ["images: the current mask is on the left, the proposed mask on the right"] * bool(
        images
    )
    graded = [
        {
            "image": result.image_of(mask), "mask": mask.found.mask, "label": mask.found.label,
            "grade": round(mask.grade, 4),
        }
        for mask in result.graded
    ]  # fmt: skip
    return Report(
        title=f"Audit: {result.name}",
        about=f"{result.header.model}, weights {result.header.weights[:12]}",
        sections=[s for s in sections if not s.tables or s.tables[0].rows],
        notes=[*reading, *notes],
        rows=graded,
        data={
            "format": AUDIT_FORMAT,
            "name": result.name,
            **asdict(result.header),
            "below": result.below,
            "images": [image.file_name for image in result.images],
            "grades": graded,
            "suspects": [suspect_to_json(result, suspect) for suspect in result.suspects],
        },
    )


def _proposal(suspect: Suspect) -> str:
    words = {"replace": f"replace (+{suspect.gain:.2f})", "keep": ""}
    return words.get(suspect.action, suspect.action)


def _object_row(result: AuditResult, suspect: Suspect) -> tuple[str, ...]:
    proposal = suspect.proposal
    assert proposal is not None
    box = ",".join(f"{side:.0f}" for side in proposal.box)
    numbers = f"{proposal.score:.2f}", f"{proposal.area}", box
    return (f"{suspect.number}", result.image_of(suspect), *numbers)


def _card(result: AuditResult, suspect: Suspect, source_image: UintImage) -> Shot:
    image = result.image_of(suspect)
    title = f"{suspect.number}. {suspect.label or image}"
    if suspect.grade is not None:
        title += f" · grade {suspect.grade:.2f}"
    about = image if suspect.mask is None else f"{image}, mask {suspect.mask}"
    about += f" · proposal: {_proposal(suspect) or 'review'}"
    return Shot(jpeg_bytes(source_image), [title, about, *suspect.reasons])


def suspect_to_json(result: AuditResult, suspect: Suspect) -> dict[str, Any]:
    """Convert a suspect to JSON values: annotated mask, proposal and its origin."""
    row: dict[str, Any] = {
        "number": suspect.number,
        "image": result.image_of(suspect),
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
            "model": result.header.model,
            "weights": result.header.weights,
            "asked": suspect.prompt_kind,
        }
    return row


def draw_suspect(pixels: UintImage, suspect: Suspect) -> UintImage:  # (H, W, 3) -> (h, w, 3)
    """Draw a suspect on a crop of its image: the annotated mask left, the proposed one right.

    A side without a mask shows the image only.
    """
    proposal = None if suspect.proposal is None else suspect.proposal.rle
    window = _find_window([rle for rle in (suspect.given, proposal) if rle is not None])
    x0, y0, x1, y1 = window
    crop = np.ascontiguousarray(pixels[y0:y1, x0:x1])
    panels = []
    for rle, color in ((suspect.given, GIVEN_COLOR), (proposal, PROPOSED_COLOR)):
        mask = None if rle is None else rle_to_mask(rle_in_window(rle, window))
        panels.append(_draw_panel(crop, mask, color))
    gap = np.full((panels[0].shape[0], 6, 3), 128, np.uint8)
    return np.concatenate([panels[0], gap, panels[1]], axis=1)


def _find_window(rles: Sequence[Rle]) -> tuple[int, int, int, int]:
    """Return the crop around all masks, or the whole image if all are empty."""
    height, width = rles[0].size
    boxes = np.array([rle_box_xyxy(rle) for rle in rles if len(rle.counts) > 1])
    if not len(boxes):
        return (0, 0, width, height)
    (x0, y0), (x1, y1) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0) + 1
    dx, dy = (max(12, round(WINDOW_MARGIN * float(side))) for side in (x1 - x0, y1 - y0))
    low_x, low_y = max(int(x0) - dx, 0), max(int(y0) - dy, 0)
    return (low_x, low_y, min(int(x1) + dx, width), min(int(y1) + dy, height))


def _draw_panel(crop: UintImage, mask: BoolArray | None, color: Color) -> UintImage:
    scale = min(PANEL_SIDE / max(crop.shape[:2]), 4)
    size = (max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale)))
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    shown = cv2.resize(crop, size, interpolation=kind).astype(np.uint8).reshape(size[1], size[0], 3)
    if mask is None:
        return shown
    near = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return overlay(shown, near.reshape(1, size[1], size[0]) > 0, alpha=0.3, palette=[color])
