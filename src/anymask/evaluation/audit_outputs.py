"""Outputs of `anymask audit`: a report in; files, pictures of suspects, corrected masks out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.base import AnymaskError, InputError, write_json, write_whole

if TYPE_CHECKING:
    from anymask.base import UintImage
    from anymask.evaluation.audit_report import AuditReport
    from anymask.evaluation.label_errors import Suspect
    from anymask.formats import AnnotatedImage, Dataset

REPORT, PAGE, SHEET, SUSPECTS = "audit.json", "audit.html", "suspects.jpg", "suspects"
ANNOTATIONS, PROVENANCE = "annotations", "proposals.json"
SHEET_COLUMNS = 3


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """What an audit is asked for; `anymask.audit` says what each means."""

    output: Path
    limit: int | None = None
    below: float = 0.5
    top: int = 20
    points_per_side: int = 12
    proposals: Path | None = None
    to: str | None = None
    accept: frozenset[int] | None = None
    json: Path | None = None


def write_outputs(options: AuditOptions, stream: Dataset, report: AuditReport) -> None:
    """Pictures first, the report last; then the tables on stdout."""
    from anymask.evaluation.audit_report import audit_to_html, audit_to_json, audit_to_markdown

    if options.proposals:
        write_proposals(options, options.proposals, stream, report)
    pictures = draw_suspects(stream, report, options.limit, options.top)
    write_pictures(options.output, report, pictures)
    write_whole(options.output / PAGE, audit_to_html(report, pictures))
    document = audit_to_json(report)
    for path in (options.output / REPORT, options.json):
        if path is not None:
            write_json(path, document)
    print(audit_to_markdown(report, options.top), end="")
    print(f"\nwrote {options.output}: {REPORT}, {PAGE}, {SUSPECTS}/")


# Pictures.


def draw_suspects(
    stream: Dataset, report: AuditReport, limit: int | None, top: int
) -> list[tuple[Suspect, UintImage]]:
    """The first suspects, masks and missing objects each, with their pictures; photo by photo.

    What cannot be drawn any more is left out.
    """
    from anymask.evaluation.audit_report import draw_suspect

    masks = [suspect for suspect in report.suspects if suspect.mask is not None]
    missing = [suspect for suspect in report.suspects if suspect.mask is None]
    wanted: dict[str, list[Suspect]] = {}
    for suspect in (*masks[:top], *missing[:top]):
        wanted.setdefault(report.photos[suspect.photo].file_name, []).append(suspect)
    drawn = []
    for image in islice(stream, limit):
        for suspect in wanted.get(image.file_name, ()):
            try:
                drawn.append((suspect, draw_suspect(open_picture(stream, image), suspect)))
            except (AnymaskError, OSError):
                continue
    return sorted(drawn, key=lambda pair: pair[0].number)


def open_picture(stream: Dataset, image: AnnotatedImage) -> UintImage:  # (H, W, 3)
    """The pixels of a picture. Raises DataError where they have another size than the masks."""
    return replace(image, source=stream.pixels(image)).image()


def write_pictures(
    folder: Path, report: AuditReport, pictures: list[tuple[Suspect, UintImage]]
) -> None:
    """A picture a suspect, called by its number, and one sheet of all; older ones are removed."""
    from anymask.evaluation.pages import jpeg_bytes
    from anymask.masks import contact_sheet

    names = {f"{suspect.number:04d}.jpg" for suspect, _ in pictures}
    for suspect, picture in pictures:
        write_whole(folder / SUSPECTS / f"{suspect.number:04d}.jpg", jpeg_bytes(picture))
    for path in (folder / SUSPECTS).glob("[0-9]*.jpg"):
        if path.name not in names:
            path.unlink()
    if pictures:
        cells = [(picture, sheet_title(report, suspect)) for suspect, picture in pictures]
        write_whole(folder / SHEET, jpeg_bytes(contact_sheet(cells, columns=SHEET_COLUMNS)))


def sheet_title(report: AuditReport, suspect: Suspect) -> str:
    """A suspect in a line."""
    what = suspect.label or report.photos[suspect.photo].file_name
    grade = "missing" if suspect.grade is None else f"{suspect.grade:.2f}"
    return f"{suspect.number}. {what}: {grade}"


# Better masks.


def write_proposals(
    options: AuditOptions, folder: Path, stream: Dataset, report: AuditReport
) -> None:
    """The data set with the accepted proposals in their place, and where each comes from.

    Raises InputError for numbers that no suspect has.
    """
    from anymask.evaluation.audit_report import suspect_to_json
    from anymask.evaluation.label_errors import apply_proposals
    from anymask.formats import FORMATS, find_format, write_annotations

    changing = [suspect for suspect in report.suspects if suspect.action != "keep"]
    if options.accept is not None:
        unknown = sorted(options.accept - {suspect.number for suspect in changing})
        if unknown:
            raise InputError(
                f"there is no proposal for suspect {unknown[0]}; {REPORT} lists the suspects"
            )
        changing = [suspect for suspect in changing if suspect.number in options.accept]
    by_photo: dict[str, list[Suspect]] = {}
    for suspect in changing:
        by_photo.setdefault(report.photos[suspect.photo].file_name, []).append(suspect)
    images = [
        apply_proposals(image, by_photo.get(image.file_name, ()))
        for image in islice(stream, options.limit)
    ]
    form = options.to or (stream.form if stream.form in FORMATS else "coco")
    target = folder / (ANNOTATIONS + find_format(form).ending)
    lost = write_annotations(images, target, form)
    rows = [suspect_to_json(report, suspect) for suspect in changing]
    about = {"data": str(stream.source), "form": form, **asdict(report.header), "proposals": rows}
    write_json(folder / PROVENANCE, about)
    for line in lost.lines():
        print(line)
    print(f"wrote {target}: {len(rows)} proposals in their place, {PROVENANCE} says where from\n")
