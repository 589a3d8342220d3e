"""Segmentation of images on the command line: prompts, masks, outputs and reports.

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
from anymask.cli.options import read_model, read_options, read_pictures, report_pages
from anymask.cli.outputs import (
    Target,
    check_outputs,
    is_stdout,
    or_stdout,
    plan_targets,
    stdout_suffix,
    write_objects,
)
from anymask.cli.prompts import read_prompts, scaled_prompt_hint
from anymask.cli.sources import SourcePaths, check_own_names
from anymask.cli.streams import tell, write_stdout
from anymask.jobs import FolderJob, ModelChoice, NamesChoice, PhotoItem, PictureChoice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anymask.base import UintImage
    from anymask.masks import Features, LabelMap, Mask, Prompt
    from anymask.models.rules import ChosenNames
    from anymask.segment import Model, PartSettingsDict, Prediction, SegmentSettingsDict

EMBEDDING = ".npz"  # written by `anymask encode`
CLASSES = ".classes.png"  # default ending of label maps
LABEL_MAPS = (".overlay.png", ".png", ".npy")


def segment_photos(args: argparse.Namespace, sources: SourcePaths) -> None:
    """Segment the prompts in every image. Raises AnymaskError for user errors."""
    pictures = read_pictures(args)
    items = _items(sources, pictures)
    if not args.outputs and len(sources) > 1:
        check_own_names(sources)
    if args.semantic:
        label_photos(args, pictures, items, sources.as_typed)
        return
    named = NamesChoice(**read_options(args, NamesChoice))
    outputs = or_stdout(args.outputs, args.sources)
    # Read the settings of `--parts`, None without it
    from anymask.segment import PartSettings

    given = cast("PartSettingsDict", read_options(args, PartSettings, ("max_parts",)))
    if given and not args.split:
        raise InputError("--max-parts requires --parts.")
    PartSettings(**given)
    job = Job(
        prompts=read_prompts(args.parts),
        settings=read_settings(args),
        pictures=pictures,
        outputs=outputs,
        model=_choose_model(args, items),
        several=len(items) > 1,
        report=sys.stderr if any(map(is_stdout, outputs)) else sys.stdout,
        parts=(given if args.split else None),
        inputs=frozenset(args.read) | {Path(os.path.realpath(item.photo)) for item in items},
    )
    planned = [(item, job.targets(item, args.read)) for item in items]
    _refuse_overwriting(planned)
    model = job.model.load()
    job = replace(job, names=named.open(model))
    work = [(item, partial(segment_photo, model, job, item, here)) for item, here in planned]
    do_each(work, sources.as_typed)


@dataclass(frozen=True)
class Job:
    """Settings for all images of a command line."""

    prompts: list[Prompt]
    settings: SegmentSettingsDict
    pictures: PictureChoice
    outputs: list[str]  # `-o` options
    model: ModelChoice  # Model to use
    several: bool  # Whether there are several images
    report: TextIO  # Stream for the report on each mask
    names: ChosenNames | None = None  # Names to choose from, if masks are to be labeled
    # Settings of the parts that replace each mask, None for the masks themselves
    parts: PartSettingsDict | None = None
    inputs: frozenset[Path] = frozenset()  # Resolved paths of all files read

    def targets(self, item: PhotoItem, inputs: Sequence[Path]) -> list[Target]:
        """Return the outputs of an image. Raises InputError, also if they are one of the inputs."""
        seen = is_embedding(item.photo)
        targets = plan_targets(
            self.outputs,
            item.stem.as_posix(),
            "cutout",
            several=self.several,
            default="mask" if seen else None,
        )
        if seen and any(target.shows_photo for target in targets):
            raise InputError(
                f"{str(item.photo)!r} is an embedding, which does not contain the "
                "pixels of the image. Write a .mask.png, .json, .csv, .svg, .geojson "
                "or .npy, or pass the image itself."
            )
        check_outputs([target.path for target in targets if target.path], item.photo, *inputs)
        return targets


def do_each(
    tasks: Sequence[tuple[PhotoItem, Callable[[], None]]], as_typed: Callable[[str], str]
) -> None:
    """Process all images; if there are several, failures are reported and the others continue.

    Raises the error of a single image; DataError at the end if some of several failed.

    Args:
        as_typed: Function that replaces paths in a message by the names that the user gave.
    """
    if len(tasks) == 1:
        tasks[0][1]()
        return
    failed = 0
    for item, work in tasks:
        try:
            work()
        except (InputError, PromptError, DataError) as error:
            failed += 1
            page = "" if item.page is None else f", page {item.page}"
            line = as_typed(f"anymask: {item.photo}{page}: {error}")
            print(line, file=sys.stderr, flush=True)
    if failed:
        raise DataError(
            f"{failed} of {len(tasks)} images failed. Fix or remove them, then run it again."
        )


def _items(paths: Sequence[Path], pictures: PictureChoice) -> list[PhotoItem]:
    """Return images, pages and embeddings; stems are names relative to the output folder."""
    for path in paths:
        if path.is_dir():
            from anymask.images import use_instead

            if message := use_instead(path, "image"):
                raise InputError(message)
            raise InputError(f"{str(path)!r} is a folder. Pass the images in it: '{path}/*.jpg'")
    seen = [PhotoItem(path, Path(path.stem)) for path in paths if is_embedding(path)]
    photos = tuple(path for path in paths if not is_embedding(path))
    if not photos:
        return seen
    job = FolderJob(source=photos, output=Path(), page=pictures.page)
    return seen + job.items()


def _refuse_overwriting(planned: Sequence[tuple[PhotoItem, list[Target]]]) -> None:
    """Raise InputError if two images would write the same file."""
    owners: dict[Path, Path] = {}
    for item, targets in planned:
        for path in (target.path for target in targets if target.path is not None):
            if owners.setdefault(path, item.photo) is not item.photo:
                raise InputError(
                    f"The results of {str(owners[path])!r} and {str(item.photo)!r} "
                    f"would both be written to {str(path)!r}. Segment the two images "
                    "in separate runs."
                )


def is_embedding(path: Path) -> bool:
    """Return whether a file is an output of `anymask encode`, by its suffix."""
    return path.suffix.lower() == EMBEDDING


def _choose_model(args: argparse.Namespace, items: Sequence[PhotoItem]) -> ModelChoice:
    """Return the requested model, or the one that created the embeddings."""
    if args.model is None and items and is_embedding(items[0].photo):
        from anymask.masks import Features

        return read_model(args, model=Features.load(items[0].photo).model)
    return read_model(args)


def read_settings(args: argparse.Namespace) -> SegmentSettingsDict:
    """Read the settings of `Model.segment`. Raises InputError."""
    from anymask.segment import SegmentSettings

    settings = cast("SegmentSettingsDict", read_options(args, SegmentSettings))
    SegmentSettings(**settings)
    return settings


def segment_photo(model: Model, job: Job, item: PhotoItem, targets: Sequence[Target]) -> None:
    """Segment all prompts in one image, write the masks and report them."""
    from anymask.images import ImageFile, shown_picture
    from anymask.masks import Features, Masks
    from anymask.segment import EncodedPhoto

    seen: NDArray[Any] | Features
    mix = model.spec.channels
    if is_embedding(item.photo):
        seen = Features.load(item.photo)
        image_hw = seen.image_hw
    else:
        layered = job.pictures.load(item.photo, item.page, mix, alpha=True)
        seen = shown_picture(layered) if mix is None else layered
        image_hw = (seen.shape[0], seen.shape[1])
        if item.page is None:
            report_pages(item.photo, say, job.model)
    drawn = any(target.shows_photo for target in targets) and not isinstance(seen, Features)
    shown = None if not drawn else layered if mix is None else mix.to_rgb(layered)
    lines = list[str]()
    image: Any = seen if isinstance(seen, Features) else EncodedPhoto(model.encode(seen), seen)
    answers = named_answers(model, job, seen, image)
    called = item.stem.name if is_embedding(item.photo) else item.name
    photo = ImageFile(item.photo, item.page or 0, called)
    found = Masks(image_hw=image_hw, picture=photo)  # other candidate masks are never decoded
    for number, (prompt, answer) in enumerate(zip(job.prompts, answers, strict=True), start=1):
        best = replace(answer, prompt=prompt).best
        report = report_lines(best, prompt, answer.ambiguous)
        found += [best] if job.parts is None else parts_of(model, job, seen, image, best, report)
        named = [item.stem.as_posix()] * job.several + [f"object {number}"] * (len(answers) > 1)
        lines += [": ".join([*named, line]) for line in report]
        if hint := scaled_prompt_hint(prompt, image_hw):
            lines.append(hint)
        if job.settings.get("zoom") is True and (
            reason := zoom_report(model, image, job, prompt, answer)
        ):
            lines.append(reason)
    for target in targets:  # before any report, because the reader of a pipe may close it
        paths = write_objects(target, found, shown, job.prompts, job.inputs)
        lines += [f"wrote {path}" for path in paths]
    tell(lines, job.report)


def named_answers(
    model: Model, job: Job, seen: NDArray[Any] | Features, image: Any
) -> list[Prediction]:
    """Predict masks for each prompt in an encoded image, with labels if requested."""
    from anymask.masks import Features

    answers = answer_prompts(model, image, job.prompts, job.settings)
    if job.names is None:
        return answers
    if isinstance(seen, Features):
        raise InputError(
            "--names requires the image, but only its embedding was passed. Pass the image."
        )
    return [model.with_labels(seen, answer, names=job.names) for answer in answers]


def parts_of(
    model: Model, job: Job, seen: Any, image: Any, whole: Mask, report: list[str]
) -> Sequence[Mask]:
    """Find the parts inside a mask, with labels if requested, and append them to the report."""
    from anymask.masks import counted

    if not whole.area:
        return []
    parts = model.parts(image, whole, **cast("PartSettingsDict", job.parts))
    if job.names is not None:
        parts = model.with_labels(seen, parts, names=job.names)
    report.append(counted(len(parts), "part") if parts else "The mask has no distinct parts.")
    report += [f"part {n}: {mask_in_words(part)}" for n, part in enumerate(parts, start=1)]
    return parts


def answer_prompts(
    model: Model,
    image: Any,
    prompts: Sequence[Prompt],
    settings: SegmentSettingsDict,
) -> list[Prediction]:
    """Predict masks for each prompt; a mask without other prompts is refined."""
    alone = [one.mask is not None and one.points is None and one.box is None for one in prompts]
    to_decode = [prompt for prompt, refine in zip(prompts, alone, strict=True) if not refine]
    answers = iter(model.segment(image, prompts=to_decode, **settings) if to_decode else [])
    return [
        model.refine(image, cast(Any, prompt.mask), **settings) if refine else next(answers)
        for prompt, refine in zip(prompts, alone, strict=True)
    ]


def zoom_report(
    model: Model, image: Any, job: Job, prompt: Prompt, answer: Prediction
) -> str | None:
    """Explain why `--zoom` had no effect; None if it had."""
    from anymask.models.rules import closer_window, object_box
    from anymask.segment import UNCERTAIN

    plain = job.settings | {"zoom": False}
    (first,) = answer_prompts(model, image, [prompt], plain)
    mask = first.first.pixels()
    if (mask != answer.first.pixels()).any():
        return None
    box = object_box(prompt, mask)
    if box is None or closer_window(box, first.geometry.image_hw, UNCERTAIN) is None:
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


def label_photos(
    args: argparse.Namespace,
    pictures: PictureChoice,
    items: Sequence[PhotoItem],
    as_typed: Callable[[str], str],
) -> None:
    """Write the label map of each image. Raises InputError if prompts are given."""
    if args.parts:
        raise InputError("--semantic does not support prompts. Remove points, boxes and masks.")
    outputs = or_stdout(args.outputs, args.sources)
    planned = [plan_maps(outputs, item) for item in items]
    if len(items) > 1 and any(map(is_stdout, outputs)):
        raise InputError("Only one label map can be written to standard output. Pass file names.")
    for item, paths in zip(items, planned, strict=True):
        check_outputs([path for path in paths if not is_stdout(str(path))], item.photo)
    model = read_model(args).load()
    report = sys.stderr if any(map(is_stdout, outputs)) else sys.stdout
    work = [
        partial(label_file, model, pictures, *one, report)
        for one in zip(items, planned, strict=True)
    ]
    do_each(list(zip(items, work, strict=True)), as_typed)


def plan_maps(outputs: Sequence[str], item: PhotoItem) -> list[Path]:
    """Return the outputs of an image's label map. Raises InputError for unsupported suffixes."""
    words = list(outputs) or [item.stem.as_posix() + CLASSES]
    paths = [Path(word.replace("{name}", item.stem.as_posix())) for word in words]
    for path in paths:
        name = path.name.lower()
        if not (stdout_suffix(name) if is_stdout(name) else name).endswith(LABEL_MAPS):
            raise InputError(
                f"A label map is written as .png, .overlay.png or .npy, got {str(path)!r}."
            )
    return paths


def label_file(
    model: Model,
    pictures: PictureChoice,
    item: PhotoItem,
    paths: Sequence[Path],
    report: TextIO,
) -> None:
    """Write the label map of one image and print class fractions. Raises like `Model.label`."""
    from anymask.images import shown_picture

    mix = model.spec.channels
    given = pictures.load(item.photo, item.page, mix)
    found = model.label(given)
    for path in paths:
        write_map(path, found, shown_picture(given, mix))
        if not is_stdout(str(path)):
            say(f"wrote {path}")
    for name, share in found.shares().items():
        line = f"{1 + found.classes.index(name)} {name}: {100 * share:.1f} % of the image"
        print(line, file=report)


def write_map(path: Path, found: LabelMap, photo: UintImage) -> None:
    """Write a label map by its suffix: palette image, overlay on the image, or array."""
    from anymask.formats import encode_palette
    from anymask.masks import overlay, save_picture

    file = io.BytesIO()
    name = stdout_suffix(path.name) if is_stdout(path.name) else path.name.lower()
    if name.endswith(".npy"):
        np.save(file, found.numbers)
    elif name.endswith(".overlay.png"):
        masks = np.stack([found.mask(one) for one in found.classes])
        save_picture(file, overlay(photo, masks), ".png")
    else:
        file.write(encode_palette(found.numbers))
    if is_stdout(str(path)):
        write_stdout(file.getvalue())
    else:
        write_whole(path, file.getvalue())
