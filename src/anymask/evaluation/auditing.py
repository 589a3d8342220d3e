"""An audit: a data set and a model in, grades of its masks, suspects and better masks out."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Collection, Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from anymask.base import AnymaskError, DataError, InputError, follow, json_bytes
from anymask.evaluation.audit_outputs import AuditOptions, open_picture, write_outputs

if TYPE_CHECKING:
    from anymask.evaluation.audit_grading import Grader
    from anymask.evaluation.audit_report import AuditReport
    from anymask.formats import AnnotatedImage, Dataset
    from anymask.jobs import ModelChoice
    from anymask.segment import Model

PHOTOS = "photos.jsonl"  # what was found so far


class AuditSettings(TypedDict, total=False):
    """What `audit` takes besides.

    form             the format of `data` (default: recognised)
    split            of a published data set, such as "val"
    images           the folder of the pictures
    limit            pictures at most
    below            masks with a lower grade, 0 to 1, are suspects
    top              suspects in the table and as pictures, masks and missing objects each
    points_per_side  clicks along each side of the grid that looks for objects without a mask; 0:
                     do not look
    proposals        a folder for the data set with the proposals in their place
    to               the format of `proposals` (default: as it was read, or coco)
    accept           numbers of the suspects whose proposals are taken (default: all)
    grades           a file of grades (default: what was fitted for the default model)
    json             a file for what audit.json says
    """

    form: str | None
    split: str | None
    images: str | Path | None
    limit: int | None
    below: float
    top: int
    points_per_side: int
    proposals: str | Path | None
    to: str | None
    accept: Collection[int] | None
    grades: str | Path | None
    json: str | Path | None


def audit(
    data: str | Path,
    model: Model | ModelChoice | str | None = None,
    *,
    out: str | Path,
    **settings: Unpack[AuditSettings],
) -> AuditReport:
    """Grade the masks of a data set against a model, and propose better ones.

    The same call goes on where it stopped. It prints the tables that it writes.

    data             a file or folder of annotations that `anymask.read` understands
    model            a loaded model, or a name of `anymask models list` (default: as `load`)
    out              folder for audit.json, audit.html and pictures of suspects

    Raises InputError for options that do not go together, DataError for broken annotations and,
    at the end, where pictures could not be audited; ModelError, WeightsError.
    """
    from anymask.evaluation.audit_grading import load_grader
    from anymask.formats import find_format, read
    from anymask.jobs import ModelChoice
    from anymask.masks import counted
    from anymask.segment import Model

    given: dict[str, Any] = dict(settings)
    form, split, images, grades = (
        given.pop(name, None) for name in ("form", "split", "images", "grades")
    )
    for name in ("proposals", "json"):
        given[name] = None if given.get(name) is None else Path(given[name])
    if given.get("accept") is not None:
        given["accept"] = frozenset(given["accept"])
    options = AuditOptions(output=Path(out), **given)
    if (options.to or options.accept) and options.proposals is None:
        raise InputError("--to and --accept are about proposals; give --proposals DIR")
    if options.to:
        find_format(options.to)
    if not 0 <= options.below <= 1:
        raise InputError(f"below must be from 0 to 1, got {options.below:g}")
    stream = read(Path(data), form, None if images is None else Path(images), split)
    check_places(options, stream)
    grader = load_grader(None if grades is None else Path(grades))

    def opened() -> Model:
        if isinstance(model, Model):
            return model
        named = ModelChoice() if model is None else model
        return (ModelChoice(named) if isinstance(named, str) else named).load()

    report, failed = _examine(options, stream, grader, opened)
    write_outputs(options, stream, report)
    if failed:
        raise DataError(
            f"{counted(failed, 'picture')} could not be audited, see above; mend or remove what is "
            "named there and run the same command again, what is done is kept"
        )
    return report


def check_places(options: AuditOptions, stream: Dataset) -> None:
    """Refuse results where they would be read as annotations from then on. Raises InputError."""
    from anymask.formats import A_FILE_A_PICTURE

    if A_FILE_A_PICTURE.get(stream.form) != ".json" or not stream.source.is_dir():
        return
    for option, folder in (("-o", options.output), ("--proposals", options.proposals)):
        if folder is not None and folder.resolve().is_relative_to(stream.source.resolve()):
            raise InputError(
                f"{option} {folder} lies in {stream.source}, where every .json is taken for "
                "annotations; choose a folder beside it"
            )


def _examine(
    options: AuditOptions, stream: Dataset, grader: Grader, opened: Callable[[], Model]
) -> tuple[AuditReport, int]:
    """Examine what is not examined yet, and judge; how many pictures failed."""
    from anymask.evaluation.audit import count_sizes, examine_photo, hash_masks
    from anymask.evaluation.audit_grading import grader_to_json
    from anymask.evaluation.audit_report import AuditReport
    from anymask.evaluation.audit_results import AuditFile, AuditHeader
    from anymask.evaluation.label_errors import grade_masks, list_suspects

    sizes = count_sizes(islice(stream, options.limit))
    print("\n".join(stream.unread_lines()), end="\n" if stream.unread else "")
    if not sizes.masks:
        pictures = f"{sizes.images} pictures and not one mask"
        raise DataError(f"{stream.source}: wanted masks, the {stream.form} there has {pictures}")
    model = opened()
    header = AuditHeader(
        model=model.name,
        weights=model.runtime.weights_hash,
        points_per_side=options.points_per_side,
        grader=f"{zlib.crc32(json_bytes(grader_to_json(grader))):08x}",
    )
    file = AuditFile(options.output / PHOTOS, header)

    def examine(image: AnnotatedImage) -> None:
        if file.known.get(image.file_name) != hash_masks(image):
            pixels = open_picture(stream, image)
            file.add(examine_photo(model, grader, image, pixels, sizes, options.points_per_side))

    images = follow(islice(stream, options.limit), "photos", sizes.images)
    done, failed = work_through(images, examine)
    photos = [photo for photo in file.photos() if photo.file_name in done]
    photos.sort(key=lambda photo: done[photo.file_name])
    verdicts = grade_masks(grader, photos, options.below)
    return AuditReport(
        name=stream.name,
        header=header,
        below=options.below,
        photos=photos,
        verdicts=verdicts,
        suspects=list_suspects(photos, verdicts, options.below),
    ), failed


def work_through(
    images: Iterable[AnnotatedImage], work: Callable[[AnnotatedImage], None]
) -> tuple[dict[str, int], int]:
    """Do each picture; a failure is told and the rest goes on. The done ones' places; failures."""
    done: dict[str, int] = {}
    failed = 0
    for image in images:
        try:
            if image.file_name in done:
                raise DataError("another picture of the set is called so, too; rename one of them")
            work(image)
            done[image.file_name] = len(done)
        except (AnymaskError, OSError) as error:
            failed += 1
            clear = "\r\x1b[K" if sys.stderr.isatty() else ""
            print(f"{clear}anymask: {image.file_name}: {error}", file=sys.stderr)
    return done, failed
