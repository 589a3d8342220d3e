"""Import and export of a project: masks of any format in, stored records out, and back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from anymask.data.annotations import AnnotatedImage, AnnotatedMask
from anymask.data.formats import read_annotations
from anymask.engine.entries import Draft, ImageEntry, Provenance, RecordEntry
from anymask.engine.project import Project
from anymask.primitives.records import UNLABELLED, record_from_rle
from anymask.primitives.rle import rle_iou, rle_to_string

ALIKE = 0.99  # IoU from which a mask that is read is one that the photo has


@dataclass(frozen=True)
class TakenMasks:
    """What an import did.

    new      masks that were added
    same     masks that their photo had already, and that were left out
    strange  photos of the file that the project has not
    """

    new: int
    same: int
    strange: int


def take_masks(
    project: Project, source: Path, name: str | None, who: str, *, proposals: bool = False
) -> TakenMasks:
    """Read masks of any format for photos that the project has.

    proposals  somebody has to look at them first

    A mask that its photo has already, of the same name and an IoU of ALIKE or more, is left out.
    Raises DataError, InputError.
    """
    images, _ = read_annotations(source, name, project.folder)
    known = _by_name(project.store.all_images())
    new = same = strange = 0
    for image in images:
        photo = known.get(image.file_name) or known.get(Path(image.file_name).stem)
        if photo is None:
            strange += 1
            continue
        masks = [mask for mask in image.masks if not mask.crowd]
        fresh = _without_known(masks, project.store.records(photo.id))
        same += len(masks) - len(fresh)
        if not fresh:
            continue
        drafts = [_imported(mask, source.name, proposals) for mask in fresh]
        status = "proposed" if photo.status == "new" else None
        project.store.add_records(photo.id, drafts, who, status=status)
        added = project.store.image(photo.id).records - photo.records
        new, same = new + added, same + len(drafts) - added
    return TakenMasks(new, same, strange)


def _without_known(
    masks: Sequence[AnnotatedMask], entries: Sequence[RecordEntry]
) -> list[AnnotatedMask]:
    """The masks that are not among the entries."""
    kept = [entry for entry in entries if entry.status != "rejected"]
    if not masks or not kept:
        return list(masks)
    table = rle_iou([mask.rle for mask in masks], [entry.rle for entry in kept])
    fresh = []
    for mask, ious in zip(masks, table, strict=True):
        alike = [entry.label for entry, iou in zip(kept, ious, strict=True) if iou >= ALIKE]
        if mask.label not in (None, UNLABELLED):
            alike = [label for label in alike if label == mask.label]
        if not alike:
            fresh.append(mask)
    return fresh


def annotated_images(project: Project, *, proposals: bool = False) -> list[AnnotatedImage]:
    """Every photo with its accepted masks (and proposals); double labels count once."""
    wanted = ("accepted", "proposal") if proposals else ("accepted",)
    by_image: dict[int, list[RecordEntry]] = {}
    for entry in project.store.records():
        control = entry.provenance.arm == "control"
        if entry.status in wanted and not control:
            by_image.setdefault(entry.image_id, []).append(entry)
    return [
        AnnotatedImage(
            file_name=image.name,
            hw=image.hw,
            masks=tuple(map(annotated, _once(project, image.id, by_image.get(image.id, [])))),
        )
        for image in project.store.all_images()
    ]


def _once(project: Project, image_id: int, entries: list[RecordEntry]) -> list[RecordEntry]:
    every = project.settings.double_every
    people = [entry.who for entry in entries if entry.provenance.kind == "human"]
    if not every or image_id % every or len(set(people)) < 2:
        return entries
    return [e for e in entries if e.who == people[0] or e.provenance.kind != "human"]


def annotated(entry: RecordEntry) -> AnnotatedMask:
    """A mask as formats write it: scores and clicks only where a model gave the shape its score."""
    if entry.quality is None:
        return AnnotatedMask(entry.rle, entry.label)
    record = record_from_rle(
        entry.rle, quality=entry.quality, stability=entry.stability or 0.0, label=entry.label
    )
    clicks = [
        (float(x), float(y))
        for prompt in entry.provenance.prompts
        for (x, y), label in zip(prompt.get("points") or (), _labels(prompt), strict=False)
        if label
    ]
    made = replace(record, points=tuple(clicks))
    return AnnotatedMask(entry.rle, entry.label, made=made)


def _labels(prompt: object) -> Sequence[int]:
    """1 for each click on the object, 0 beside it; all 1 where nobody says."""
    assert isinstance(prompt, dict)
    points = prompt.get("points") or ()
    return prompt.get("labels") or [1] * len(points)


def _by_name(images: Iterable[ImageEntry]) -> dict[str, ImageEntry]:
    """By name, and by the bare stem where that is clear."""
    found: dict[str, ImageEntry] = {}
    stems: dict[str, list[ImageEntry]] = {}
    for image in images:
        found[image.name] = image
        stems.setdefault(Path(image.name).stem, []).append(image)
    return {stem: few[0] for stem, few in stems.items() if len(few) == 1} | found


def _imported(mask: AnnotatedMask, source: str, proposals: bool) -> Draft:
    text = f"{rle_to_string(mask.rle)} {mask.label}"
    made = mask.made
    return Draft(
        rle=mask.rle,
        label=mask.label,
        status="proposal" if proposals else "accepted",
        quality=made.quality or None if made else None,
        stability=made.stability or None if made else None,
        client_id=f"{source[-300:]}:{hashlib.sha256(text.encode()).hexdigest()[:16]}",
        provenance=Provenance(kind="import", source=source),
    )
