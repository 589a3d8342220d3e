"""Figures of a project: its store in; masks, seconds a mask, quality, coverage and costs out.

Seconds are those that people spent on a mask, review included, or that the simulated annotator
counted. Letters: none.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select

from anymask.base import InputError
from anymask.evaluation import markdown_table
from anymask.masks import rle_area, rle_merge
from anymask.studio.database import reading
from anymask.studio.entries import ImageEntry, StoredMask
from anymask.studio.review import (
    Agreement,
    BatchState,
    GivenVerdict,
    agreements,
    all_verdicts,
    batch_states,
)
from anymask.studio.stages import ProjectSettings
from anymask.studio.store import Store
from anymask.studio.tables import TrackRow
from anymask.studio.tracks import Tracks

UNNAMED = "(no label)"
UNGROUPED = "(no group)"


@dataclass(frozen=True)
class Pace:
    """Seconds a mask in one stage and arm."""

    stage: str
    arm: str
    masks: int
    images: int
    seconds: float
    seconds_a_mask: float
    masks_an_hour: float


@dataclass(frozen=True)
class Share:
    """How much of the project one label or one group of photos is.

    pixels  part of its photos' pixels that its masks cover
    """

    name: str
    masks: int
    images: int
    pixels: float


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The report of a project.

    saving   seconds a mask of the control arm by those of the model arm; NaN without a control
    verdicts how many there are of each kind
    clips, tracks, track_verdicts  the same of videos
    """

    name: str
    images: dict[str, int]
    masks: dict[str, int]
    paces: tuple[Pace, ...]
    saving: float
    verdicts: dict[str, int]
    batches: tuple[BatchState, ...]
    agreements: tuple[Agreement, ...]
    labels: tuple[Share, ...]
    groups: tuple[Share, ...]
    clips: tuple[ClipShare, ...]
    tracks: dict[str, int]
    track_verdicts: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON; NaN becomes null."""
        plain: dict[str, Any] = _without_nan(asdict(self))
        return plain


def measure(store: Store, settings: ProjectSettings, name: str) -> Figures:
    """Count everything."""
    images, entries = list(store.all_images()), store.records()
    verdicts = all_verdicts(store)
    paces = _paces(entries, verdicts)
    tracks = Tracks(store.database)
    clips = clip_shares(tracks)
    seconds = {pace.arm: pace.seconds_a_mask for pace in paces if pace.stage == "assisted"}
    return Figures(
        name=name,
        images=_counted(image.status for image in images),
        masks=_counted(entry.status for entry in entries),
        paces=tuple(paces),
        saving=_ratio(seconds.get("control", math.nan), seconds.get("model", math.nan)),
        verdicts=_counted(one.verdict for one in verdicts),
        batches=tuple(batch_states(store, settings)),
        agreements=tuple(agreements(entries)),
        labels=tuple(_shares(images, entries, by_label=True)),
        groups=tuple(_shares(images, entries, by_label=False)),
        clips=tuple(clips),
        tracks=track_counts(clips),
        track_verdicts=verdict_counts(tracks),
    )


def _ratio(part: float, whole: float) -> float:
    """NaN where there is nothing to divide by: masks may have cost no seconds."""
    return part / whole if whole else math.nan


def _counted(words: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for word in words:
        counts[word] += 1
    return dict(sorted(counts.items()))


def _paces(entries: Sequence[StoredMask], verdicts: Sequence[GivenVerdict]) -> list[Pace]:
    """A row for each stage and arm; a rejected mask costs its time and counts as none."""
    kept: dict[tuple[str, str], list[StoredMask]] = defaultdict(list)
    for entry in entries:
        kept[entry.provenance.stage or "import", entry.provenance.arm].append(entry)
    rows = []
    for (stage, arm), members in sorted(kept.items()):
        good = [entry for entry in members if entry.status == "accepted"]
        seconds = sum(entry.seconds for entry in members)
        each = seconds / len(good) if good else math.nan
        pace = 3600 / each if good and each else math.nan
        images = len({entry.image_id for entry in members})
        rows.append(Pace(stage, arm, len(good), images, seconds, each, pace))
    return rows


def _shares(
    images: Sequence[ImageEntry], entries: Sequence[StoredMask], *, by_label: bool
) -> list[Share]:
    """By label of the masks, or by group of the photos; most masks first."""
    known = {image.id: image for image in images}
    members: dict[str, dict[tuple[int, int], list[StoredMask]]]
    members = defaultdict(lambda: defaultdict(list))
    for entry in entries:
        if entry.status == "rejected":
            continue
        group = known[entry.image_id].group or UNGROUPED
        share = entry.label or UNNAMED if by_label else group
        members[share][entry.image_id, entry.page].append(entry)
    rows = []
    for name, pages in members.items():
        covered = sum(rle_area(rle_merge([e.rle for e in group])) for group in pages.values())
        pixels = sum(known[number].hw[0] * known[number].hw[1] for number, _ in pages)
        masks, photos = sum(map(len, pages.values())), {number for number, _ in pages}
        rows.append(Share(name, masks, len(photos), covered / max(pixels, 1)))
    return sorted(rows, key=lambda share: (-share.masks, share.name))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# Tables.

Rows = list[list[str]]


def tables(figures: Figures) -> list[tuple[str, list[str], Rows]]:
    """(title, header, rows) of everything that there is to tell."""
    found: list[tuple[str, list[str], Rows]] = [
        (
            "Pace",
            ["stage", "arm", "masks", "images", "seconds a mask", "masks an hour"],
            [
                [p.stage, p.arm, str(p.masks), str(p.images), _number(p.seconds_a_mask),
                 _number(p.masks_an_hour, 0)]
                for p in figures.paces
            ],
        ),
        (
            "Batches",
            ["batch", "masks", "sampled", "good", "95 %", "mean IoU", "may leave"],
            [
                [str(b.batch), str(b.masks), f"{b.sampled}/{b.needed}", _percent(b.good),
                 f"{_percent(b.low)} to {_percent(b.high)}", _number(b.mean_iou, 3),
                 "yes" if b.met else "no"]
                for b in figures.batches
            ],
        ),
        (
            "Agreement",
            ["annotators", "images", "masks of both", "of one alone", "IoU"],
            [
                [f"{a.first}, {a.second}", str(a.images), str(a.pairs), str(a.alone),
                 _number(a.iou, 3)]
                for a in figures.agreements
            ],
        ),
    ]  # fmt: skip
    for title, shares in (("Labels", figures.labels), ("Groups", figures.groups)):
        rows = [[s.name, str(s.masks), str(s.images), _percent(s.pixels)] for s in shares]
        found.append((title, ["name", "masks", "images", "of their pixels"], rows))
    found.append(_clip_table(figures))
    return [table for table in found if table[2]]


def _clip_table(figures: Figures) -> tuple[str, list[str], Rows]:
    header = ["clip", "frames", "accepted", "proposals", "rejected", "frames to look at",
              "seconds a track"]  # fmt: skip
    rows = [
        [c.name, "-" if c.frames is None else str(c.frames), str(c.accepted), str(c.proposals),
         str(c.rejected), str(c.doubtful), _number(c.seconds_a_track)]
        for c in figures.clips
    ]  # fmt: skip
    return "Clips", header, rows


def summary(figures: Figures) -> str:
    """One line."""
    images = ", ".join(f"{count} {word}" for word, count in figures.images.items())
    masks = ", ".join(f"{count} {word}" for word, count in figures.masks.items())
    if figures.clips:
        tracks = ", ".join(f"{count} {word}" for word, count in figures.tracks.items())
        masks = f"{masks or 'none'}; clips: {len(figures.clips)}; tracks: {tracks or 'none'}"
    saving = "" if math.isnan(figures.saving) else f"; the model saves {figures.saving:.1f} times"
    return f"images: {images or 'none'}; masks: {masks or 'none'}{saving}"


def to_markdown(figures: Figures) -> str:
    """The report for people."""
    parts = [f"# {figures.name}\n\n{summary(figures)}\n"]
    for title, header, rows in tables(figures):
        parts.append(f"## {title}\n\n{markdown_table(header, rows)}\n")
    return "\n".join(parts)


def _number(value: float, digits: int = 1) -> str:
    return "-" if not math.isfinite(value) else f"{value:,.{digits}f}"


def _percent(value: float) -> str:
    return "-" if not math.isfinite(value) else f"{100 * value:.0f} %"


# What more would cost.


@dataclass(frozen=True)
class Cost:
    """What labelling so many photos takes in one way."""

    way: str
    seconds_a_mask: float
    masks: int
    hours: float
    money: float


def plan(
    figures: Figures, images: int, rate: float, masks_an_image: float | None = None
) -> list[Cost]:
    """Hours and money for `images` more photos, by every way of working that was measured.

    The automatic stage counts once its batches were accepted: before that nobody knows how many of
    its masks stay.

    rate            money an hour
    masks_an_image  as measured in each way when left out

    Raises InputError where nothing was measured yet.
    """
    rows = []
    for pace in figures.paces:
        open_auto = pace.stage == "auto" and figures.masks.get("proposal", 0) > 0
        if not pace.masks or not pace.seconds or open_auto:
            continue
        each = pace.masks / pace.images if masks_an_image is None else masks_an_image
        hours = images * each * pace.seconds_a_mask / 3600
        way = pace.stage if pace.arm == "model" else f"{pace.stage}, without a model"
        rows.append(Cost(way, pace.seconds_a_mask, round(images * each), hours, hours * rate))
    if not rows:
        raise InputError(
            "nothing was measured yet: no accepted mask has seconds; label or review a few photos "
            "with `anymask annotate`, then plan again"
        )
    return sorted(rows, key=lambda cost: cost.hours)


@dataclass(frozen=True)
class ClipShare:
    """The tracks of one clip.

    frames    None where nobody knows how many
    doubtful  frames that a person should look at, of tracks that nobody has looked at
    seconds   that people spent on its tracks
    seconds_a_track  by those that were accepted; NaN without one
    """

    name: str
    frames: int | None
    proposals: int
    accepted: int
    rejected: int
    doubtful: int
    seconds: float
    seconds_a_track: float


def clip_shares(tracks: Tracks) -> list[ClipShare]:
    """A row for each clip, by their numbers."""
    doubtful: Counter[int] = Counter()
    seconds: dict[int, float] = defaultdict(float)
    query = select(TrackRow.clip_id, TrackRow.status, TrackRow.doubtful, TrackRow.seconds)
    with reading(tracks.database) as session:
        for clip_id, status, frames, spent in session.execute(query):
            doubtful[clip_id] += frames if status == "proposal" else 0
            seconds[clip_id] += spent
    return [
        ClipShare(
            clip.name, clip.frames, clip.proposals, clip.accepted, clip.rejected,
            doubtful[clip.id], seconds[clip.id],
            seconds[clip.id] / clip.accepted if clip.accepted else math.nan,
        )
        for clip in tracks.clips()
    ]  # fmt: skip


def track_counts(clips: Sequence[ClipShare]) -> dict[str, int]:
    """Status -> how many tracks are so, of those that there are."""
    counts = {
        "accepted": sum(clip.accepted for clip in clips),
        "proposal": sum(clip.proposals for clip in clips),
        "rejected": sum(clip.rejected for clip in clips),
    }
    return {status: count for status, count in counts.items() if count}


def verdict_counts(tracks: Tracks) -> dict[str, int]:
    """Verdict -> how many tracks were judged so."""
    return dict(sorted(Counter(one.verdict for one in tracks.verdicts()).items()))
