"""`anymask segment`: click or box an object in a photo and write its mask."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from anymask.cli.options import (
    add_model_options,
    add_options,
    read_model,
    read_options,
    refuse_old_name,
)
from anymask.cli.outputs import (
    FoundMask,
    Kind,
    check_outputs,
    output_kind,
    shows_photo,
    write_found,
)
from anymask.cli.pictures import add_picture_options, read_pictures
from anymask.primitives.errors import PromptError

if TYPE_CHECKING:
    from anymask.predictors.image import Model
    from anymask.predictors.settings import Retry, SegmentSettingsDict
    from anymask.primitives.candidates import Candidates
    from anymask.primitives.prompts import Prompt
    from anymask.primitives.types import UintImage

SUMMARY = "click or box an object in a photo and write its mask"
CLICK_SETTINGS = ("granularity", "max_hole_area", "min_island_area")
RENAMED = {"--fill-holes": "--max-hole-area", "--drop-islands": "--min-island-area"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("photo", metavar="PHOTO", type=Path)
    prompt = parser.add_argument_group("the object (pixels of the upright photo)")
    prompt.add_argument(
        "--point", metavar="X,Y", dest="clicks", action="append", type=_positive,
        help="a click on it; may be given several times",
    )  # fmt: skip
    prompt.add_argument(
        "--negative", metavar="X,Y", dest="clicks", action="append", type=_negative,
        help="a click beside it; may be given several times",
    )  # fmt: skip
    prompt.add_argument("--box", metavar="X0,Y0,X1,Y1", help="a box around it")
    prompt.add_argument(
        "--mask", metavar="FILE", type=Path,
        help="a mask to start from: a picture, a cut-out or a .npy file; alone, it is refined",
    )  # fmt: skip
    answer = parser.add_argument_group("the answer")
    answer.add_argument(
        "-o", "--output", metavar="FILE", type=Path, action="append", dest="outputs",
        help=".png cut-out (.overlay.png, .mask.png: see below; .jpg, .webp, .tif, ... alike), "
        ".json SA-1B record, .svg or .geojson outline, .npy array; may be given several times "
        "(default: PHOTO.cut.png in the working folder)",
    )  # fmt: skip
    png = answer.add_mutually_exclusive_group()
    png.add_argument(
        "--overlay", action="store_const", const="overlay", dest="png", default="cutout",
        help="a .png shows the photo with the mask drawn on it",
    )  # fmt: skip
    png.add_argument(
        "--mask-png", action="store_const", const="mask", dest="png",
        help="a .png is the mask, white on black",
    )  # fmt: skip
    add_answer_options(answer)
    for old, new in RENAMED.items():
        refuse_old_name(parser, old, new)
    add_picture_options(parser)
    add_model_options(parser)


def add_answer_options(group: Any) -> None:
    """How the mask is made."""
    from anymask.predictors.settings import SegmentSettings

    group.add_argument(
        "--zoom", action="store_true", help="look at small objects again from closer by"
    )
    group.add_argument(
        "--single", action="store_true", help="ask for one mask, not for the best of three"
    )
    add_options(group, SegmentSettings, CLICK_SETTINGS)
    group.add_argument(
        "--retry", metavar="SECONDS", type=float, default=0,
        help="ask again for a better mask, so long at most (default: 0, never)",
    )  # fmt: skip


Click = tuple[str, int]


def _positive(text: str) -> Click:
    return (text, 1)


def _negative(text: str) -> Click:
    return (text, 0)


def run(args: argparse.Namespace) -> None:
    """Answer the prompt and write every output. Raises AnymaskError for what the user can mend."""
    outputs = args.outputs or [Path(f"{args.photo.stem}.cut.png")]
    kinds = [output_kind(path, args.png) for path in outputs]
    check_outputs(outputs, args.photo)
    prompt = read_prompt(args)
    settings = read_settings(args)
    image = read_pictures(args).load(args.photo)
    answer = answer_prompt(read_model(args).load(), image, prompt, settings)
    found = _found(args.photo, image if any(map(shows_photo, kinds)) else None, answer, prompt)
    del image, answer
    report(found)
    _write(outputs, kinds, found)


def read_prompt(args: argparse.Namespace) -> Prompt:
    """The prompt of the command line. Raises PromptError, ImageError for the mask file."""
    from anymask.data.images import load_mask
    from anymask.primitives.prompts import Prompt

    clicks = args.clicks or []
    if not clicks and args.box is None and args.mask is None:
        raise PromptError(
            "nothing says which object is meant; give --point X,Y, --box X0,Y0,X1,Y1 or --mask FILE"
        )
    points = [
        numbers(text, "--point X,Y" if label else "--negative X,Y", 2) for text, label in clicks
    ]
    return Prompt.of(
        points=points or None,
        labels=[label for _, label in clicks] or None,
        box=None if args.box is None else numbers(args.box, "--box X0,Y0,X1,Y1", 4),
        mask=None if args.mask is None else load_mask(args.mask),
    )


def numbers(text: str, option: str, count: int) -> list[float]:
    """Numbers between commas. Raises PromptError."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count:
        raise PromptError(
            f"wanted {option} as {count} numbers with commas between them, got {text!r}"
        )
    return values


def read_retry(args: argparse.Namespace) -> Retry | None:
    """How long to ask again; None for not at all. Raises InputError."""
    from anymask.predictors.settings import Retry

    retry = Retry(seconds=args.retry)
    return retry if args.retry else None


def read_settings(args: argparse.Namespace) -> SegmentSettingsDict:
    """How the prompt is answered. Raises InputError, before anything is opened."""
    from anymask.predictors.settings import SegmentSettings, SegmentSettingsDict

    chosen = {"multimask": False if args.single else "auto", "retry": read_retry(args)}
    settings = cast(SegmentSettingsDict, read_options(args, SegmentSettings) | chosen)
    SegmentSettings(**settings)
    return settings


def answer_prompt(
    model: Model, image: UintImage, prompt: Prompt, settings: SegmentSettingsDict
) -> Candidates:
    """One prompt's answer; a mask alone is refined."""
    if prompt.mask is not None and prompt.points is None and prompt.box is None:
        return model.refine(image, prompt.mask, **settings)
    return model.segment(image, prompts=[prompt], **settings)[0]


def _found(photo: Path, image: UintImage | None, answer: Candidates, prompt: Prompt) -> FoundMask:
    """The best mask with its numbers; the others are never made."""
    from dataclasses import replace

    from anymask.primitives.masks import stability_score
    from anymask.primitives.records import STABILITY_OFFSET, record_from_rle

    first = answer.first
    stability = stability_score(first.logits, first.threshold, STABILITY_OFFSET)
    record = record_from_rle(first.rle(), quality=first.quality, stability=float(stability))
    if prompt.points is not None:
        record = replace(record, points=tuple((x, y) for x, y in prompt.points.tolist()))
    return FoundMask(photo, image, record.mask, record, prompt)


def report(found: FoundMask) -> None:
    """The mask in one line, and each click that it does not obey in one more."""
    from anymask.primitives.clicks import violated_points

    record = found.record
    if not record.area:
        print("the mask is empty; try another click, or a box")
    else:
        share = 100 * record.area / found.mask.size
        box = ",".join(f"{value:g}" for value in record.box_xyxy)
        print(f"quality {record.quality:.2f}, {record.area} pixels ({share:.2g} %), box {box}")
    asked = found.prompt
    if asked is None or asked.points is None or asked.labels is None:
        return
    points, labels = asked.points, asked.labels
    for index in violated_points(found.mask, points, labels):
        x, y = points[index].tolist()
        side = "outside" if labels[index] else "inside"
        print(f"the click at {x:g},{y:g} is {side} the mask")


def _write(outputs: list[Path], kinds: list[Kind], found: FoundMask) -> None:
    for path, kind in zip(outputs, kinds, strict=True):
        write_found(path, kind, found)
        print(f"wrote {path}")
