"""Prompts on the command line: clicks, boxes and masks as words, one prompt an object.

Clicks, a box and a mask belong to one object. `--next` begins another one, and so does a second
`--box` or `--mask`; the clicks behind it are its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from anymask.base import PromptError

if TYPE_CHECKING:
    from anymask.masks import Prompt
    from anymask.track import FilePrompt

Kind = Literal["point", "negative", "box", "mask", "next"]
Part = tuple[Kind, str]  # an option and its value as it was typed

FORMS: dict[Kind, tuple[str, int]] = {
    "point": ("--point X,Y", 2),
    "negative": ("--negative X,Y", 2),
    "box": ("--box X0,Y0,X1,Y1", 4),
}


def add_prompt_options(parser: argparse.ArgumentParser) -> None:
    """Clicks, boxes and masks, kept in the order in which they are typed."""
    group = parser.add_argument_group(
        "the objects (pixels of the upright photo, with commas or spaces between the numbers)"
    )

    def add(option: str, kind: Kind, text: str, **how: Any) -> None:
        how |= {"dest": "parts", "action": "append", "default": []}
        if kind == "next":
            how |= {"action": "append_const", "const": (kind, "")}
        else:
            how["type"] = lambda text: (kind, text)
        group.add_argument(option, help=text, **how)

    add("--point", "point", "a click on it; may be given several times", metavar="X,Y")
    add("--negative", "negative", "a click beside it; may be given several times", metavar="X,Y")
    add("--box", "box", "a box around it; a second one is another object", metavar="X0,Y0,X1,Y1")
    add(
        "--mask", "mask",
        "a mask to start from: a picture, a cut-out or a .npy file; alone, it is refined; a second "
        "one is another object",
        metavar="FILE",
    )  # fmt: skip
    add("--next", "next", "what follows is another object")


def read_prompts(parts: Sequence[Part]) -> list[Prompt]:
    """One prompt for each object. Raises PromptError, ImageError for a mask's file."""
    objects: list[list[Part]] = [[]]
    for kind, text in parts:
        kinds = [other for other, _ in objects[-1]]
        if kind == "next" or (kind in ("box", "mask") and kind in kinds):
            objects.append([])
        if kind != "next":
            objects[-1].append((kind, text))
    if objects == [[]]:
        raise PromptError(
            "nothing says which object is meant; give --point X,Y, --box X0,Y0,X1,Y1 or --mask FILE"
        )
    if [] in objects:
        raise PromptError("--next stands between two objects; give clicks or boxes on both sides")
    return [_prompt(one) for one in objects]


def _prompt(parts: Sequence[Part]) -> Prompt:
    from anymask.images import load_mask
    from anymask.masks import Prompt

    clicks = [(kind, text) for kind, text in parts if kind in ("point", "negative")]
    named = {kind: text for kind, text in parts if kind in ("box", "mask")}
    if not named and all(kind == "negative" for kind, _ in clicks):
        raise PromptError(
            "--negative takes something away from an object, and nothing says from which; add "
            "--point X,Y, --box X0,Y0,X1,Y1 or --mask FILE"
        )
    return Prompt.of(
        points=[numbers(text, *FORMS[kind]) for kind, text in clicks] or None,
        labels=[int(kind == "point") for kind, _ in clicks] or None,
        box=numbers(named["box"], *FORMS["box"]) if "box" in named else None,
        mask=load_mask(Path(named["mask"])) if "mask" in named else None,
    )


def numbers(text: str, option: str, count: int) -> list[float]:
    """So many numbers between commas or spaces. Raises PromptError that names the option."""
    try:
        values = [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        values = []
    if len(values) != count:
        raise PromptError(
            f"wanted {option} as {count} numbers with commas between them, got {text!r}"
        )
    return values


def scaled_prompt_hint(prompt: Prompt, image_hw: tuple[int, int]) -> str | None:
    """What to say of numbers that look like parts of the photo's sides; None for others."""
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
        "points and boxes are in pixels, and these lie within the first one; if parts of the "
        f"photo's sides were meant, write {meant}"
    )


# In videos.

TRACKED = {
    "point": ("X,Y", "a click on an object"),
    "negative": ("X,Y", "a click beside it"),
    "box": ("X0,Y0,X1,Y1", "a box around it"),
    "mask": ("FILE", "its mask: a picture, white on black, or a .npy file"),
}


def read_tracked_prompts(args: argparse.Namespace) -> dict[tuple[int, int], FilePrompt]:
    """(frame of the source, object) -> what is said. Raises PromptError."""
    from anymask.track import FilePrompt

    found: dict[tuple[int, int], FilePrompt] = {}
    for name, (shape, _) in TRACKED.items():
        for text in getattr(args, name):
            (frame, number), rest = split_place(text, args.start or 0)
            one = found.setdefault((frame, number), FilePrompt())
            if name in ("point", "negative"):
                one.points.append(numbers(rest, f"--{name} [PLACE]{shape}", 2))
                one.labels.append(int(name == "point"))
            elif getattr(one, name) is not None:
                raise PromptError(
                    f"wanted one --{name} for object {number} on frame {frame}, got two; give the "
                    f"second object a number: --{name} {number + 1}:..."
                )
            elif name == "box":
                one.box = numbers(rest, f"--box [PLACE]{shape}", 4)
            else:
                one.mask = Path(rest)
    ways = "--point X,Y, --box X0,Y0,X1,Y1 or --mask FILE"
    if not found:
        raise PromptError(f"nothing says which object is meant; give {ways}")
    begun = {number for (_, number), one in found.items() if 1 in one.labels or one.box or one.mask}
    for _, number in found:
        if number not in begun:
            raise PromptError(
                f"--negative takes something away from object {number}, and nothing says what it "
                f"is; add {ways}"
            )
    return found


def split_place(text: str, first: int) -> tuple[tuple[int, int], str]:
    """FRAME:OBJECT:REST, OBJECT:REST or REST -> (frame, object), rest.

    first  the frame where none is named
    """
    parts = text.split(":")
    head: list[int] = []
    while len(head) < 2 and len(parts) > 1 and parts[0].isdecimal():
        head.append(int(parts.pop(0)))
    frame, number = (head if len(head) == 2 else [first, *head]) if head else (first, 1)
    return (frame, number), ":".join(parts)
