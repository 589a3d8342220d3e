"""`anymask audit`: grade the masks of a data set, show the suspects, propose better ones."""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.base import AnymaskError, DataError, InputError, follow, json_bytes
from anymask.cli import add_model_options, new_folder, read_count, read_model
from anymask.evaluation.audit_outputs import open_picture, write_outputs
from anymask.models.rules import DEFAULT_MODEL

if TYPE_CHECKING:
    from anymask.evaluation.audit_grading import Grader
    from anymask.evaluation.audit_report import AuditReport
    from anymask.formats import AnnotatedImage, Stream

SUMMARY = "grade the masks of a data set against a model, and propose better ones"
PHOTOS = "photos.jsonl"  # what was found so far


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add = parser.add_argument
    # fmt: off
    add("sources", metavar="DATASET", nargs="+", type=Path,
        help="a file or folder of annotations in any format or layout of `anymask convert`")
    add("-o", "--output", metavar="DIR", type=new_folder,
        help="where grades, pictures and a page go; the same command goes on where it stopped")
    add("--json", metavar="FILE", type=Path, help="also write audit.json there")
    add("--from", dest="origin", metavar="FORMAT", help="the format; recognised when left out")
    add("--split", metavar="NAME", help="of a published data set, such as val")
    add("--images", metavar="DIR", type=Path, help="where the pictures lie")
    add("--limit", metavar="N", type=read_count, help="pictures at most (default: all)")
    add("--below", metavar="GRADE", type=_share, default=0.5,
        help="masks with a lower grade are suspects (default: 0.5)")
    add("--top", metavar="N", type=read_count, default=20,
        help="suspects in the table and as pictures, masks and missing objects each (default: 20)")
    add("--points-per-side", metavar="N", type=partial(read_count, least=0), default=12,
        help="clicks along each side of the grid that looks for objects without a mask; 0: do not "
        "look (default: 12)")
    add = parser.add_argument_group("better masks").add_argument
    add("--proposals", metavar="DIR", type=new_folder,
        help="write the data set with the proposals in their place there, and where each is from")
    add("--to", metavar="FORMAT", help="of --proposals (default: as it was read, or coco)")
    add("--accept", metavar="NUMBERS", type=_numbers,
        help="only these suspects' proposals, for example 1,4-9 (default: all)")
    add = parser.add_argument_group("the grade").add_argument
    add("--grades", metavar="FILE", type=Path,
        help=f"a file of grades (default: what was fitted for {DEFAULT_MODEL})")
    # fmt: on
    add_model_options(parser)


def run(args: argparse.Namespace) -> None:
    """Audit one data set."""
    check_options(args)
    from anymask.evaluation.audit_grading import load_grader
    from anymask.formats import open_stream

    stream = open_stream(args.sources[0], args.origin, args.images, args.split)
    check_places(args, stream)
    grader = load_grader(args.grades)
    report, failed = audit(args, stream, grader)
    write_outputs(args, stream, report)
    if failed:
        from anymask.masks import counted

        raise DataError(
            f"{counted(failed, 'picture')} could not be audited, see above; mend or remove what is "
            "named there and run the same command again, what is done is kept"
        )


def check_options(args: argparse.Namespace) -> None:
    """Refuse what does not go together, before any work. Raises InputError."""
    if len(args.sources) > 1:
        raise InputError(f"one data set is audited at a time, got {len(args.sources)}; name one")
    if args.output is None:
        raise InputError("an audit needs a folder for what it finds; give -o DIR")
    if (args.to or args.accept) and not args.proposals:
        raise InputError("--to and --accept are about proposals; give --proposals DIR")
    if args.to:
        from anymask.formats import find_format

        find_format(args.to)


def check_places(args: argparse.Namespace, stream: Stream) -> None:
    """Refuse results where they would be read as annotations from then on. Raises InputError."""
    from anymask.formats import A_FILE_A_PICTURE

    if A_FILE_A_PICTURE.get(stream.form) != ".json" or not stream.source.is_dir():
        return
    for option, folder in (("-o", args.output), ("--proposals", args.proposals)):
        if folder is not None and folder.resolve().is_relative_to(stream.source.resolve()):
            raise InputError(
                f"{option} {folder} lies in {stream.source}, where every .json is taken for "
                "annotations; choose a folder beside it"
            )


def audit(args: argparse.Namespace, stream: Stream, grader: Grader) -> tuple[AuditReport, int]:
    """Examine what is not examined yet, and judge; how many pictures failed."""
    from anymask.evaluation.audit import count_sizes, examine_photo, hash_masks
    from anymask.evaluation.audit_grading import grader_to_json
    from anymask.evaluation.audit_report import AuditReport
    from anymask.evaluation.audit_results import AuditFile, AuditHeader
    from anymask.evaluation.label_errors import grade_masks, list_suspects

    sizes = count_sizes(islice(stream, args.limit))
    print("\n".join(stream.unread_lines()), end="\n" if stream.unread else "")
    if not sizes.masks:
        pictures = f"{sizes.images} pictures and not one mask"
        raise DataError(f"{stream.source}: wanted masks, the {stream.form} there has {pictures}")
    model = read_model(args).load()
    header = AuditHeader(
        model=model.name,
        weights=model.runtime.weights_hash,
        points_per_side=args.points_per_side,
        grader=f"{zlib.crc32(json_bytes(grader_to_json(grader))):08x}",
    )
    file = AuditFile(args.output / PHOTOS, header)

    def examine(image: AnnotatedImage) -> None:
        if file.known.get(image.file_name) != hash_masks(image):
            pixels = open_picture(stream, image)
            file.add(examine_photo(model, grader, image, pixels, sizes, args.points_per_side))

    images = follow(islice(stream, args.limit), "photos", sizes.images)
    done, failed = work_through(images, examine)
    photos = [photo for photo in file.photos() if photo.file_name in done]
    photos.sort(key=lambda photo: done[photo.file_name])
    verdicts = grade_masks(grader, photos, args.below)
    return AuditReport(
        name=stream.name,
        header=header,
        below=args.below,
        photos=photos,
        verdicts=verdicts,
        suspects=list_suspects(photos, verdicts, args.below),
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


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if 0 <= value <= 1:
        return value
    raise argparse.ArgumentTypeError(f"wanted a number from 0 to 1, got {text!r}")


def _numbers(text: str) -> frozenset[int]:
    """1,4-9 -> 1, 4, 5, 6, 7, 8, 9."""
    found: set[int] = set()
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        if not low.isdigit() or (dash and not high.isdigit()):
            raise argparse.ArgumentTypeError(f"wanted numbers like 1,4-9, got {text!r}")
        found.update(range(int(low), int(high or low) + 1))
    return frozenset(found)
