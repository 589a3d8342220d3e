"""`anymask convert`: annotations from one format into another, and what that lost."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymask.cli.options import add_options, read_options
from anymask.primitives.errors import DataError, InputError
from anymask.primitives.previews import counted
from anymask.primitives.storage import write_json

if TYPE_CHECKING:
    from anymask.data.annotations import AnnotatedImage, LossReport
    from anymask.data.documents import OutFile
    from anymask.data.outlines import Policy

SUMMARY = "turn annotations from one format into another"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    from anymask.data.formats import FORMATS, WRITTEN, format_name
    from anymask.data.layouts import LAYOUTS
    from anymask.data.outlines import Policy

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = table()
    parser.add_argument("source", metavar="IN", type=Path, help="a file or a folder")
    parser.add_argument("target", metavar="OUT", type=Path, help="a file or a folder")
    parser.add_argument(
        "--to", metavar="FORMAT", choices=WRITTEN, type=format_name,
        help="of OUT (default: by its suffix, .json COCO, .xml CVAT, .png, .svg, .geojson, .csv; "
        "or by the folder's name, such as yolo/)",
    )  # fmt: skip
    parser.add_argument(
        "--from", dest="origin", metavar="FORMAT", choices=[*FORMATS, *LAYOUTS], type=format_name,
        help="of IN; recognised when left out",
    )  # fmt: skip
    parser.add_argument("--split", metavar="NAME", help="of a published data set, such as val")
    parser.add_argument(
        "--images", metavar="DIR", type=Path,
        help="where the pictures lie, for formats that do not say their sizes or names",
    )  # fmt: skip
    add_options(parser, Policy)
    parser.add_argument(
        "--copy-images", action="store_true",
        help="with --to set or yolo: put the pictures into its images/, so that it can be measured "
        "or trained on",
    )  # fmt: skip
    parser.add_argument("--strict", action="store_true", help="write nothing if anything is lost")
    parser.add_argument("--json", metavar="FILE", type=Path, help="every loss, for a program")


def table() -> str:
    """All formats and layouts with a line each."""
    from anymask.data.formats import WRITTEN
    from anymask.data.layouts import LAYOUTS

    width = max(map(len, [*WRITTEN, *LAYOUTS]))
    rows = [f"  {name:<{width}}  {chosen.about}" for name, chosen in WRITTEN.items()]
    layouts = [f"  {name:<{width}}  {chosen.about}" for name, chosen in LAYOUTS.items()]
    return "\n".join(["formats:", *rows, "", "published data sets, of IN only:", *layouts])


def run(args: argparse.Namespace) -> None:
    """Convert and report. Raises DataError when something is lost and `--strict` is given."""
    from anymask.data.annotations import LossReport
    from anymask.data.documents import write_files
    from anymask.data.formats import (
        encode_annotations,
        format_of_target,
        place_of,
        read_annotations,
        recognise,
    )
    from anymask.data.outlines import Policy

    if args.target.exists() and args.source.exists() and args.target.samefile(args.source):
        raise InputError(f"the output {str(args.target)!r} is the input; choose another name")
    args.to = args.to or format_of_target(args.target)
    if args.copy_images and args.to not in ("set", "yolo"):
        raise InputError(f"--copy-images goes with --to set or yolo, got {args.to}; leave it out")
    policy = Policy(**read_options(args, Policy))
    args.source = place_of(args.source)
    origin = args.origin or recognise(args.source, args.split)
    images, lost = read_annotations(args.source, origin, args.images, args.split)
    if args.strict:
        refuse_loss(args, origin, images, LossReport(list(lost.losses)), policy)
    encoded = encode_annotations(images, args.target, args.to, lost, policy)
    files = write_files(_beside_input(encoded, args.source))
    if args.copy_images:
        files += write_files(copies(args, origin, images))
    tell(lost)
    write_report(args, origin, images, lost)
    masks = sum(len(image.masks) for image in images)
    kept = "nothing was lost" if not lost else "see above for what was lost"
    print(
        f"wrote {args.target}: {counted(len(images), 'picture')}, {counted(masks, 'mask')}, "
        f"{counted(files, 'file')}, "
        f"{origin} to {args.to}; {kept}"
    )


def _beside_input(files: Iterable[OutFile], source: Path) -> Iterator[OutFile]:
    """The files to write. Raises InputError for one that would be written over the input."""
    for path, data in files:
        if source.is_file() and path.exists() and path.samefile(source):
            raise InputError(f"{str(path)!r} would be written over the input; name another folder")
        yield path, data


def refuse_loss(
    args: argparse.Namespace,
    origin: str,
    images: list[AnnotatedImage],
    trial: LossReport,
    policy: Policy,
) -> None:
    """A first round for the report alone. Raises DataError when something would be lost."""
    from anymask.data.formats import encode_annotations

    for _ in encode_annotations(images, args.target, args.to, trial, policy):
        pass
    if trial:
        tell(trial)
        write_report(args, origin, images, trial)
        raise DataError(
            f"{sum(trial.counts().values())} things would be lost, see above; nothing was "
            "written; choose another format, or leave out --strict"
        )


def copies(
    args: argparse.Namespace, origin: str, images: list[AnnotatedImage]
) -> Iterator[tuple[Path, bytes]]:
    """The pictures, where a set has them.

    Raises DataError for one that is not there, or of another size than its masks.
    """
    from anymask.data.sets import picture_name
    from anymask.data.streams import open_stream

    stream = open_stream(args.source, origin, args.images)
    for image in images:
        stream.check_size(image)
        yield args.target / picture_name(image.file_name), stream.content(image)


def tell(report: LossReport) -> None:
    """A line for each kind of loss."""
    for line in report.lines():
        print(line)


def write_report(
    args: argparse.Namespace, origin: str, images: list[AnnotatedImage], report: LossReport
) -> None:
    """The same for a program, where it was asked for."""

    if args.json is None:
        return
    document: dict[str, Any] = {
        "from": origin,
        "to": args.to,
        "images": len(images),
        "masks": sum(len(image.masks) for image in images),
    }
    write_json(args.json, document | report.to_json())
