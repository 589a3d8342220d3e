"""Masks into a project and out of it, in every format, and the rule that guards the way out."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from anymask.data.annotations import AnnotatedImage, AnnotatedMask, LossReport, record_to_mask
from anymask.data.documents import write_files
from anymask.data.formats import encode_annotations, read_annotations
from anymask.data.outlines import Policy
from anymask.engine.entries import Action, Draft, ImageEntry, Provenance, RecordEntry
from anymask.engine.project import Project
from anymask.engine.review import batch_states
from anymask.engine.store import draft_of
from anymask.primitives.errors import NotAllowedError
from anymask.primitives.records import MaskRecord, record_from_rle

ONE_FILE = {  # formats whose masks are all in one file
    "coco": "masks.json",
    "coco-polygon": "masks.json",
    "coco-panoptic": "masks.json",
    "label-studio": "masks.json",
    "label-studio-polygon": "masks.json",
    "cvat": "masks.xml",
}


def take_masks(
    project: Project, source: Path, name: str | None, who: str, *, proposals: bool = False
) -> int:
    """Read masks of any format for photos that the project has, and count them.

    proposals  somebody has to look at them first

    Reading the same file again adds nothing. Raises DataError, InputError.
    """
    images, _ = read_annotations(source, name, project.folder)
    known = _by_name(project.store.all_images())
    count = 0
    for image in images:
        photo = known.get(image.file_name) or known.get(Path(image.file_name).stem)
        if photo is None:
            continue
        drafts = [
            _imported(mask, f"{source.name}:{number}", proposals)
            for number, mask in enumerate(image.masks)
            if not mask.crowd
        ]
        before = photo.records
        project.store.add_records(photo.id, drafts, who, status="proposed")
        count += project.store.image(photo.id).records - before
    return count


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
            masks=tuple(
                record_to_mask(_mask_record(entry))
                for entry in _once(project, image.id, by_image.get(image.id, []))
            ),
        )
        for image in project.store.all_images()
    ]


def _once(project: Project, image_id: int, entries: list[RecordEntry]) -> list[RecordEntry]:
    every = project.settings.double_every
    people = [entry.who for entry in entries if entry.provenance.kind == "human"]
    if not every or image_id % every or len(set(people)) < 2:
        return entries
    return [e for e in entries if e.who == people[0] or e.provenance.kind != "human"]


def check_rule(project: Project) -> None:
    """Raises Barred that names what the acceptance rule still wants."""
    states, settings = batch_states(project.store, project.settings), project.settings
    bad = [state for state in states if not state.met]
    if bad:
        first = bad[0]
        good = "none" if not first.sampled else f"{100 * first.good:.0f} %"
        raise NotAllowedError(
            f"{len(bad)} of {len(states)} batches are not accepted: at least "
            f"{100 * settings.good_share:.0f} % of the masks of a sample of {first.needed} "
            f"must overlap by {settings.good_iou:g} before and after review; batch "
            f"{first.batch} has {first.sampled} looked at, {good} good; review more, or force"
        )


def accept_rest(project: Project, who: str) -> int:
    """Accept the proposals of every batch that the rule accepts, and count them."""
    size, count = project.settings.batch, 0
    met = {state.batch for state in batch_states(project.store, project.settings) if state.met}
    for entry in project.store.records(None, ("proposal",)):
        if (entry.image_id - 1) // size + 1 in met:
            draft = draft_of(entry, status="accepted")
            project.store.change_record(entry.id, entry.version, draft, who)
            count += 1
    return count


def export_masks(
    project: Project, target: Path, name: str, *, force: bool = False, proposals: bool = False
) -> list[str]:
    """Write the accepted masks in any format; lines that say what the format cannot hold.

    Raises Barred while the acceptance rule is not met, unless forced; InputError, DataError.
    """
    if not force:
        check_rule(project)
    report = LossReport()
    images = annotated_images(project, proposals=proposals)
    write_files(encode_annotations(images, target, name, report, Policy()))
    project.store.add_events(None, [Action(kind="export", detail={"format": name})], "project")
    return report.lines()


def export_archive(project: Project, name: str, *, force: bool = False) -> bytes:
    """The same as one archive. Raises as `export` does."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "masks"
        export_masks(project, root / ONE_FILE.get(name, ""), name, force=force)
        archive = Path(folder) / "masks.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for path in sorted(root.rglob("*")):
                if path.is_file():
                    file.write(path, path.relative_to(root).as_posix())
        return archive.read_bytes()


def _by_name(images: Iterable[ImageEntry]) -> dict[str, ImageEntry]:
    """By name, and by the bare stem where that is clear."""
    found: dict[str, ImageEntry] = {}
    stems: dict[str, list[ImageEntry]] = {}
    for image in images:
        found[image.name] = image
        stems.setdefault(Path(image.name).stem, []).append(image)
    return {stem: few[0] for stem, few in stems.items() if len(few) == 1} | found


def _imported(mask: AnnotatedMask, client_id: str, proposals: bool) -> Draft:
    record = mask.record
    return Draft(
        rle=record.rle,
        label=record.label,
        status="proposal" if proposals else "accepted",
        quality=record.quality,
        stability=record.stability,
        client_id=client_id,
        provenance=Provenance(kind="import", source=client_id.rpartition(":")[0]),
    )


def _mask_record(entry: RecordEntry) -> MaskRecord:
    record = record_from_rle(
        entry.rle, quality=entry.quality, stability=entry.stability, label=entry.label
    )
    clicks = [p for prompt in entry.provenance.prompts for p in prompt.get("points") or ()]
    return replace(record, points=tuple((float(x), float(y)) for x, y in clicks))
