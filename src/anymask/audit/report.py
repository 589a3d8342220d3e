"""What an audit says: as Markdown, as JSON, as a page with pictures of the suspects."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import cv2
import numpy as np

from anymask.audit.examination import PhotoEvidence, Verdict
from anymask.audit.label_errors import Suspect
from anymask.audit.results_file import AuditHeader
from anymask.primitives.rle import rle_to_string
from anymask.primitives.types import UintImage
from anymask.reports.page import html_page, note, section
from anymask.reports.plots import Series, bar_plot

FORMAT = 1
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
    photos: Sequence[PhotoEvidence]
    verdicts: Sequence[Verdict]
    suspects: Sequence[Suspect]


def audit_to_markdown(report: AuditReport, top: int) -> str:
    """The counts in a few lines, then the first suspects, masks and missing objects apart."""
    masks = [s for s in report.suspects if s.mask is not None]
    missing = [s for s in report.suspects if s.mask is None]
    lines = [*summary_lines(report), ""]
    if masks:
        lines += ["| no. | image | mask | label | grade | proposal | why |"]
        lines += ["|--:|---|--:|---|--:|---|---|"]
        lines += [_mask_row(report, suspect) for suspect in masks[:top]]
        lines += [""]
    if missing:
        lines += ["| no. | image | quality | area | missing object, box x0,y0,x1,y1 |"]
        lines += ["|--:|---|--:|--:|---|"]
        lines += [_missing_row(report, suspect) for suspect in missing[:top]]
        lines += [""]
    shown = min(len(masks), top) + min(len(missing), top)
    if len(report.suspects) > shown:
        lines.append(f"{len(report.suspects) - shown} more suspects in audit.json; --top N shows N")
    return "\n".join(lines).strip() + "\n"


def summary_lines(report: AuditReport) -> list[str]:
    """How many masks, how many suspects, what is proposed."""
    grades = np.array([verdict.grade for verdict in report.verdicts])
    actions = [suspect.action for suspect in report.suspects]
    low = sum(suspect.mask is not None for suspect in report.suspects)
    mean = f", mean grade {grades.mean():.2f}" if len(grades) else ""
    return [
        f"{report.name}: {len(report.photos)} images, {len(grades)} masks{mean}",
        f"{low} masks with a grade below {report.below:g}: for {actions.count('replace')} another "
        f"mask is proposed, {actions.count('remove')} are to be removed, {actions.count('keep')} "
        "to be looked at",
        f"{actions.count('add')} objects without a mask",
    ]


def _mask_row(report: AuditReport, suspect: Suspect) -> str:
    action = {"replace": f"replace (+{suspect.gain:.2f})", "keep": ""}
    cells = (
        f"{suspect.number}",
        report.photos[suspect.photo].file_name,
        f"{suspect.mask}",
        suspect.label or "",
        f"{suspect.grade:.2f}",
        action.get(suspect.action, suspect.action),
        "; ".join(suspect.reasons),
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _missing_row(report: AuditReport, suspect: Suspect) -> str:
    assert suspect.proposal is not None
    box = ",".join(f"{side:.0f}" for side in suspect.proposal.box_xyxy)
    name = report.photos[suspect.photo].file_name
    quality, area = suspect.proposal.quality, suspect.proposal.area
    return f"| {suspect.number} | {name} | {quality:.2f} | {area} | {box} |"


# JSON.


def audit_to_json(report: AuditReport) -> dict[str, Any]:
    """Every grade and every suspect."""
    return {
        "format": FORMAT,
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
    parts = [*(note(line) for line in summary_lines(report)[1:]), plot]
    about = "Left the mask as it stands, right the proposed one."
    if masks:
        parts.append(section("Suspects", note(about), _cards(report, masks)))
    if missing:
        parts.append(section("Objects without a mask", _cards(report, missing)))
    model = f"{report.header.model}, weights {report.header.weights[:12]}"
    return html_page(f"Audit: {report.name}", f"{summary_lines(report)[0]}; {model}", parts)


def _cards(report: AuditReport, pictures: Sequence[tuple[Suspect, UintImage]]) -> str:
    cards = []
    for suspect, picture in pictures:
        name = report.photos[suspect.photo].file_name
        title = f"{suspect.number}. {suspect.label or name}"
        if suspect.grade is not None:
            title += f" · grade {suspect.grade:.2f}"
        about = f"{name}, mask {suspect.mask}" if suspect.mask is not None else name
        proposal = {"replace": f"replace (+{suspect.gain:.2f})", "keep": "look at it"}
        action = proposal.get(suspect.action, suspect.action)
        reasons = "".join(f"<li>{escape(reason)}</li>" for reason in suspect.reasons)
        image = f'<img alt="{escape(title, quote=True)}" src="{_data_address(picture)}">'
        cards.append(
            f'<div class="sheet"><h3>{escape(title)}</h3>{image}'
            f'<p class="note">{escape(about)} · proposal: {escape(action)}</p><ul>{reasons}</ul>'
            "</div>"
        )
    return f'<div class="sheets">{"".join(cards)}</div>'


def jpeg_bytes(picture: UintImage) -> bytes:  # (H, W, 3) RGB
    """The picture as a JPEG file."""
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88]
    )
    assert done
    return data.tobytes()


def _data_address(picture: UintImage) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg_bytes(picture)).decode()
