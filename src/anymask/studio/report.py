"""Project report: masks, annotation time, acceptance and coverage.

Times are seconds that people spent on a mask, including review.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Text, func, select, type_coerce

from anymask.base import DataError, IntArray, StoreError, brief
from anymask.evaluation import Report, Section, TextTable, page
from anymask.masks import union_areas
from anymask.studio.database import reading
from anymask.studio.proposals import ProjectSettings
from anymask.studio.review import (
    Agreement,
    BatchState,
    DrawnMask,
    all_verdicts,
    compare_annotators,
    judged_batches,
)
from anymask.studio.store import Store
from anymask.studio.tables import KIND, STAGE, ImageRow, RecordRow, TrackRow, mask_of_text
from anymask.studio.tracks import Tracks

Row = dict[str, Any]


@dataclass(frozen=True)
class Pace:
    """The time per mask in one stage; None without accepted masks or without recorded times."""

    stage: str
    masks: int
    images: int
    seconds: float
    seconds_a_mask: float | None
    masks_an_hour: float | None


@dataclass(frozen=True)
class NameCount:
    """The masks and images of one class or one group of images."""

    name: str
    masks: int
    images: int
    pixels: float  # Share of the pixels of these images that the masks cover


@dataclass(frozen=True)
class ClipShare:
    """The tracks of one clip."""

    name: str
    frames: int | None  # Number of frames; None if unknown
    proposals: int
    accepted: int
    rejected: int
    doubtful: int  # Number of low-confidence frames of tracks that are not reviewed
    seconds: float  # Time that people spent on the tracks
    seconds_a_track: float | None  # Time per accepted track; None without one


@brief
@dataclass(frozen=True, kw_only=True)
class Figures:
    """The report of `anymask project report`. Values that were not measured are null.

    Dictionaries count masks, images, tracks or verdicts by status or verdict.
    """

    name: str
    images: dict[str, int]
    masks: dict[str, int]
    paces: tuple[Pace, ...]
    verdicts: dict[str, int]
    batches: tuple[BatchState, ...]
    agreements: tuple[Agreement, ...]
    labels: tuple[NameCount, ...]
    groups: tuple[NameCount, ...]
    clips: tuple[ClipShare, ...]
    tracks: dict[str, int]
    track_verdicts: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON."""
        return asdict(self)


class _CountedMask(NamedTuple):
    """Columns of a mask that are counted; faster than `StoredMask` for large projects."""

    id: int
    image_id: int
    page: int
    state: str
    label: str | None
    author: str
    seconds: float
    kind: str
    stage: str | None
    rle: str  # Text as stored by `tables.RleColumn`
    pixels: int
    group: str | None


_ROW_QUERY = (
    select(
        RecordRow.id, RecordRow.image_id, RecordRow.page, RecordRow.state, RecordRow.label,
        RecordRow.author, RecordRow.seconds, KIND, STAGE, type_coerce(RecordRow.rle, Text),
        ImageRow.height * ImageRow.width, ImageRow.group_name,
    )
    .join(ImageRow, ImageRow.id == RecordRow.image_id)
    .where(RecordRow.deleted.is_(False))
)  # fmt: skip


def measure(store: Store, settings: ProjectSettings, name: str) -> Figures:
    """Compute the report of a project."""
    tracks = Tracks(store.database)
    clips = _clip_shares(tracks)
    states = {
        "accepted": sum(clip.accepted for clip in clips),
        "proposed": sum(clip.proposals for clip in clips),
        "rejected": sum(clip.rejected for clip in clips),
    }
    verdicts = all_verdicts(store)
    with reading(store.database) as session:
        query = select(ImageRow.status, func.count()).group_by(ImageRow.status)
        images = {row[0]: row[1] for row in session.execute(query.order_by(ImageRow.status))}
        # Three times as fast as by the session
        masks = [_CountedMask._make(row) for row in session.connection().execute(_ROW_QUERY).all()]
    kept = sorted(
        (mask for mask in masks if mask.state != "rejected"), key=attrgetter("image_id", "page")
    )
    labels, groups = _name_counts(
        kept,
        [mask.label or "(no label)" for mask in kept],
        [mask.group or "(no group)" for mask in kept],
    )
    return Figures(
        name=name,
        images=images,
        masks=_counted(mask.state for mask in masks),
        paces=tuple(_paces(masks)),
        verdicts=_counted(verdict.verdict for verdict in verdicts),
        batches=tuple(
            judged_batches(
                map(attrgetter("id", "image_id", "state", "kind"), masks), verdicts, settings
            )
        ),
        agreements=tuple(compare_annotators(_labeled_twice(masks))),
        labels=tuple(labels),
        groups=tuple(groups),
        clips=tuple(clips),
        tracks={state: count for state, count in states.items() if count},
        track_verdicts=_counted(verdict.verdict for verdict in tracks.verdicts()),
    )


def _counted(words: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(words).items()))


def _paces(masks: Sequence[_CountedMask]) -> list[Pace]:
    """One row per stage. Rejected masks count only with their time."""
    by_stage: dict[str, list[_CountedMask]] = defaultdict(list)
    for mask in masks:
        by_stage[mask.stage or "import"].append(mask)
    rows = []
    for stage, members in sorted(by_stage.items()):
        good = sum(mask.state == "accepted" for mask in members)
        seconds = sum(mask.seconds for mask in members)
        each = seconds / good if good else None
        images = len({mask.image_id for mask in members})
        rows.append(Pace(stage, good, images, seconds, each, 3600 / each if each else None))
    return rows


def _name_counts(masks: Sequence[_CountedMask], *names: Sequence[str]) -> list[list[NameCount]]:
    """Count masks, images and covered pixels of each name, for each list of names of the masks.

    Args:
        masks: Masks ordered by image and page.

    Raises:
        StoreError: The run-lengths of a mask are corrupted.
    """
    texts = [str(mask.rle).partition(" ")[2] for mask in masks]
    image, page, pixels = (
        np.array([(mask.image_id, mask.page, mask.pixels) for mask in masks], np.int64)
        .reshape(-1, 3)
        .T
    )
    pages = np.cumsum((np.diff(image, prepend=0) != 0) | (np.diff(page, prepend=0) != 0))
    # For each list: unique names; index (N,) of each mask in them; masks with the same name on the
    # same page are a group: index (G,) of its first mask, and group (N,) of each mask
    groupings = list[tuple[list[str], IntArray, IntArray, IntArray]]()
    for listing in names:
        known: dict[str, int] = {}
        codes = np.array([known.setdefault(name, len(known)) for name in listing], np.int64)
        keys = pages * max(1, len(known)) + codes
        _, firsts, numbers = np.unique(keys, return_index=True, return_inverse=True)
        groupings.append((list(known), codes, firsts, numbers))
    try:
        areas = union_areas(texts, pixels, pages, *(numbers for *_, numbers in groupings))
    except DataError as error:
        raise StoreError(f"The database is corrupted: {error}. Restore a backup.") from error
    counts = []
    for (unique, codes, firsts, _), covered in zip(groupings, areas, strict=True):
        count = len(unique)
        pairs = np.unique(image * max(1, count) + codes)
        owners = codes[firsts]
        size = np.bincount(owners, pixels[firsts], count)
        columns = (
            np.bincount(codes, minlength=count),
            np.bincount(pairs % max(1, count), minlength=count),
            np.bincount(owners, covered, count) / np.maximum(1, size),
        )
        rows = zip(unique, *(column.tolist() for column in columns), strict=True)
        shares = (NameCount(*row) for row in rows)
        counts.append(sorted(shares, key=lambda share: (-share.masks, share.name)))
    return counts


def _labeled_twice(masks: Iterable[_CountedMask]) -> Iterator[DrawnMask]:
    """Masks drawn by people on images that at least two of them have annotated."""
    people: dict[int, dict[str, list[_CountedMask]]] = defaultdict(lambda: defaultdict(list))
    for mask in masks:
        if mask.state == "accepted" and mask.kind == "human":
            people[mask.image_id][mask.author].append(mask)
    for drawn in people.values():
        for mask in chain(*drawn.values()) if len(drawn) > 1 else ():
            yield mask.image_id, mask.page, mask.author, mask_of_text(mask.rle)


def _clip_shares(tracks: Tracks) -> list[ClipShare]:
    """One row per clip, by clip ID."""
    doubtful: Counter[int] = Counter()
    seconds: dict[int, float] = defaultdict(float)
    query = select(TrackRow.clip_id, TrackRow.state, TrackRow.doubtful, TrackRow.seconds)
    with reading(tracks.database) as session:
        for clip_id, state, frames, spent in session.execute(query):
            doubtful[clip_id] += frames if state == "proposed" else 0
            seconds[clip_id] += spent
    return [
        ClipShare(
            clip.name, clip.frames, clip.proposals, clip.accepted, clip.rejected,
            doubtful[clip.id], seconds[clip.id],
            seconds[clip.id] / clip.accepted if clip.accepted else None,
        )
        for clip in tracks.clips()
    ]  # fmt: skip


# Report.


def to_report(figures: Figures, rounds: Sequence[Row] = ()) -> Report:
    """Build a report with tables, plots and data.

    Args:
        rounds: Training rounds from `Project.rounds`.
    """

    def counts_text(counts: dict[str, int]) -> str:
        return ", ".join(f"{count} {word}" for word, count in counts.items()) or "none"

    about = f"images: {counts_text(figures.images)}; masks: {counts_text(figures.masks)}"
    if figures.clips:
        about += f"; clips: {len(figures.clips)}; tracks: {counts_text(figures.tracks)}"
    tables: list[tuple[str, list[Row]]] = [
        ("Pace", [
            {"stage": p.stage, "masks": p.masks, "images": p.images,
             "seconds per mask": _number(p.seconds_a_mask),
             "masks per hour": _number(p.masks_an_hour)}
            for p in figures.paces
        ]),
        ("Batches", [
            {"batch": b.batch, "masks": b.masks, "sampled": f"{b.sampled}/{b.needed}",
             "good": _percent(b.good), "rule met": "yes" if b.met else "no"}
            for b in figures.batches
        ]),
        ("Agreement", [
            {"annotators": f"{a.first}, {a.second}", "images": a.images, "matched masks": a.pairs,
             "masks of one annotator only": a.alone, "IoU": _number(a.iou, 3)}
            for a in figures.agreements
        ]),
        *((title, [
            {"name": s.name, "masks": s.masks, "images": s.images,
             "share of image pixels": _percent(s.pixels)}
            for s in shares
        ]) for title, shares in (("Labels", figures.labels), ("Groups", figures.groups))),
        ("Clips", [
            {"clip": c.name, "frames": "-" if c.frames is None else c.frames,
             "accepted": c.accepted, "proposed": c.proposals, "rejected": c.rejected,
             "frames to review": c.doubtful, "seconds per track": _number(c.seconds_a_track)}
            for c in figures.clips
        ]),
        ("Training rounds", [
            {"round": row["round"], "masks": row["train_masks"], "before": f"{row['before']:.3f}",
             "after": f"{row['after']:.3f}", "gain": f"{row['gain']:+.3f}",
             "95 %": f"{row['low']:+.3f} to {row['high']:+.3f}",
             "promoted": "yes" if row["promoted"] else "no"}
            for row in rounds
        ]),
    ]  # fmt: skip
    sections = [Section(plots=_plots(figures, rounds))]
    for title, rows in tables:
        cells = [[str(value) for value in row.values()] for row in rows]
        if rows:
            sections.append(Section(title=title, tables=[TextTable(list(rows[0]), cells)]))
    data = figures.to_json() | {"rounds": list(rounds)}
    return Report(title=figures.name, about=about, sections=sections, data=data)


def _plots(figures: Figures, rounds: Sequence[Row]) -> list[tuple[str, str]]:
    """Plots as (title, SVG). Plots without data to compare are omitted."""
    plots = []
    measured = {pace.stage: pace.seconds_a_mask for pace in figures.paces if pace.seconds_a_mask}
    if measured:
        slowest = max(measured.values())
        names = [f"{stage} {seconds:.1f} s" for stage, seconds in measured.items()]
        series = [page.Series("seconds per mask", np.array(list(measured.values())) / slowest)]
        plots.append(
            (
                "Time",
                page.bar_plot(names, series, "seconds per mask, relative to the slowest stage"),
            )
        )
    if rounds:
        x = np.array([float(row["round"]) for row in rounds])
        curves = [
            page.Points(name, x, np.array([float(row[key]) for row in rounds]))
            for name, key in (("previous model", "before"), ("new model", "after"))
        ]
        plot = page.curve_plot(curves, "round") + page.legend([curve.name for curve in curves])
        plots.append(("mIoU on held-out images", plot))
    for what, shares in (("labels", figures.labels), ("groups", figures.groups)):
        if len(shares) > 1:
            masks = np.array([float(share.masks) for share in shares])
            series = [page.Series("masks", masks / masks.sum())]
            plot = page.bar_plot([share.name for share in shares], series, what)
            plots.append((f"Masks by {what}", plot))
    return plots


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"
