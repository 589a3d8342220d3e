"""Options of prompts: clicks, boxes and masks as words in, one `Prompt` an object out.

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
            how["type"] = _reader(kind)
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


def _reader(kind: Kind) -> Any:
    def read(text: str) -> Part:
        return (kind, text)

    return read


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
