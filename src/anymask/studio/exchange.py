"""Import and export of project masks in any format.

If an image has masks on pages other than the first, each page with masks is exported as a separate
image: page 3 of stack.tif is named stack.tif.page3.png, also on import.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np

from anymask.base import InputError, OnProgress, brief, page_name, split_page_name
from anymask.formats import (
    CLASSES,
    AnnotatedImage,
    Policy,
    ReadKeywords,
    SetFacts,
    metadata,
    name_suffixes,
    read,
    report_dataset_fields,
    report_unsupported_fields,
    uploaded_name,
    write_files,
)
from anymask.images import MICROSCOPES, TIFF, read_planes, resolve_position
from anymask.masks import UNLABELED, Mask, Masks, Rle, rle_area, rle_crop, rle_iou, rle_to_string
from anymask.studio.options import State
from anymask.studio.records import (
    MAX_LEVEL,
    Draft,
    ImageEntry,
    MaskNotes,
    Provenance,
    StoredMask,
    TrackDraft,
    TrackMask,
)
from anymask.studio.searching import KNOWN_IOU

if TYPE_CHECKING:
    from anymask.segment import Model
    from anymask.studio.project import Project

EQUAL_MASK_IOU = 0.99  # minimum IoU of equal masks on import
NEARLY = 0.9  # lower minimum IoU for masks with slightly different outlines, as in polygon formats
SHIFT = 0.5  # maximum mean distance of these outlines, in pixels
NAMELESS = (None, UNLABELED)


@brief
@dataclass(frozen=True)
class ImportedMasks:
    """Result of an import."""

    new: int  # Number of added masks
    same: int  # Number of skipped masks that the image already has
    strange: int  # Number of images in the file that the project does not have
    unread: tuple[str, ...] = ()  # Messages about records that were not imported
    # Number of multi-page images whose masks were added to the first page by default
    stacks: int = 0
    doubled: int = 0  # Number of proposals rejected as duplicates of added masks


def import_masks(
    project: Project,
    source: str | Path,
    format: str | None = None,
    *,
    who: str = "import",
    proposals: bool = False,
    page: int | str | None = None,
    split: str | None = None,
    **settings: Unpack[ReadKeywords],
) -> ImportedMasks:
    """Import masks in any format of `anymask.read` for images of the project.

    Masks that the image already has (`_is_alike`) are skipped, and proposals also if their IoU
    with a mask is at least `KNOWN_IOU`. Existing proposals that match an added mask are rejected.

    Args:
        format: Name of the format. Default: detected.
        proposals: Import the masks as proposals, which need a review.
        page: Page of stacks whose file names contain none: a number from 0, or "z1c0".
        split: Split of the dataset, such as "val".
        settings: Fields of `anymask.formats.ReadSettings`.

    Raises:
        DataError, InputError, ImageError: The source cannot be read.
    """
    source = Path(source)
    with closing(read(source, format, project.folder, split, **settings)) as dataset:
        images = list(dataset)
    report = dataset.lost
    for label in report.classes:
        with suppress(InputError):  # invalid class name
            project.labels.add(label, report.facts.classes.get(label, {}).get("color"))
    known = _by_name(project.store.all_images())
    new = same = strange = stacks = doubled = 0
    for image in images:
        pixels, named = _image_of(image.file_name, known)
        if pixels is None:
            strange += 1
            continue
        at, unsaid = (named, False) if named else _page_of(project.file(pixels.name), page)
        stacks += unsaid
        masks = list(image.objects)
        report_unsupported_fields(
            report, image, frozenset({"labels", "scores", "stability", "crowds"}), ("z_order",)
        )
        if crowds := len(image.masks) - len(masks):
            why = f"{crowds} crowd masks were not imported, because a crowd is not one object"
            report.add("crowds", image.file_name, None, why)
        there = _on_page(project.store.records(pixels.id), at)
        fresh = _without_known(masks, there, proposals)
        same += len(masks) - len(fresh)
        if not fresh:
            continue
        drafts = [_imported(mask, source.name, proposals, at) for mask in fresh]
        before = project.store.image(pixels.id)  # pages of one image follow each other
        status = "proposed" if before.status == "new" else None
        project.store.add_records(pixels.id, drafts, who, status=status)
        added = project.store.image(pixels.id).records - before.records
        new, same = new + added, same + len(drafts) - added
        for entry in _shown_by(fresh, there):
            project.store.change_record(entry.id, entry.version, entry.draft(state="rejected"), who)
            doubled += 1
    terms = joined_terms(_terms_in(project.inside), report.facts)
    write_files(metadata.encode_terms(terms, project.inside), project.inside)
    report_dataset_fields(report, images, Policy(facts=report.facts), (CLASSES,), ("color",))
    return ImportedMasks(new, same, strange, tuple(report.lines()), stacks, doubled)


def project_terms(project: Project) -> SetFacts:
    """Terms of a project: those of imported sets, and of a file `terms.jsonl` beside the images.

    Raises DataError for an invalid file.
    """
    return joined_terms(_terms_in(project.inside), _terms_in(project.folder))


def _terms_in(folder: Path) -> SetFacts:
    facts = SetFacts()
    metadata.add_terms(folder, facts)
    return facts


def joined_terms(first: SetFacts, second: SetFacts) -> SetFacts:
    """Terms of both: all licences and restrictions, and all texts of the other keys."""
    licences = [{k: v for k, v in licence.items() if k != "id"} for licence in first.licences]
    for entry in second.licences:
        licence = {k: v for k, v in entry.items() if k != "id"}
        if licence not in licences:
            licences.append(licence)
    info: dict[str, object] = {}
    for key in metadata.TERMS:
        values = [facts.info[key] for facts in (first, second) if facts.info.get(key)]
        if key == "restrictions":
            words = [
                word for facts in (first, second) for word in metadata.restrictions_of(facts.info)
            ]
            values = [list(dict.fromkeys(words))] if words else []
        elif len(values) == 2 and values[0] != values[1]:
            texts = [text for value in values for text in str(value).split("; ")]
            values = ["; ".join(dict.fromkeys(texts))]
        if values:
            info[key] = values[0]
    return SetFacts(info, [{"id": n, **licence} for n, licence in enumerate(licences, start=1)])


def _page_of(image: Path, page: int | str | None) -> tuple[int, bool]:
    """Page index of the masks, and whether a stack got the default page.

    Raises InputError if the page does not exist, ImageError.
    """
    if image.suffix.lower() not in (*TIFF, *MICROSCOPES) or not image.is_file():
        return 0, False
    planes = read_planes(image)
    if page is None or planes.pages.count == 1:
        return 0, len(planes.places) > 1
    number = resolve_position(image, page)[0] if isinstance(page, str) else page
    if not 0 <= number < planes.pages.count:
        raise InputError(
            f"Page {number} is out of range: {image.name} has pages 0 to {planes.pages.count - 1}."
        )
    return planes.place_of(number), False


def _without_known(
    masks: Sequence[Mask], entries: Sequence[StoredMask], proposals: bool
) -> list[Mask]:
    """Masks that match no accepted entry, and if imported as proposals, no proposed entry."""
    kept = [
        entry
        for entry in entries
        if entry.state == "accepted" or (proposals and entry.state == "proposed")
    ]
    if not masks or not kept:
        return list(masks)
    table = rle_iou([mask.rle for mask in masks], [entry.rle for entry in kept])
    fresh = []
    for mask, ious in zip(masks, table, strict=True):
        nameless = mask.label in NAMELESS
        for entry, iou in zip(kept, ious, strict=True):
            comparable = nameless or entry.state == "accepted" or entry.label not in NAMELESS
            if proposals and comparable and iou >= KNOWN_IOU:
                break
            if _is_alike(mask.rle, entry.rle, iou) and (nameless or mask.label == entry.label):
                break
        else:
            fresh.append(mask)
    return fresh


def _shown_by(masks: Sequence[Mask], entries: Sequence[StoredMask]) -> list[StoredMask]:
    """Proposals among the entries that duplicate one of the masks."""
    proposed = [entry for entry in entries if entry.state == "proposed"]
    if not masks or not proposed:
        return []
    table = rle_iou([entry.rle for entry in proposed], [mask.rle for mask in masks])
    return [entry for entry, best in zip(proposed, table.max(1), strict=True) if best >= KNOWN_IOU]


def _is_alike(first: Rle, second: Rle, iou: float) -> bool:
    """Whether two masks are equal, allowing for a smoothed outline of a small mask."""
    if iou >= EQUAL_MASK_IOU or iou < NEARLY:
        return iou >= EQUAL_MASK_IOU
    differing = (rle_area(first) + rle_area(second)) * (1 - iou) / (1 + iou)
    mask = np.pad(rle_crop(second)[0], 1)
    inside = mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    edge = rle_area(second) - np.count_nonzero(mask[1:-1, 1:-1] & inside)
    return bool(differing <= SHIFT * edge)


def annotated_images(project: Project, *, proposals: bool = False) -> list[AnnotatedImage]:
    """Images or pages with their accepted masks, optionally with proposals.

    Images labeled by two annotators contain the masks of one of them.
    """
    requested: tuple[State, ...] = ("accepted", "proposed") if proposals else ("accepted",)
    by_image: dict[int, list[StoredMask]] = {}
    for entry in project.store.records(states=requested):
        by_image.setdefault(entry.image_id, []).append(entry)
    every = project.settings.double_every
    return [
        AnnotatedImage(
            file_name=name, hw=image.hw, masks=Masks(entry.to_mask() for entry in entries)
        )
        for image in project.store.all_images()
        for name, entries in _pages(image, _once(every, image.id, by_image.get(image.id, [])))
    ]


def _pages(image: ImageEntry, entries: list[StoredMask]) -> Iterator[tuple[str, list[StoredMask]]]:
    """Yield the image, or each page with masks if there are masks beyond the first page."""
    pages = sorted({entry.page for entry in entries})
    if not any(pages):
        yield image.name, entries
        return
    for page in pages:
        yield page_name(image.name, page), _on_page(entries, page)


def _on_page(entries: Sequence[StoredMask], page: int) -> list[StoredMask]:
    return [entry for entry in entries if entry.page == page]


def image_name(name: str) -> str:
    """Image name of a page name or image name."""
    split = split_page_name(name)
    return split[0] if split else name


def source_of(project: Project, name: str) -> tuple[Path, int | None]:
    """File of an image or page name, and the page number or None. Raises NotFoundError."""
    split = split_page_name(name)
    if split is None or (project.folder / name).is_file():
        return project.file(name), None
    return project.file(split[0]), split[1]


def _once(every: int, image_id: int, entries: list[StoredMask]) -> list[StoredMask]:
    people = [entry.author for entry in entries if entry.provenance.kind == "human"]
    if not every or image_id % every or len(set(people)) < 2:
        return entries
    return [e for e in entries if e.author == people[0] or e.provenance.kind != "human"]


def _by_name(images: Iterable[ImageEntry]) -> dict[str, ImageEntry]:
    """Index images by name, and by unambiguous path suffix and stem."""
    by_name: dict[str, ImageEntry] = {}
    ends: dict[str, list[ImageEntry]] = {}
    for image in images:
        by_name[image.name] = image
        for end in (*name_suffixes(image.name), Path(image.name).stem):
            ends.setdefault(end, []).append(image)
    return {end: few[0] for end, few in ends.items() if len(few) == 1} | by_name


def _image_of(name: str, known: dict[str, ImageEntry]) -> tuple[ImageEntry | None, int]:
    """Image and page number of a file name."""
    pixels, page = known.get(name), split_page_name(name)
    if pixels is None and page and (pixels := known.get(page[0])):
        return pixels, page[1]
    stem, uploaded = Path(name).stem, uploaded_name(Path(name).name)
    ends = (known.get(end) for end in (*name_suffixes(name), stem, uploaded))
    return pixels or next((image for image in ends if image is not None), None), 0


def _imported(mask: Mask, source: str, proposals: bool, page: int) -> Draft:
    text = f"{rle_to_string(mask.rle)} {mask.label}{f' {page}' if page else ''}"
    level = mask.extra.get("z_order")
    return Draft(
        rle=mask.rle,
        label=mask.label,
        state="proposed" if proposals else "accepted",
        score=mask.score or None,
        stability=mask.stability,
        client_id=f"{source[-300:]}:{hashlib.sha256(text.encode()).hexdigest()[:16]}",
        page=page,
        provenance=Provenance.of(mask.origin, kind="import", source=source),
        notes=MaskNotes(level=min(max(level, -MAX_LEVEL), MAX_LEVEL) if type(level) is int else 0),
    )


def propose_tracks(
    project: Project, model: Model, progress: OnProgress = lambda done, total: None
) -> Iterator[str]:
    """Propose tracks of all objects in each video of the folder that has no tracks.

    Yields a message for each finished video. An interrupted video is resumed from a session file
    in the `.anymask` folder. Raises as `propose_masklets`.
    """
    from anymask.track import open_session, propose_masklets, tracking_model

    who = f"model {model.name}"
    for name in project.new_videos():
        import_clip(project, name, None, label=None, who=who)
    for clip in project.tracks.clips():
        path = project.inside / f"clip-{clip.id}.session"
        if (clip.tracks + clip.rejected and not path.is_file()) or path.is_symlink():
            continue
        with open_session(tracking_model(model), project.file(clip.name), session=path) as session:
            report = propose_masklets(session, model, progress=progress)
        there = {track.object for track in project.tracks.tracks(clip.id)}
        import_clip(project, clip.name, path, label=None, who=who, skipped=there)
        path.unlink()
        yield f"{clip.name}: {report}"


def import_clip(
    project: Project,
    video: str,
    session: Path | None,
    *,
    label: str | None,
    who: str,
    skipped: Collection[int] = (),
) -> None:
    """Add a video of the project folder, and the objects of a session file as proposals.

    Raises NotFoundError if the video does not exist, InputError if the session does not match,
    Conflict if the video of the clip was replaced or the objects already exist.

    Args:
        session: File of `anymask track VIDEO --session`, with every frame.
        label: Class of its objects.
        skipped: Numbers of objects that are not added.
    """
    from anymask.studio.image_files import clip_of_file
    from anymask.track import FrameSampling, SessionStore, check_same_video, open_source

    clip = clip_of_file(project, video)
    if session is None:
        return
    if not session.is_file():
        raise InputError(f"{session} does not exist. Run: anymask track VIDEO --session {session}")
    with (
        closing(open_source(project.file(video))) as source,
        closing(SessionStore(session)) as store,
    ):
        check_same_video(store, source, FrameSampling())
        tracks: dict[int, list[TrackMask]] = {number: [] for number in store.objects()}
        for frame in store.frames():
            for number, mask in store.masks(frame).items():
                shared = {field.name: getattr(mask, field.name) for field in fields(TrackMask)[1:]}
                tracks[number].append(TrackMask(frame=frame, **shared))
        origin = Provenance(kind="model", model=store.about("tracker"), tool="track")
    for number, masks in tracks.items():
        if number in skipped:
            continue
        project.tracks.add_track(
            clip.id, TrackDraft(object=number, masks=masks, label=label, provenance=origin), who
        )
