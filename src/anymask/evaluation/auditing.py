"""Implementation of `anymask.audit`: grades, suspects and proposed masks of a dataset."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from anymask.base import (
    AnymaskError,
    DataError,
    InputError,
    UintImage,
    as_settings,
    claimed,
    follow,
    json_bytes,
    write_json,
    write_whole,
)
from anymask.evaluation.audit_grading import Grader, grader_to_json, load_grader
from anymask.evaluation.audit_images import (
    AuditFile,
    AuditHeader,
    count_sizes,
    examine_image,
    hash_masks,
)
from anymask.evaluation.audit_options import AuditOptions
from anymask.evaluation.audit_report import AuditResult, draw_suspect, report_audit, suspect_to_json
from anymask.evaluation.label_errors import Suspect, apply_proposals, grade_masks, list_suspects
from anymask.evaluation.page import jpeg_bytes
from anymask.evaluation.report import Report
from anymask.formats import (
    AnnotatedImage,
    Dataset,
    all_formats,
    find_format,
    read,
    write_annotations,
)
from anymask.jobs import ModelSettings, model_settings
from anymask.masks import contact_sheet, counted
from anymask.models.rules import DEFAULT_VIDEO_MODEL
from anymask.segment import Model

if TYPE_CHECKING:
    from anymask.keywords import AuditSettings

AUDIT_LOG = "photos.jsonl"  # intermediate results
AUDIT_JSON, AUDIT_HTML, SHEET, SUSPECTS = "audit.json", "audit.html", "suspects.jpg", "suspects"
ANNOTATIONS, PROVENANCE = "annotations", "proposals.json"
SHEET_COLUMNS = 3


class NotAudited(DataError):
    """Some images could not be audited; `report` covers the others."""

    def __init__(self, text: str, report: Report) -> None:
        super().__init__(text)
        self.report = report


def audit(
    data: str | Path,
    model: Model | ModelSettings | str | None = None,
    *,
    out: str | Path,
    **settings: Unpack[AuditSettings],
) -> Report:
    """Grade the masks of a dataset against a model, and propose better ones.

    The same call resumes an interrupted run.

    Args:
        data: File or folder of annotations that `anymask.read` reads.
        model: A loaded model, or a name from `anymask models list`. Default: as for `anymask.load`.
        out: Output folder for audit.json, audit.html and images of the suspicious masks.

    Raises:
        InputError: The options cannot be combined.
        DataError: The annotations are invalid.
        NotAudited: Some images could not be audited. Raised after all other images.
        ModelError, WeightsError: The model cannot be loaded.
    """
    options, folder = as_settings(AuditOptions, settings), Path(out)
    if options.to:
        find_format(options.to)
    stream = read(
        Path(data), options.format, options.images, options.split, on_bad=options.on_bad,
        crowd=options.crowd, mask_values=options.mask_values,
    )  # fmt: skip
    stream = stream.with_sizes_checked()
    if stream.suffix == ".json" and stream.source.is_dir():
        for option, path in (("-o", folder), ("--proposals", options.proposals)):
            if path is not None and path.resolve().is_relative_to(stream.source.resolve()):
                raise InputError(
                    f"The {option} folder {path} is inside {stream.source}, where every .json "
                    "file is read as annotations. Choose a folder outside of the dataset."
                )
    grader = load_grader(options.grades)

    with claimed(folder):
        result, failed = _examine(stream, folder, options, grader, model)
        notes = list(stream.unread_lines())
        if options.proposals:
            notes += _write_proposals(options.proposals, stream, options, result)
        images = _draw_suspects(stream, result, options.limit, options.top)
        _write_images(folder, result, images)
        notes.append(f"wrote {folder}: {AUDIT_JSON}, {AUDIT_HTML}, {SUSPECTS}/")
        report = report_audit(result, options.top, images, notes)
        report.save(folder / AUDIT_HTML)
        report.save(folder / AUDIT_JSON)
        if failed:
            raise NotAudited(
                f"{counted(failed, 'image')} could not be audited (see the messages above). Fix or "
                "remove these images and run the same command again. Finished images are kept.",
                report,
            )
        return report


def _examine(
    stream: Dataset,
    folder: Path,
    options: AuditOptions,
    grader: Grader,
    model: Model | ModelSettings | str | None,
) -> tuple[AuditResult, int]:
    """Examine the remaining images and grade all masks; return the number of failed images."""
    sizes = count_sizes(islice(stream, options.limit))
    if not sizes.masks:
        raise DataError(
            f"{stream.source} contains no masks: it was read as {stream.format} and has "
            f"{counted(sizes.images, 'image')} and no masks. Pass a dataset with instance masks."
        )
    if not isinstance(model, Model):
        model = model_settings(model or DEFAULT_VIDEO_MODEL).load()
    header = AuditHeader(
        model=model.name,
        weights=model.runtime.weights_hash,
        grid=options.grid,
        grader=f"{zlib.crc32(json_bytes(grader_to_json(grader))):08x}",
    )
    file = AuditFile(folder / AUDIT_LOG, header)

    done: dict[str, None] = {}  # in order
    failed = 0
    for image in follow(islice(stream, options.limit), "images", sizes.images):
        name = image.file_name
        try:
            if name in done:
                raise DataError(
                    "Another image of the dataset has the same name. Rename one of the images."
                )
            if name not in file.images or file.images[name].key != hash_masks(image):
                pixels = _open_image(stream, image)
                file.add(examine_image(model, grader, image, pixels, sizes, options.grid))
            done[name] = None
        except (AnymaskError, OSError) as error:
            failed += 1
            clear = "\r\x1b[K" if sys.stderr.isatty() else ""
            print(f"{clear}anymask: {name}: {error}", file=sys.stderr)
    images = [file.images[name] for name in done]
    graded = grade_masks(grader, images, options.below)
    return AuditResult(
        name=stream.name, header=header, below=options.below, images=images, graded=graded,
        suspects=list_suspects(images, graded, options.below),
    ), failed  # fmt: skip


def _open_image(stream: Dataset, image: AnnotatedImage) -> UintImage:  # (H, W, 3)
    """Load the pixels of an image. Raises DataError if their size differs from the masks."""
    return replace(image, source=stream.pixels(image)).image()


def _draw_suspects(
    stream: Dataset, result: AuditResult, limit: int | None, top: int
) -> list[tuple[Suspect, UintImage]]:
    """Draw the first suspects and missing objects, in the order of their numbers.

    Images that can no longer be read are skipped.
    """
    masks = [suspect for suspect in result.suspects if suspect.mask is not None]
    missing = [suspect for suspect in result.suspects if suspect.mask is None]
    requested = _by_image(result, (*masks[:top], *missing[:top]))
    drawn = []
    for image in islice(stream, limit):
        for suspect in requested.get(image.file_name, ()):
            try:
                drawn.append((suspect, draw_suspect(_open_image(stream, image), suspect)))
            except (AnymaskError, OSError):
                continue
    return sorted(drawn, key=lambda pair: pair[0].number)


def _by_image(result: AuditResult, suspects: Iterable[Suspect]) -> dict[str, list[Suspect]]:
    groups: dict[str, list[Suspect]] = {}
    for suspect in suspects:
        groups.setdefault(result.image_of(suspect), []).append(suspect)
    return groups


def _write_images(
    folder: Path, result: AuditResult, images: Sequence[tuple[Suspect, UintImage]]
) -> None:
    """Write one image per suspect, named by number, and a contact sheet; delete older ones."""
    cells, current = [], set[Path]()
    for suspect, image in images:
        path = folder / SUSPECTS / f"{suspect.number:04d}.jpg"
        write_whole(path, jpeg_bytes(image))
        current.add(path)
        grade = "missing" if suspect.grade is None else f"{suspect.grade:.2f}"
        what = suspect.label or result.image_of(suspect)
        cells.append((image, f"{suspect.number}. {what}: {grade}"))
    for path in {*(folder / SUSPECTS).glob("[0-9]*.jpg")} - current:
        path.unlink()
    if cells:
        write_whole(folder / SHEET, jpeg_bytes(contact_sheet(cells, columns=SHEET_COLUMNS)))


def _write_proposals(
    folder: Path, stream: Dataset, options: AuditOptions, result: AuditResult
) -> list[str]:
    """Write the dataset with accepted proposals applied, and the origin of each.

    Returns lines to print. Raises InputError for unknown suspect numbers.
    """
    changing = [suspect for suspect in result.suspects if suspect.action != "keep"]
    if options.accept is not None:
        unknown = sorted({*options.accept} - {suspect.number for suspect in changing})
        if unknown:
            raise InputError(
                f"No proposal exists for suspect {unknown[0]}. {AUDIT_JSON} lists those with one."
            )
        changing = [suspect for suspect in changing if suspect.number in options.accept]
    by_image = _by_image(result, changing)
    images = [
        apply_proposals(image, by_image.get(image.file_name, ()))
        for image in islice(stream, options.limit)
    ]
    known = all_formats().get(stream.format)
    format = options.to or (stream.format if known is not None and known.writable else "coco")
    target = folder / (ANNOTATIONS + find_format(format).ending)
    lost = write_annotations(images, target, format)
    rows = [suspect_to_json(result, suspect) for suspect in changing]
    about = {"data": str(stream.source), "form": format, **asdict(result.header), "proposals": rows}
    write_json(folder / PROVENANCE, about)
    applied = f"with {len(rows)} proposals applied ({PROVENANCE} lists the origin of each)"
    return [*lost.lines(), f"wrote {target} {applied}"]
