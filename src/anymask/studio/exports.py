"""Export of accepted masks, with images and splits.

Images marked as done are exported, optionally also other images with masks. An image without review
is never exported as empty. Masks that a person drew, imported or accepted are exported. Proposals
are exported on request, if the review sample of their batch meets the acceptance rule.

    yolo       data.yaml, labels/SPLIT/..., images/SPLIT/...
    coco...    annotations/instances_SPLIT.json, images/SPLIT/...
    voc        SPLIT/SegmentationClass/..., SPLIT/JPEGImages/...
    others     SPLIT/..., the images in SPLIT/images, or next to the files of labelme and SA-1B

Layout of YOLO sets: the segmentation page of the Ultralytics documentation (facts, no code).
"""

from __future__ import annotations

import hashlib
import logging
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from anymask.base import InputError, NotAllowedError, NotFoundError
from anymask.formats import (
    SPLITS,
    AnnotatedImage,
    LossReport,
    OutFile,
    Policy,
    SequencePlace,
    class_names,
    encode_annotations,
    find_format,
    path_in_set,
    write_annotations,
    write_files,
)
from anymask.images import ImageFile, page_as_png
from anymask.masks import UNLABELED, Mask, Masks, Rle, counted, rle_area
from anymask.studio.concepts import concepts, phrase_keys
from anymask.studio.exchange import annotated_images, image_name, project_terms, source_of
from anymask.studio.options import ExportSettings, State
from anymask.studio.records import Action, ClipEntry
from anymask.studio.review import batch_states
from anymask.studio.tracks import Tracks

if TYPE_CHECKING:
    from anymask.studio.project import Project

LOG = logging.getLogger("anymask.studio.exports")
NO_CLASSES = (  # formats that do not need a class
    "label-png", "label-tif", "sa1b", "davis", "sav", "csv", "geojson", "qupath", "svg", "imagej",
    "set",
)  # fmt: skip


def check_rule(project: Project) -> None:
    """Raise NotAllowedError with the remaining requirements if the acceptance rule is not met."""
    settings = project.settings
    for state in batch_states(project.store, settings):
        if state.open and not state.met:
            good = "none" if state.good is None else f"{100 * state.good:.0f} %"
            raise NotAllowedError(
                f"The proposals of batch {state.batch} do not meet the acceptance rule: "
                f"{state.needed} must be reviewed, and at least {100 * settings.good_share:.0f} % "
                f"of these must be good. So far, {state.sampled} of the random sample are "
                f"reviewed, {good} good. Review more, export without proposals, or export "
                "anyway (force=True)."
            )


def accept_rest(project: Project, who: str) -> int:
    """Accept the proposals of all batches that meet the rule. Returns their number.

    Images of these batches with masks are marked as done.
    """
    size, images, count = project.settings.batch, set(), 0
    met = {state.batch for state in batch_states(project.store, project.settings) if state.met}
    for entry in project.store.records():
        if (entry.image_id - 1) // size + 1 not in met:
            continue
        images.add(entry.image_id)
        if entry.state == "proposed":
            project.store.change_record(entry.id, entry.version, entry.draft(state="accepted"), who)
            count += 1
    for number in sorted(images):
        if project.store.image(number).status != "done":
            project.store.mark_image(number, "done", who)
    return count


def export_masks(
    project: Project, target: Path, name: str, settings: ExportSettings | None = None
) -> list[str]:
    """Write masks in any format. Returns messages about exported, skipped and lost data.

    Raises NotAllowedError for proposals if the acceptance rule is not met, unless forced;
    InputError, DataError.
    """
    settings = settings or ExportSettings()
    find_format(name)
    if target.suffix and not target.is_dir() and (settings.images or settings.shares):
        raise InputError(f"Images or a split require a folder. {target.name!r} is a file name.")
    if settings.proposals and not settings.force:
        check_rule(project)
    images, left = _leaving(project, settings)
    splits = [part for part, share in zip(SPLITS, settings.shares, strict=False) if share > 0]
    if len(images) < len(splits):
        raise InputError(
            f"{len(images)} images are too few: {', '.join(splits)} require one each. Label more."
        )
    keys = phrase_keys([*concepts(project.store)])
    images = [replace(image, extra=keys.get(image_name(image.file_name), {})) for image in images]
    if settings.unlabeled == "skip":
        images = [
            replace(image, masks=Masks(mask for mask in image.masks if mask.label is not None))
            for image in images
        ]
    images = [
        _with_image(project, image) if name in ("csv", "geojson") else image for image in images
    ]
    report = LossReport()
    write_files(_files(project, images, target, name, settings, report), target)
    project.store.add_events(None, [Action(kind="export", detail={"format": name})], "project")
    masks = sum(len(image.masks) for image in images)
    LOG.info("%s: exported %d masks from %d images as %s", project.folder, masks, len(images), name)
    lines = [f"{counted(len(images), 'image')}, {counted(masks, 'mask')}"]
    if left:
        why = "not marked as done"
        if settings.only == "labeled":
            why = f"without {'' if settings.proposals else 'accepted '}masks and not marked as done"
        lines.append(f"not exported: {counted(left, 'image')} {why}")
    if name == "yolo" and not settings.images:
        lines.append("data.yaml expects the images in images/. Add them with the option `images`.")
    lines += report.lines()
    nameless = sum(mask.label is None for image in images for mask in image.masks)
    if nameless and project.labels.all() and name not in NO_CLASSES:
        lines.append(
            f"{counted(nameless, 'mask')} without a class: exported as class {UNLABELED!r}"
        )
    return lines


def _with_image(project: Project, image: AnnotatedImage) -> AnnotatedImage:
    """Add the image file or page to the masks, for units and intensities, if it is there."""
    with suppress(NotFoundError):
        path, page = source_of(project, image.file_name)
        file = ImageFile(path, page or 0, image.file_name)
        return replace(image, masks=Masks(image.masks, source_image=file))
    return image


def count_unlabeled(project: Project, name: str, settings: ExportSettings) -> int:
    """Number of masks without a class in an export; 0 for formats without classes.

    Raises InputError if no image would be exported.
    """
    if name in NO_CLASSES:
        return 0
    images = _leaving(project, settings)[0]
    return sum(mask.label is None for image in images for mask in image.masks)


def _leaving(project: Project, settings: ExportSettings) -> tuple[list[AnnotatedImage], int]:
    """Images to export, and the number of others. Raises InputError if there are none."""
    status = {image.name: image.status for image in project.store.all_images()}
    every = annotated_images(project, proposals=settings.proposals)
    leaving = [
        image
        for image in every
        if status.get(image.file_name, status.get(image_name(image.file_name))) == "done"
        or (settings.only == "labeled" and image.masks)
    ]
    if not leaving:
        labeled = sum(bool(image.masks) for image in every)
        proposed = sum(bool(i.masks) for i in annotated_images(project, proposals=True))
        raise InputError(
            f"No image to export: of {len(every)} images, none is marked as done, {labeled} have "
            f"accepted masks, and {proposed} masks or proposals. Mark images as done, or export "
            'images with masks (only="labeled"), and proposals, too (proposals=True).'
        )
    return leaving, len(every) - len(leaving)


def split_names(names: Sequence[str], shares: Sequence[float]) -> dict[str, str]:
    """Assign train, val or test to each name. The result depends only on the name.

    Splits with a share above 0 are not empty if there are enough images.
    """
    parts = [(part, share) for part, share in zip(SPLITS, shares, strict=False) if share > 0]
    total = sum(share for _, share in parts)
    by_part: dict[str, list[str]] = {part: [] for part, _ in parts}
    for name in sorted(names, key=_draw):
        reached = 0.0
        for part, share in parts:
            reached += share / total
            if _draw(name) < reached or part == parts[-1][0]:
                by_part[part].append(name)
                break
    for part in by_part if len(names) >= len(parts) else ():
        if not by_part[part]:
            by_part[part].append(max(by_part.values(), key=len).pop())
    return {name: part for part, names in by_part.items() for name in names}


def _draw(name: str) -> float:
    """Hash of an image name, from 0 to 1. Pages of one image have the same value."""
    return int.from_bytes(hashlib.sha256(f"split {image_name(name)}".encode()).digest()[:6]) / 2**48


def _files(
    project: Project,
    images: Sequence[AnnotatedImage],
    target: Path,
    name: str,
    settings: ExportSettings,
    report: LossReport,
) -> Iterator[OutFile]:
    """Yield all output files: annotations by split, then the images."""
    listed = [*settings.classes, *(label.name for label in project.labels.all())]
    policy = Policy(
        tolerance=settings.tolerance, classes=tuple(class_names(list(images), listed)),
        facts=project_terms(project),
    )  # fmt: skip
    parts: dict[str, list[AnnotatedImage]] = {}
    splits = split_names([image.file_name for image in images], settings.shares)
    for image in images:
        parts.setdefault(splits.get(image.file_name, ""), []).append(image)
    if name in ("yolo", "voc"):  # all splits in one data set
        renamed = [
            replace(image, file_name="/".join(filter(None, (part, image.file_name))))
            for part, few in parts.items()
            for image in few
        ]
        yield from encode_annotations(renamed, target, name, report, policy)
    else:
        whole = settings.images or settings.shares
        for part, few in parts.items():
            output = _place(target, name, part) if whole else target
            yield from encode_annotations(few, output, name, report, policy)
    if settings.images:
        for part, few in parts.items():
            for image in few:
                output = _image_place(target, name, part, image.file_name)
                path, page = source_of(project, image.file_name)
                yield output, path.read_bytes() if page is None else page_as_png(path, page)


def _place(target: Path, name: str, part: str) -> Path:
    """Output path of the annotations of a split."""
    if name.startswith("coco"):
        return target / "annotations" / (f"instances_{part}.json" if part else "instances.json")
    return target / part / masks_file(name)


def masks_file(name: str) -> str:
    """File name of a single-file format; "" for other formats."""
    ending = find_format(name).ending
    return f"masks{ending}" if ending else ""


def _image_place(target: Path, name: str, part: str, file_name: str) -> Path:
    if name == "yolo" or name.startswith("coco"):
        return target / "images" / part / file_name
    if name in ("labelme", "labelme-polygon", "sa1b"):  # next to the annotation files
        return target / part / file_name
    if name == "set":
        return target / part / path_in_set(file_name)
    if name == "voc":
        return target / "JPEGImages" / part / file_name
    return target / part / "images" / file_name


def export_archive(
    project: Project, name: str, archive: Path, settings: ExportSettings | None = None
) -> list[str]:
    """Export to a ZIP file. Raises as `export_masks`."""
    root = archive.with_suffix("")
    # A single-file format without images and splits is written as a file.
    alone = settings is None or not (settings.images or settings.shares)
    lines = export_masks(project, root / masks_file(name) if alone else root, name, settings)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(root.rglob("*")):
            if path.is_file():
                file.write(path, path.relative_to(root).as_posix())
    return lines


def clip_images(
    tracks: Tracks, clip: ClipEntry, states: Sequence[State] = ("accepted",)
) -> list[AnnotatedImage]:
    """Frames of a clip, from the first to the last frame with a track."""
    frames: dict[int, list[tuple[int, str | None, Rle]]] = {}
    for track in tracks.tracks(clip.id):
        if track.state in states:
            for mask in tracks.masks(track.id):
                frames.setdefault(mask.frame, []).append((track.object, track.label, mask.rle))
    if not frames:
        return []
    folder = PurePosixPath(clip.name).with_suffix("").as_posix()
    return [
        AnnotatedImage(
            file_name=f"{folder}/{frame:05d}.jpg",
            hw=clip.hw,
            masks=Masks(
                Mask(rle, label, id=number)
                for number, label, rle in frames.get(frame, [])
                if rle_area(rle)
            ),
            place=SequencePlace(folder, frame),
        )
        for frame in range(min(frames), max(frames) + 1)
    ]


def export_tracks(
    project: Project, target: Path, name: str, states: Sequence[State] = ("accepted",)
) -> list[str]:
    """Write the tracks of all clips. Returns messages about exported and lost data.

    Raises InputError if there are no tracks or the format is unknown; DataError.
    """
    tracks = project.tracks
    images = [image for clip in tracks.clips() for image in clip_images(tracks, clip, states)]
    if not images:
        raise InputError(
            f"No track is {' or '.join(states)}. Review tracks, or export proposals as well."
        )
    report = write_annotations(images, target, name, Policy(facts=project_terms(project)))
    masks = sum(len(image.masks) for image in images)
    return [f"{masks} masks on {len(images)} frames", *report.lines()]
