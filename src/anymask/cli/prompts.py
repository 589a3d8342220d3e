"""Prompts on the command line: points, boxes and masks, one prompt for each object.

Points, scribbles, a box, a lasso and a mask belong to one object. `--next` starts another object,
and so does a second `--box`, `--lasso` or `--mask`; the points after it belong to the new object.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from anymask.base import InputError, PromptError
from anymask.cli.command import Argument, Group

if TYPE_CHECKING:
    from anymask.images import MaskValues
    from anymask.masks import Prompt

Kind = Literal["point", "negative", "box", "mask", "scribble", "lasso", "next", "values"]
Part = tuple[Kind, str]  # an option and its value as given
Place = Callable[[Kind, list[Any]], Any]  # converts the coordinates of an option

MAX_LINE_BYTES = 1_000_000  # maximum size of a file with a line

PROMPT_SYNTAX: dict[Kind, tuple[str, int]] = {
    "point": ("--point X,Y", 2),
    "negative": ("--negative X,Y", 2),
    "box": ("--box X0,Y0,X1,Y1", 4),
}
ABOUT_VALUES = (
    "how to interpret the image of --mask: labels (each pixel value is an object), binary (pixels "
    "of at least half of white are the object; labels are merged) or colors (each color is an "
    "object); auto detects it, and reports an error if the image is ambiguous"
)
ABOUT_LINE = "X,Y X,Y ... in quotes, or a text file with them"
SINGLE = ("box", "mask", "lasso")  # prompts of which an object has at most one


def _part(option: str, kind: Kind, metavar: str, text: str, rare: bool = False) -> Argument:
    """Return an option whose values keep their order among those of all prompt options."""
    return Argument(
        option, metavar=metavar, dest="parts", action="append", default=[],
        type=lambda value: (kind, value), help=text, rare=rare,
    )  # fmt: skip


# fmt: off
PROMPTS = Group(
    "prompts (in pixels of the image as displayed; separate numbers by commas or spaces)",
    (
        _part("--point", "point", "X,Y", "point on the object; repeatable"),
        _part("--negative", "negative", "X,Y", "point on the background; repeatable"),
        _part("--box", "box", "X0,Y0,X1,Y1",
              "box around the object; a second box starts another object"),
        _part("--mask", "mask", "FILE",
              "mask prompt: an image, a cut-out or a .npy file; without other prompts, the "
              "mask is refined; a second mask starts another object"),
        _part("--scribble", "scribble", "LINE", f"line along the object; {ABOUT_LINE}; repeatable",
              rare=True),
        _part("--lasso", "lasso", "LINE",
              f"line around the object; {ABOUT_LINE}; a second lasso starts another object",
              rare=True),
        Argument("--next", dest="parts", action="append_const", const=("next", ""), default=[],
            rare=True,
            help="start another object: the prompts that follow belong to it"),
        _part("--mask-values", "values", "{auto,labels,binary,colors}", ABOUT_VALUES,
              rare=True),
    ),
)
# fmt: on
# The help omits what `read_one_prompt` refuses.
ONE_PROMPT = Group(
    PROMPTS.title,
    tuple(
        replace(option, help=argparse.SUPPRESS)
        if option.names in ("--mask", "--next", "--mask-values")
        else option
        for option in PROMPTS.items
        if isinstance(option, Argument)
    ),
)  # fmt: skip


def read_prompts(parts: Sequence[Part], place: Place = lambda _, values: values) -> list[Prompt]:
    """Return one prompt for each object. Raises PromptError, or ImageError for a mask file.

    Args:
        parts: Options and their values, in order.
        place: Called before `Prompt` rounds the coordinates to float32. Default: no conversion.
    """
    values = _read_values([text for kind, text in parts if kind == "values"])
    return [_prompt(group, values, place) for group in parts_by_object(parts)]


def parts_by_object(parts: Sequence[Part]) -> list[list[Part]]:
    """Group the options by object. Raises PromptError if an object has none."""
    objects: list[list[Part]] = [[]]
    for kind, text in parts:
        if kind == "values":
            continue
        if kind == "next" or (kind in SINGLE and kind in [other for other, _ in objects[-1]]):
            objects.append([])
        if kind != "next":
            objects[-1].append((kind, text))
    if objects == [[]]:
        raise PromptError(
            "No prompt was passed. Add --point X,Y, --box X0,Y0,X1,Y1 or --mask FILE."
        )
    if [] in objects:
        raise PromptError(
            "--next separates the prompts of two objects. Pass points or boxes before and after it."
        )
    return objects


def read_one_prompt(args: argparse.Namespace) -> dict[str, Any]:
    """Return the points, box and lasso of one object; {} without prompts. Raises PromptError."""
    if not args.parts:
        return {}
    prompts = read_prompts(args.parts)
    if len(prompts) > 1 or prompts[0].mask is not None:
        raise InputError("A cut-out shows one object. For several or a mask, use anymask segment.")
    (one,) = prompts
    given = {"points": one.points, "point_labels": one.labels, "box": one.box, "lasso": one.lasso}
    return {name: value.tolist() for name, value in given.items() if value is not None}


def _read_values(given: Sequence[str]) -> MaskValues:
    """Return the last value of --mask-values. Raises InputError if one is unknown."""
    if not given:
        return "auto"
    from anymask.images import MaskValues

    known = get_args(MaskValues)
    if strange := [value for value in given if value not in known]:
        raise InputError(f"Unknown value {strange[0]!r} of --mask-values. Use {', '.join(known)}.")
    return cast("MaskValues", given[-1])


def _prompt(parts: Sequence[Part], values: MaskValues, place: Place) -> Prompt:
    from anymask.masks import Prompt, merged_prompts

    def read(kind: Kind, text: str) -> Any:
        if kind in ("scribble", "lasso"):
            return place(kind, read_line(text, f"--{kind} LINE"))
        return place(kind, numbers(text, *PROMPT_SYNTAX[kind]))

    clicks = [(kind, text) for kind, text in parts if kind in ("point", "negative")]
    named = {kind: text for kind, text in parts if kind in SINGLE}
    scribbles = [read(*part) for part in parts if part[0] == "scribble"]
    mask = None
    if "mask" in named:
        from anymask.images import load_mask

        mask = load_mask(Path(named["mask"]), values)
    fields: dict[str, Any] = {
        "points": [read(*part) for part in clicks] or None,
        "labels": [int(kind == "point") for kind, _ in clicks] or None,
        "box": read("box", named["box"]) if "box" in named else None,
        "mask": mask,
        "lasso": read("lasso", named["lasso"]) if "lasso" in named else None,
    }
    prompt = Prompt.of(**fields, scribble=scribbles[0] if scribbles else None)
    for line in scribbles[1:]:
        prompt = merged_prompts(prompt, Prompt.of(scribble=line))
    return prompt


def read_line(text: str, option: str) -> list[list[float]]:
    """Parse the points of a line: X,Y X,Y ... or a text file with them. Raises PromptError."""
    path = Path(text)
    is_file = len(text) < 200 and path.is_file()  # a longer text is a line
    try:
        if is_file:
            if path.stat().st_size > MAX_LINE_BYTES:
                raise ValueError
            text = path.read_text("utf-8").strip("[] \n").replace("[", " ").replace("]", " ")
        values = [float(part) for part in text.replace(",", " ").split()]
    except (OSError, ValueError):
        values = []
    if len(values) < 4 or len(values) % 2:
        raise PromptError(
            f"Invalid {option} {str(path)!r}. Expected points '100,80 120,90', or a file."
        )
    return [values[start : start + 2] for start in range(0, len(values), 2)]


def numbers(text: str, option: str, count: int) -> list[float]:
    """Parse `count` numbers separated by commas or spaces. Raises PromptError."""
    try:
        values = [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        values = []
    if len(values) != count:
        raise PromptError(
            f"Invalid {option} {text!r}. Expected {count} numbers separated by commas"
        )
    return values


def scaled_prompt_hint(prompt: Prompt, image_hw: tuple[int, int]) -> str | None:
    """Return a hint if coordinates look like fractions of the image size; else None."""
    import numpy as np

    clicks = np.zeros((0, 2)) if prompt.points is None else prompt.points
    corners = np.zeros((0, 2)) if prompt.box is None else prompt.box.reshape(2, 2)
    places = np.concatenate([clicks, corners])
    if not len(places) or places.max() > 1 or (places == places.round()).all():
        return None
    height, width = image_hw
    meant = " ".join(
        ",".join(f"{value:g}" for value in (part * (width, height)).round().ravel())
        for part in ([corners] if len(corners) else clicks)
    )
    return (
        "Points and boxes are in pixels, but all of the passed ones are within the "
        f"first pixel. If they are fractions of the image size, pass {meant}"
    )


# Prompts in videos.

TRACKING_PROMPTS = {
    "point": ("X,Y", "foreground point"),
    "negative": ("X,Y", "background point"),
    "box": ("X0,Y0,X1,Y1", "box around an object"),
    "mask": ("FILE", "mask of an object: an image (white on black) or a .npy file"),
    "scribble": ("LINE", f"line along an object; {ABOUT_LINE}"),
    "lasso": ("LINE", f"line around an object; {ABOUT_LINE}"),
}
TRACKED_PROMPTS = (
    *(
        Argument(
            f"--{name}", metavar=f"[PLACE]{shape}", action="append", default=[],
            help=f"{about}; repeatable", rare=name in ("scribble", "lasso"),
        )
        for name, (shape, about) in TRACKING_PROMPTS.items()
    ),
    Argument(
        "--mask-values", choices=("auto", "labels", "binary", "colors"), default="auto",
        help=ABOUT_VALUES, rare=True,
    ),
)  # fmt: skip


def read_tracked_prompts(
    args: argparse.Namespace, unit: str = "frame", known: str = "--from FILE"
) -> list[Prompt]:
    """Return the prompts with their frame and object, in order. Raises PromptError, ImageError.

    Args:
        unit: The command's word for a frame, for errors.
        known: Option that loads existing objects.
    """
    from anymask.masks import Prompt

    records: dict[tuple[int, int], dict[str, Any]] = {}
    for name, (shape, _) in TRACKING_PROMPTS.items():
        for text in getattr(args, name):
            (frame, number), rest = split_place(text, args.start or 0, f"--{name}", shape, unit)
            record = records.setdefault((frame, number), {"points": [], "labels": []})
            if name in ("point", "negative"):
                record["points"].append(numbers(rest, f"--{name} [PLACE]{shape}", 2))
                record["labels"].append(int(name == "point"))
            elif name == "scribble":
                drawn = Prompt.of(scribble=read_line(rest, "--scribble [PLACE]LINE"))
                assert drawn.points is not None
                record["points"] += drawn.points.tolist()
                record["labels"] += [1] * len(drawn.points)
            elif name in record:
                raise PromptError(
                    f"Only one --{name} per object is allowed, but object {number} on "
                    f"{unit} {frame} has two. Give the second object another number: "
                    f"--{name} {frame}:{number + 1}:..."
                )
            elif name == "box":
                record["box"] = numbers(rest, f"--box [PLACE]{shape}", 4)
            elif name == "lasso":
                record["lasso"] = read_line(rest, "--lasso [PLACE]LINE")
            else:
                record["mask"] = record["source"] = rest
    prompts = []
    for (frame, number), record in sorted(records.items(), key=lambda pair: pair[0]):
        if "mask" in record:
            from anymask.images import load_mask

            record["mask"] = load_mask(Path(record["mask"]), args.mask_values)
        prompts.append(Prompt(**record, frame=frame, object_id=number))
    ways = "--point X,Y, --box X0,Y0,X1,Y1 or --mask FILE"
    if args.known is not None or getattr(args, "everything", False):  # masks without prompts
        return prompts
    if not prompts:
        raise PromptError(f"No prompt was passed. Add {ways}, or {known}.")
    begun = {prompt.object_id for prompt in prompts if prompt.kinds - {"negative_point"}}
    for prompt in prompts:
        if prompt.object_id not in begun:
            raise PromptError(
                f"--negative requires an object to subtract from, but object {prompt.object_id} "
                f"has no prompt. Add {ways}."
            )
    return prompts


def split_place(
    text: str, first: int, option: str, shape: str, unit: str = "frame"
) -> tuple[tuple[int, int], str]:
    """Parse FRAME:OBJECT:REST or REST to (frame, object), rest.

    Raises PromptError for a single number, which could be the frame or the object.

    Args:
        first: Default frame.
        unit: The command's word for a frame.
    """
    head, colon, rest = text.partition(":")
    if not (colon and head.isdecimal()):
        return (first, 1), text
    number, colon, value = rest.partition(":")
    if not (colon and number.isdecimal()):
        raise PromptError(
            f"Ambiguous {option} {text!r}: {head} can be the {unit} or the object. Expected "
            f"{shape} or {unit.upper()}:OBJECT:{shape}. Write {head}:1:{rest} for object 1 on "
            f"{unit} {head}, or {first}:{head}:{rest} for object {head} on {unit} {first}"
        )
    return (int(head), int(number)), value
