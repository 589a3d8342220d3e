"""Review: masks in; the next one to look at, verdicts and acceptance of batches out.

The queue takes a proposal that the model is least sure of and one at random in turns; what people
made or accepted comes last. Only the random ones say how good the batch is: the others are worse by
choice. How good a mask is is its overlap
with itself after review: 1 where it was accepted, the IoU of before and after where it was fixed, 0
where it was rejected (Segment Anything, section 5, compares automatic masks with corrected ones).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any, get_args

from sqlalchemy import case, exists, func, select
from sqlalchemy.orm import Session

from anymask.base import Conflict, InputError, NotFoundError
from anymask.masks import Rle, rle_area, rle_iou
from anymask.studio.database import reading, writing
from anymask.studio.entries import StoredMask, Verdict, Why, one_of
from anymask.studio.rows import (
    image_row,
    mask_of,
    record_row,
    remember,
    restore_row,
)
from anymask.studio.stages import ProjectSettings
from anymask.studio.store import Store
from anymask.studio.tables import ImageRow, RecordRow, VerdictRow, VersionRow

SAME = 0.5  # IoU from which two annotators mean the same object


@dataclass(frozen=True)
class ReviewItem:
    """A mask to look at, and why."""

    entry: StoredMask
    why: Why


@dataclass(frozen=True)
class GivenVerdict:
    """One verdict."""

    record_id: int
    who: str
    verdict: Verdict
    why: Why
    agreed: float
    seconds: float


def next_asked(store: Store) -> ReviewItem | None:
    """The mask that should be looked at next; None when all have been."""
    with reading(store.database) as session:
        by_chance = func.coalesce(func.sum(case((VerdictRow.why == "random", 1), else_=0)), 0)
        count, random = session.execute(select(func.count(), by_chance)).one()
        if random <= count / 2:
            found = _first(session, RecordRow.draw, RecordRow.status == "proposal")
            if found is not None:
                return ReviewItem(found, "random")
        for status in ("proposal", "accepted"):  # what a person made comes last
            found = _first(session, RecordRow.quality.nulls_last(), RecordRow.status == status)
            if found is not None:
                return ReviewItem(found, "uncertain")
    return None


def asked_about(store: Store, record_id: int) -> ReviewItem:
    """Any mask as a `ReviewItem`, by chance where its draw is next. Raises NotFoundError.

    What somebody picked for another reason says nothing about the rest of its batch.
    """
    entry = store.record(record_id)
    with reading(store.database) as session:
        drawn = _first(session, RecordRow.draw, RecordRow.status == "proposal")
    is_next = drawn is not None and drawn.id == record_id
    return ReviewItem(entry, "random" if is_next else "uncertain")


def _first(session: Session, order: Any, *conditions: Any) -> StoredMask | None:
    """Of the masks that nobody has looked at, the one with the least `order`."""
    query = (
        select(RecordRow, ImageRow)
        .join(ImageRow, ImageRow.id == RecordRow.image_id)
        .where(
            RecordRow.deleted.is_(False),
            RecordRow.status.in_(("proposal", "accepted")),
            ~exists().where(VerdictRow.record_id == RecordRow.id),
            *conditions,
        )
        .order_by(order, RecordRow.id)
        .limit(1)
    )
    found = session.execute(query).first()
    return None if found is None else mask_of(*found)


def give_verdict(
    store: Store,
    asked: ReviewItem,
    verdict: Verdict,
    who: str,
    *,
    rle: Rle | None = None,
    seconds: float = 0.0,
    told: bool = False,
) -> StoredMask:
    """Write down what somebody says of a mask, and carry it out.

    rle   the better mask, for the verdict "fix"
    told  other events tell the seconds (`Store.add_records`)

    Raises InputError for a fix without a mask, Conflict where the mask has changed since.
    """
    one_of("verdict", verdict, get_args(Verdict))
    if (verdict == "fix") != (rle is not None):
        raise InputError(
            f"the verdict 'fix' comes with the better mask (rle), the others without; got "
            f"{verdict!r} {'with' if rle is not None else 'without'} one"
        )
    entry, agreed = asked.entry, {"accept": 1.0, "reject": 0.0}.get(verdict, 0.0)
    draft = entry.draft(status="rejected" if verdict == "reject" else "accepted", seconds=seconds)
    if rle is not None:
        if rle.size != entry.rle.size:
            raise InputError(f"the mask must be of (H, W) = {entry.rle.size}, got {rle.size}")
        agreed = float(rle_iou([rle], [entry.rle])[0, 0])
        origin = replace(entry.provenance, kind="human", tool="review")
        draft = replace(draft, rle=rle, provenance=origin, quality=None, stability=None)
    row = VerdictRow(
        record_id=entry.id, who=who, at=store.clock(), verdict=verdict, why=asked.why,
        agreed=agreed, seconds=seconds, version=entry.version,
    )  # fmt: skip
    return store.change_record(entry.id, entry.version, draft, who, beside=[row], told=told)


def all_verdicts(store: Store) -> list[GivenVerdict]:
    """Every verdict, the first one first."""
    with reading(store.database) as session:
        rows = session.scalars(select(VerdictRow).order_by(VerdictRow.id))
        return [
            GivenVerdict(row.record_id, row.who, row.verdict, row.why, row.agreed, row.seconds)  # type: ignore[arg-type]  # checked on their way in
            for row in rows
        ]


def take_back_verdict(store: Store, record_id: int, who: str) -> StoredMask:
    """Undo the last verdict on a mask: it is as it was before, and will be asked about again.

    Its seconds stay spent. Raises NotFoundError without a verdict, Conflict where the mask has
    changed since.
    """
    with writing(store.database) as session:
        row = record_row(session, record_id, lock=True)
        image = image_row(session, row.image_id)
        query = select(VerdictRow).where(VerdictRow.record_id == record_id)
        verdict = session.scalars(query.order_by(VerdictRow.id.desc())).first()
        if verdict is None:
            raise NotFoundError(f"nobody has judged record {record_id}")
        if row.version != verdict.version + 1:
            raise Conflict(
                f"record {record_id} has changed since the verdict; judge it again",
                mask_of(row, image),
            )
        old = select(VersionRow).where(
            VersionRow.record_id == record_id, VersionRow.version == verdict.version
        )
        restore_row(row, session.scalars(old).one(), who, store.clock())
        session.delete(verdict)
        remember(session, row, "verdict taken back", 0.0)
        return mask_of(row, image)


# The acceptance rule.


@dataclass(frozen=True, kw_only=True)
class BatchState:
    """How a batch of photos stands.

    masks     proposals, and masks that were some before somebody accepted or judged them
    open      of them, proposals still
    sampled   of them, looked at by chance
    doubtful  of them, looked at because the model was unsure: they say nothing of the rest
    needed    samples before the rule can say anything
    good      share of the sample that was good enough, and its 95 % interval (Wilson)
    mean_iou  of the sampled masks, before and after review
    met       whether the rule allows the batch to leave
    """

    batch: int
    masks: int
    open: int
    sampled: int
    doubtful: int
    needed: int
    good: float
    low: float
    high: float
    mean_iou: float
    met: bool

    def to_json(self) -> dict[str, Any]:
        """NaN, which JSON has not, becomes null."""
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in asdict(self).items()
        }


def batch_states(store: Store, settings: ProjectSettings) -> list[BatchState]:
    """Every batch that has masks, by the rule of the settings."""
    verdicts: dict[int, list[GivenVerdict]] = defaultdict(list)
    for one in all_verdicts(store):
        verdicts[one.record_id].append(one)
    members: dict[int, list[StoredMask]] = defaultdict(list)
    for entry in store.records():
        judged = entry.id in verdicts
        open_or_model = entry.status == "proposal" or entry.provenance.kind == "model"
        if judged or (entry.status != "rejected" and open_or_model):
            members[(entry.image_id - 1) // settings.batch].append(entry)
    return [_state(number, members[number], verdicts, settings) for number in sorted(members)]


def _state(
    number: int,
    entries: list[StoredMask],
    verdicts: dict[int, list[GivenVerdict]],
    settings: ProjectSettings,
) -> BatchState:
    firsts = [verdicts[entry.id][0] for entry in entries if entry.id in verdicts]
    ious = [one.agreed for one in firsts if one.why == "random"]
    looked_at_all = len(firsts) == len(entries)
    if looked_at_all:  # then nothing was chosen, and all of them count
        ious = [one.agreed for one in firsts]
    good = sum(iou >= settings.good_iou for iou in ious)
    low, high = wilson(good, len(ious))
    left = sum(entry.status == "proposal" for entry in entries)
    needed = min(settings.sample, len(ious) + left)
    share = good / len(ious) if ious else math.nan
    enough = len(ious) >= needed or looked_at_all
    return BatchState(
        batch=number + 1,
        masks=len(entries),
        open=left,
        sampled=len(ious),
        doubtful=len(firsts) - len(ious),
        needed=needed,
        good=share,
        low=low,
        high=high,
        mean_iou=sum(ious) / len(ious) if ious else math.nan,
        met=bool(ious) and enough and share >= settings.good_share,
    )


def wilson(good: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927); NaN where nothing was counted."""
    if not count:
        return math.nan, math.nan
    z, share = 1.959964, good / count
    middle = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return (middle - half) / scale, (middle + half) / scale


# Agreement between annotators.


@dataclass(frozen=True)
class Agreement:
    """Two annotators on the photos that both have labelled.

    pairs    masks that both have drawn
    alone    masks that only one of them has
    iou      mean overlap of the pairs
    """

    first: str
    second: str
    images: int
    pairs: int
    alone: int
    iou: float


def agreements(entries: Iterable[StoredMask]) -> list[Agreement]:
    """How far every two annotators agree, by their accepted masks."""
    by_page: dict[tuple[int, int], dict[str, list[Rle]]] = defaultdict(lambda: defaultdict(list))
    for entry in entries:
        if entry.status == "accepted" and entry.provenance.kind == "human" and rle_area(entry.rle):
            by_page[entry.image_id, entry.page][entry.who].append(entry.rle)
    found: dict[tuple[str, str], list[tuple[list[float], int]]] = defaultdict(list)
    for people in by_page.values():
        for first, second in combinations(sorted(people), 2):
            found[first, second].append(_pairs(people[first], people[second]))
    rows = []
    for (first, second), images in sorted(found.items()):
        ious = [iou for pairs, _ in images for iou in pairs]
        alone = sum(left for _, left in images)
        mean = sum(ious) / len(ious) if ious else math.nan
        rows.append(Agreement(first, second, len(images), len(ious), alone, mean))
    return rows


def _pairs(first: Sequence[Rle], second: Sequence[Rle]) -> tuple[list[float], int]:
    """IoU of the masks that belong together, the best first, and how many stay alone."""
    table = rle_iou(first, second)
    ious: list[float] = []
    while table.size and table.max() >= SAME:
        row, column = divmod(int(table.argmax()), table.shape[1])
        ious.append(float(table[row, column]))
        table[row, :] = table[:, column] = -1
    return ious, len(first) + len(second) - 2 * len(ious)
