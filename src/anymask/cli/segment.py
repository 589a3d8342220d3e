"""`anymask segment`: segment objects from point, box or mask prompts.

With `--semantic`, a fine-tuned model predicts the class of every pixel.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import numpy as np

from anymask.base import DataError, InputError, PromptError, say, write_whole
from anymask.cli.command import Argument, Command, Group, Settings
from anymask.cli.options import (
    IMAGES,
    MODEL,
    check_own_names,
    map_options,
    open_sources,
    read_images,
    read_model,
    read_options,
    report_pages,
    sources,
    wants_map,
)
from anymask.cli.outputs import (
    Target,
    check_outputs,
    is_stdout,
    or_stdout,
    plan_targets,
    stdout_suffix,
    tell,
    write_objects,
    write_stdout,
)
from anymask.cli.prompts import PROMPTS, read_prompts, scaled_prompt_hint
from anymask.jobs import (
    FolderJob,
    ImageItem,
    ImageSettings,
    LazyImageFile,
    ModelSettings,
    NamesSettings,
)
from anymask.segment import PartSettings, SegmentSettings

if TYPE_CHECKING:
    from anymask.keywords import PartSettingsDict, SegmentSettingsDict
    from anymask.masks import Mask, Prompt
    from anymask.models.rules import ChosenNames
    from anymask.segment import Model, Prediction


Work = list[tuple[ImageItem, Callable[[], None]]]  # each image with the function that processes it


def run(args: argparse.Namespace) -> None:
    """Segment the prompts and write all outputs. Raises AnymaskError for user errors.

    If there are several images, failures are reported, and the others continue.
    """
    if not args.semantic and wants_map(args):
        if args.split:
            raise InputError("--parts does not support layers of maps. Use anymask everything.")
        from anymask.cli.maps import segment_map

        segment_map(args, dict(read_settings(args)))
        return
    with open_sources(args.sources, allow_url=args.allow_url) as paths:
        image_settings = read_images(args)
        items = list_items(paths, image_settings)
        if not args.outputs and len(paths) > 1:
            check_own_names(paths)
        plan = plan_label_maps if args.semantic else plan_masks
        work = plan(args, image_settings, items)
        if len(work) == 1:
            work[0][1]()
            return
        failed = 0
        for item, process in work:
            try:
                process()
            except (InputError, PromptError, DataError) as error:
                failed += 1
                page = "" if item.page is None else f", page {item.page}"
                line = paths.as_typed(f"anymask: {item.image}{page}: {error}")
                print(line, file=sys.stderr, flush=True)
    if failed:
        raise DataError(
            f"{failed} of {len(work)} images failed. Fix or remove them, then run it again."
        )


def list_items(paths: Sequence[Path], image_settings: ImageSettings) -> list[ImageItem]:
    """Return images, pages and embeddings; stems are names relative to the output folder."""
    for path in paths:
        if path.is_dir():
            from anymask.images import suggest_command

            raise InputError(
                suggest_command(path, "image")
                or f"{str(path)!r} is a folder. Pass the images in it: '{path}/*.jpg'"
            )
    encoded = [ImageItem(path, Path(path.stem)) for path in paths if is_embedding(path)]
    images = tuple(path for path in paths if not is_embedding(path))
    if not images:
        return encoded
    return encoded + FolderJob(source=images, output=Path(), page=image_settings.page).items()


def is_embedding(path: Path) -> bool:
    """Return whether a file is an output of `anymask encode`, by its suffix."""
    return path.suffix.lower() == ".npz"


def read_settings(args: argparse.Namespace) -> SegmentSettingsDict:
    """Read the settings of `Model.segment`. Raises InputError."""
    settings = cast("SegmentSettingsDict", read_options(args, SegmentSettings))
    SegmentSettings(**settings)
    return settings


@dataclass(frozen=True)
class Job:
    """Settings for all images of a command line."""

    prompts: list[Prompt]
    settings: SegmentSettingsDict
    image_settings: ImageSettings
    model: ModelSettings  # Model to use
    several: bool  # Whether there are several images
    report: TextIO  # Stream for the report on each mask
    inputs: frozenset[Path]  # Resolved paths of all files read
    # Settings of the parts that replace each mask, None for the masks themselves
    parts: PartSettingsDict | None
    names: ChosenNames | None = None  # Names to choose from, if masks are to be labeled


def plan_masks(
    args: argparse.Namespace, image_settings: ImageSettings, items: list[ImageItem]
) -> Work:
    """Validate all options, load the model, and return the work of each image."""
    names = NamesSettings(**read_options(args, NamesSettings))
    outputs = or_stdout(args.outputs, args.sources)
    parts = cast("PartSettingsDict", read_options(args, PartSettings, ("max_parts",)))
    if parts and not args.split:
        raise InputError("--max-parts requires --parts.")
    PartSettings(**parts)
    chosen: dict[str, str] = {}
    if args.model is None and items and is_embedding(items[0].image):
        from anymask.masks import Features

        chosen["model"] = Features.load(items[0].image).model
    job = Job(
        prompts=read_prompts(args.parts),
        settings=read_settings(args),
        image_settings=image_settings,
        model=read_model(args, **chosen),
        several=len(items) > 1,
        report=sys.stderr if any(map(is_stdout, outputs)) else sys.stdout,
        inputs=frozenset(args.read) | {Path(os.path.realpath(item.image)) for item in items},
        parts=parts if args.split else None,
    )
    owners: dict[Path, Path] = {}
    planned = [(item, plan_outputs(outputs, item, job.several, args.read)) for item in items]
    for item, targets in planned:
        for path in (target.path for target in targets if target.path is not None):
            if owners.setdefault(path, item.image) is not item.image:
                raise InputError(
                    f"The results of {str(owners[path])!r} and {str(item.image)!r} would both be "
                    f"written to {str(path)!r}. Segment the two images in separate runs."
                )
    model = job.model.load()
    job = replace(job, names=names.open(model))
    return [(item, partial(segment_image, model, job, item, targets)) for item, targets in planned]


def plan_outputs(
    outputs: list[str], item: ImageItem, several: bool, inputs: Sequence[Path]
) -> list[Target]:
    """Return the outputs of an image. Raises InputError, also if they are one of the inputs."""
    encoded = is_embedding(item.image)
    targets = plan_targets(
        outputs, item.stem.as_posix(), "cutout", several=several,
        default="mask" if encoded else None,
    )  # fmt: skip
    if encoded and any(target.shows_image for target in targets):
        raise InputError(
            f"{str(item.image)!r} is an embedding, which does not contain the pixels of the image. "
            "Write a .mask.png, .json, .csv, .svg, .geojson or .npy, or pass the image itself."
        )
    check_outputs([target.path for target in targets if target.path], item.image, *inputs)
    return targets


def segment_image(model: Model, job: Job, item: ImageItem, targets: Sequence[Target]) -> None:
    """Segment all prompts in one image, write the masks and report them."""
    from anymask.images import ImageFile
    from anymask.masks import Features, Masks
    from anymask.segment import EncodedImage

    image: Any
    pixels: Any = None
    shown = None
    if is_embedding(item.image):
        image = Features.load(item.image)
        image_hw, name = image.image_hw, item.stem.name
        if job.names is not None:
            raise InputError(
                "--names requires the image, but only its embedding was passed. Pass the image."
            )
    else:
        source = LazyImageFile(item, job.image_settings, model.spec.channels)
        pixels = source.pixels
        if any(target.shows_image for target in targets):
            shown = source.layered
        image_hw, name = (pixels.shape[0], pixels.shape[1]), item.name
        if item.page is None:
            report_pages(item.image, say, job.model)
        image = EncodedImage(model.encode(pixels), pixels)
    answers = predict(model, image, job.prompts, job.settings)
    if job.names is not None:
        answers = [model.with_labels(pixels, answer, names=job.names) for answer in answers]
    lines: list[str] = []
    source_file = ImageFile(item.image, item.page or 0, name)
    masks = Masks(image_hw=image_hw, source_image=source_file)  # other candidates are not decoded
    for number, (prompt, answer) in enumerate(zip(job.prompts, answers, strict=True), start=1):
        best = replace(answer, prompt=prompt).best
        report = report_lines(best, prompt, answer.ambiguous)
        masks += [best] if job.parts is None else parts_of(model, job, pixels, image, best, report)
        named = [item.stem.as_posix()] * job.several + [f"object {number}"] * (len(answers) > 1)
        lines += [": ".join([*named, line]) for line in report]
        if hint := scaled_prompt_hint(prompt, image_hw):
            lines.append(hint)
        if job.settings.get("zoom") is True and (
            reason := zoom_report(model, image, job, prompt, answer)
        ):
            lines.append(reason)
    for target in targets:  # before any report, because the reader of a pipe may close it
        paths = write_objects(target, masks, shown, job.prompts, job.inputs)
        lines += [f"wrote {path}" for path in paths]
    tell(lines, job.report)


def predict(
    model: Model, image: Any, prompts: Sequence[Prompt], settings: SegmentSettingsDict
) -> list[Prediction]:
    """Predict masks for each prompt; a mask without other prompts is refined."""
    alone = [
        prompt.mask is not None and prompt.points is None and prompt.box is None
        for prompt in prompts
    ]
    to_decode = [prompt for prompt, refine in zip(prompts, alone, strict=True) if not refine]
    answers = iter(model.segment(image, prompts=to_decode, **settings) if to_decode else [])
    return [
        model.refine(image, cast(Any, prompt.mask), **settings) if refine else next(answers)
        for prompt, refine in zip(prompts, alone, strict=True)
    ]


def parts_of(
    model: Model, job: Job, pixels: Any, image: Any, whole: Mask, report: list[str]
) -> Sequence[Mask]:
    """Find the parts inside a mask, with labels if requested, and append them to the report."""
    from anymask.masks import counted

    if not whole.area:
        return []
    parts = model.parts(image, whole, **cast("PartSettingsDict", job.parts))
    if job.names is not None:
        parts = model.with_labels(pixels, parts, names=job.names)
    report.append(counted(len(parts), "part") if parts else "The mask has no distinct parts.")
    report += [f"part {n}: {mask_in_words(part)}" for n, part in enumerate(parts, start=1)]
    return parts


def zoom_report(
    model: Model, image: Any, job: Job, prompt: Prompt, answer: Prediction
) -> str | None:
    """Explain why `--zoom` had no effect; None if it had."""
    from anymask.models.rules import crop_window, object_box
    from anymask.segment import SINGLE_CLICK_CROP

    (first,) = predict(model, image, [prompt], job.settings | {"zoom": False})
    mask = first.first.pixels()
    if (mask != answer.first.pixels()).any():
        return None
    box = object_box(prompt, mask)
    if box is None or crop_window(box, first.geometry.image_hw, SINGLE_CLICK_CROP) is None:
        return "--zoom had no effect because the object is too large for a crop"
    return "--zoom had no effect because the mask of the crop has a lower predicted IoU"


def mask_in_words(mask: Mask) -> str:
    """Describe the score, area, box and label of a mask that is not empty."""
    from anymask.masks import counted, percent

    box = ",".join(f"{value:g}" for value in mask.xyxy)
    line = (
        f"score {mask.score:.2f}, {counted(mask.area, 'pixel')} "
        f"({percent(mask.coverage)}), box {box}"
    )
    if mask.label is None or mask.label_probability is None:
        return line
    return f"{line}, {mask.label} ({percent(mask.label_probability)})"


def report_lines(mask: Mask, prompt: Prompt, ambiguous: bool = False) -> list[str]:
    """Describe the mask in one line, and each violated point in another one.

    Args:
        ambiguous: Whether another mask is equally likely (`Prediction.ambiguous`).
    """
    from anymask.masks import violated_points

    empty = "The mask is empty. Try another point, or a box."
    lines = [mask_in_words(mask) if mask.area else empty]
    if ambiguous:
        lines.append(
            "ambiguous: another mask is equally likely. Add a point, pass --box, or "
            "choose a mask with --granularity"
        )
    if prompt.points is None or prompt.labels is None:
        return lines
    for index in violated_points(mask.mask, prompt.points, prompt.labels):
        x, y = prompt.points[index].tolist()
        side = "outside" if prompt.labels[index] else "inside"
        lines.append(f"the point at {x:g},{y:g} is {side} the mask")
    return lines


# Semantic segmentation.


def plan_label_maps(
    args: argparse.Namespace, image_settings: ImageSettings, items: list[ImageItem]
) -> Work:
    """Plan the label map of each image. Raises InputError if prompts are given."""
    if args.parts:
        raise InputError("--semantic does not support prompts. Remove points, boxes and masks.")
    outputs = or_stdout(args.outputs, args.sources)
    planned = []
    for item in items:
        words = outputs or [item.stem.as_posix() + ".classes.png"]
        paths = [Path(word.replace("{name}", item.stem.as_posix())) for word in words]
        for path in paths:
            if not suffix_of_map(path).endswith((".png", ".npy")):
                raise InputError(
                    f"A label map is written as .png, .overlay.png or .npy, got {str(path)!r}."
                )
        planned.append((item, paths))
    if len(items) > 1 and any(map(is_stdout, outputs)):
        raise InputError("Only one label map can be written to standard output. Pass file names.")
    for item, paths in planned:
        check_outputs([path for path in paths if not is_stdout(str(path))], item.image)
    model = read_model(args).load()
    report = sys.stderr if any(map(is_stdout, outputs)) else sys.stdout
    return [
        (item, partial(label_image, model, image_settings, item, paths, report))
        for item, paths in planned
    ]


def suffix_of_map(path: Path) -> str:
    """Return the lower-case name of a label map; of standard output, only the suffix."""
    return stdout_suffix(path.name) if is_stdout(path.name) else path.name.lower()


def label_image(
    model: Model, image_settings: ImageSettings, item: ImageItem, paths: list[Path], report: TextIO
) -> None:
    """Write the label map of one image by suffix, and print class fractions.

    A map is a palette image, an overlay on the image, or an array. Raises as `Model.label`.
    """
    from anymask.formats import encode_palette
    from anymask.masks import overlay, save_image

    image = LazyImageFile(item, image_settings, model.spec.channels)
    labels = model.label(image.pixels)
    for path in paths:
        file = io.BytesIO()
        if suffix_of_map(path).endswith(".npy"):
            np.save(file, labels.numbers)
        elif suffix_of_map(path).endswith(".overlay.png"):
            masks = np.stack([labels.mask(name) for name in labels.classes])
            save_image(file, overlay(image.shown, masks), ".png")
        else:
            file.write(encode_palette(labels.numbers))
        if is_stdout(str(path)):
            write_stdout(file.getvalue())
        else:
            write_whole(path, file.getvalue())
            say(f"wrote {path}")
    for name, share in labels.shares().items():
        line = f"{1 + labels.classes.index(name)} {name}: {100 * share:.1f} % of the image"
        print(line, file=report)


# fmt: off
COMMAND = Command(run, (
    *sources("IMAGE", "; or an .npz file of `anymask encode`"),
    PROMPTS,
    Argument("--semantic", action="store_true",
        help="without prompts: predict the class of every pixel with a semantic segmentation "
             "model. -o is .png (class numbers), .overlay.png or .npy (default: "
             "IMAGE.classes.png)"),
    Group("output options", (
        Argument("-o --output", metavar="FILE", action="append", dest="outputs", default=[],
            help=".png cut-out (.overlay.png: image with the mask drawn on it; .mask.png: mask, "
                 "white on black; .jpg on white, .webp, .tif, ...), "
                 ".json SA-1B record, .csv measurements, .svg or .geojson outline, .txt "
                 "YOLO, .npy array, a folder, or - for standard output (-.json: as JSON); "
                 "{name} is replaced by the image name, {n} by the object number; repeatable "
                 "(default: IMAGE.cut.png in the current folder; standard output for an image "
                 "from standard input)"),
        Settings(SegmentSettings, common=("multimask",), omit=("ranking",)),
        Settings(NamesSettings, common=("names",)),
    )),
    Group("parts", (
        Argument("--parts", action="store_true", dest="split",
            help="write the parts inside each predicted mask, best first, instead of the mask"),
        Settings(PartSettings, only=("max_parts",)),
    )),
    map_options(prompts=True),
    IMAGES,
    MODEL,
), stdout=True)
# fmt: on
