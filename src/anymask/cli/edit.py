"""`anymask edit`: take things out of a photo, blur or replace them, or lay them side by side."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anymask.base import InputError, whole_file
from anymask.cli.cutout import read_prompt
from anymask.cli.options import add_model_options, add_picture_options, read_model, read_pictures
from anymask.cli.outputs import check_outputs, is_stdout, or_stdout, stdout_suffix
from anymask.cli.prompts import add_prompt_options
from anymask.cli.sources import open_sources
from anymask.cli.streams import say, write_stdout
from anymask.masks import picture_format, save_picture

if TYPE_CHECKING:
    from anymask.base import BoolArray, UintImage
    from anymask.edit import Filler
    from anymask.segment import Model

INVENTED = "the pixels in its place are invented from those around"
DREAMT = "the pixels in its place are invented by LaMa; nothing of them was ever there"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add = parser.add_argument
    # fmt: off
    add("photo", metavar="PHOTO", help="a photo, - for standard input, or sample:coffee, a photo "
        "of the package")
    does = parser.add_argument_group("what is done").add_mutually_exclusive_group(required=True)
    does.add_argument("--remove", action="store_true",
        help="take it out and fill its place from what lies around: for small things on plain "
        "ground")
    add("--with", metavar="cv2|lama|FILE", dest="filler",
        help="what fills the place of --remove: cv2, or LaMa, which also invents large parts: lama "
        "is the one in ANYMASK_HOME, FILE your own weights (.ckpt, .pth, .safetensors, .onnx) "
        "(default: cv2)")
    does.add_argument("--blur", action="store_true",
        help="put it out of focus; for what must not be recognised: anymask.edit.redact")
    does.add_argument("--replace", metavar="FILE", help="a picture in its place")
    does.add_argument("--collage", action="store_true",
        help="each thing cut out, side by side on white")
    add("-o", "--output", metavar="FILE",
        help="a picture, or - for standard output (-.jpg: of that kind) (default: PHOTO.edit.png "
        "in the working folder; for a photo from a pipe standard output)")
    add("--words", metavar="WORDS",
        help="what is meant, as for `anymask find`: 'cup, spoon' (default: the main subject)")
    # fmt: on
    add_prompt_options(parser)
    add_picture_options(parser)
    add_model_options(parser)
    parser.set_defaults(allow_url=False, stdout=True)


def run(args: argparse.Namespace) -> None:
    """Change one photo. Raises AnymaskError for what can be mended."""
    from anymask.images import load_image

    picture = None if args.replace is None else load_image(Path(args.replace))
    if args.filler is not None and not args.remove:
        raise InputError("--with says what fills the place of what is taken out; add --remove")
    prompt, fill = read_prompt(args), read_filler(args.filler)
    if prompt and args.words is not None:
        raise InputError("give --words, or clicks and a box of one object; got both")
    with open_sources([args.photo], allow_url=False) as sources:
        (photo,) = sources
        words = or_stdout([args.output] if args.output else [], [args.photo])
        output = words[0] if words else f"{photo.stem}.edit.png"
        suffix = stdout_suffix(output) if is_stdout(output) else Path(output).suffix.lower()
        if picture_format(suffix) is None:
            raise InputError(f"wanted a picture such as .png or .jpg, got -o {output}; rename it")
        if not is_stdout(output):
            check_outputs([Path(output)], photo)
        image = read_pictures(args).load(photo)
        masks = find_masks(read_model(args).load(), image, prompt, args.words)
    changed = _changed(args, image, masks, picture, fill)
    if is_stdout(output):
        drawn = io.BytesIO()
        save_picture(drawn, changed, suffix)
        write_stdout(drawn.getvalue())
    else:
        with whole_file(Path(output)) as file:
            save_picture(file, changed, suffix)
    told = INVENTED if fill is None else DREAMT
    name = "standard output" if is_stdout(output) else output
    say(f"wrote {name}" + (f"; {told}" if args.remove else ""))


def read_filler(word: str | None) -> Filler | None:
    """What fills the place of what is taken out. Raises WeightsError where it is not there."""
    if word in (None, "cv2"):
        return None
    from anymask.edit import open_lama

    return open_lama(None if word == "lama" else word)


def find_masks(
    model: Model, image: UintImage, prompt: dict[str, Any], words: str | None
) -> list[BoolArray]:
    """What is meant, thing by thing. Raises PromptError where nothing is found."""
    from anymask.edit import object_pixels, objects_sought

    if words is not None:
        return [one.mask for one in objects_sought(model, image, {"words": words})]
    return [object_pixels(model, image, prompt, {})]


def _changed(
    args: argparse.Namespace,
    image: UintImage,
    masks: list[BoolArray],
    picture: UintImage | None,
    fill: Filler | None,
) -> UintImage:
    from anymask import edit

    if args.collage:
        return edit.collage(image, masks)
    mask: BoolArray = np.logical_or.reduce(masks)
    if picture is not None:
        return edit.replace(image, mask, picture)
    return edit.remove(image, mask, fill) if args.remove else edit.blur(image, mask)
