"""Review of masks: queue, verdicts and acceptance rule.

The queue alternates between the proposal with the lowest score and a random one; masks that people
drew or accepted come last. Only the random sample estimates the quality of a batch, because the
others are biased. The quality of a mask is its IoU with its version after review: 1 if accepted,
the IoU before and after if fixed, 0 if rejected (Segment Anything, section 5, compares automatic
masks with corrected ones).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, get_args

from sqlalchemy import case, exists, func, select
from sqlalchemy.orm import Session

from anymask.base import Conflict, InputError, NotFoundError
from anymask.masks import Rle, rle_area, rle_iou
from anymask.studio.database import reading, writing
from anymask.studio.proposals import ProjectSettings
from anymask.studio.records import StoredMask, Verdict, Why, one_of
from anymask.studio.store import Store
from anymask.studio.tables import (
    KIND,
    RecordRow,
    VerdictRow,
    VersionRow,
    get_row,
    mask_of,
    remember,
    restore_row,
)

DrawnMask = tuple[int, int, str, Rle]  # image, page, annotator, mask
REVIEW_MATCH_IOU = 0.5  # minimum IoU to match masks of two annotators


@dataclass(frozen=True)
class ReviewItem:
    """A mask to review, and the reason."""

    entry: StoredMask
    why: Why


def next_for_review(store: Store) -> ReviewItem | None:
    """Next mask to review; None if all are reviewed."""
    with reading(store.database) as session:
        by_chance = func.coalesce(func.sum(case((VerdictRow.why == "random", 1), else_=0)), 0)
        count, random = session.execute(select(func.count(), by_chance)).one()
        if random <= count / 2:
            mask = _first(session, RecordRow.draw, RecordRow.state == "proposed")
            if mask is not None:
                return ReviewItem(mask, "random")
        for state in ("proposed", "accepted"):  # masks of people come last
            mask = _first(session, RecordRow.score.nulls_last(), RecordRow.state == state)
            if mask is not None:
                return ReviewItem(mask, "uncertain")
    return None


def asked_about(store: Store, record_id: int) -> ReviewItem:
    """Any mask as a `ReviewItem`. It counts as random only if it is next in the random order.

    Masks chosen for other reasons would bias the estimate of the batch. Raises NotFoundError.
    """
    entry = store.record(record_id)
    with reading(store.database) as session:
        drawn = _first(session, RecordRow.draw, RecordRow.state == "proposed")
    is_next = drawn is not None and drawn.id == record_id
    return ReviewItem(entry, "random" if is_next else "uncertain")


def _first(session: Session, order: Any, *conditions: Any) -> StoredMask | None:
    """First unreviewed mask in this order."""
    row = session.scalars(
        select(RecordRow)
        .where(
            RecordRow.deleted.is_(False),
            RecordRow.state.in_(("proposed", "accepted")),
            ~exists().where(VerdictRow.record_id == RecordRow.id),
            *conditions,
        )
        .order_by(order, RecordRow.id)
        .limit(1)
    ).first()
    return None if row is None else mask_of(row)


def give_verdict(
    store: Store,
    item: ReviewItem,
    verdict: Verdict,
    who: str,
    *,
    rle: Rle | None = None,
    seconds: float = 0.0,
    seconds_logged: bool = False,
) -> StoredMask:
    """Store a verdict and apply it to the mask.

    Raises InputError for a fix without a mask, Conflict if the mask has changed since.

    Args:
        rle: Corrected mask for the verdict "fix".
        seconds_logged: Other events contain the seconds (`Store.add_records`).
    """
    one_of("verdict", verdict, get_args(Verdict))
    if (verdict == "fix") != (rle is not None):
        raise InputError(f"Only the verdict 'fix' takes a mask, and requires it: {verdict!r}.")
    entry, agreed = item.entry, float(verdict == "accept")
    draft = entry.draft(state="rejected" if verdict == "reject" else "accepted", seconds=seconds)
    if rle is not None:
        if rle.size != entry.rle.size:
            raise InputError(f"The mask must have the size {entry.rle.size}, not {rle.size}.")
        agreed = float(rle_iou([rle], [entry.rle])[0, 0])
        origin = entry.provenance.model_copy(update={"kind": "human", "tool": "review"})
        draft = replace(draft, rle=rle, provenance=origin, score=None, stability=None)
    row = VerdictRow(
        record_id=entry.id, who=who, at=store.clock(), verdict=verdict, why=item.why,
        agreed=agreed, seconds=seconds, version=entry.version,
    )  # fmt: skip
    return store.change_record(
        entry.id, entry.version, draft, who, beside=[row], seconds_logged=seconds_logged
    )


def all_verdicts(store: Store) -> list[VerdictRow]:
    """All verdicts, oldest first."""
    with reading(store.database) as session:
        return list(session.scalars(select(VerdictRow).order_by(VerdictRow.id)))


def withdraw_verdict(store: Store, record_id: int, who: str) -> StoredMask:
    """Undo the last verdict on a mask, and return it to the queue.

    Its time is kept. Raises NotFoundError without a verdict, Conflict if the mask has changed
    since.
    """
    with writing(store.database) as session:
        row = get_row(session, RecordRow, record_id, lock=True)
        query = select(VerdictRow).where(VerdictRow.record_id == record_id)
        verdict = session.scalars(query.order_by(VerdictRow.id.desc())).first()
        if verdict is None:
            raise NotFoundError(f"Record {record_id} has no review decision.")
        if row.version != verdict.version + 1:
            raise Conflict(f"Record {record_id} was changed. Review it again.", mask_of(row))
        old = select(VersionRow).where(
            VersionRow.record_id == record_id, VersionRow.version == verdict.version
        )
        restore_row(row, session.scalars(old).one(), who, store.clock())
        session.delete(verdict)
        remember(session, row, "verdict taken back", 0.0)
        return mask_of(row)


# The acceptance rule.


@dataclass(frozen=True, kw_only=True)
class BatchState:
    """The review state of a batch of images."""

    batch: int
    masks: int  # Proposals, including accepted and reviewed ones
    open: int  # Proposals that are neither accepted nor reviewed
    sampled: int  # Reviewed masks of the random sample
    doubtful: int  # Masks reviewed because of low confidence, which are not part of the sample
    needed: int  # Number of sampled masks that must be reviewed
    good: float | None  # Share of good masks in the sample, 0 to 1; None without a sample
    met: bool  # Whether the batch meets the acceptance rule


def batch_states(store: Store, settings: ProjectSettings) -> list[BatchState]:
    """State of every batch with masks under the acceptance rule."""
    query = select(RecordRow.id, RecordRow.image_id, RecordRow.state, KIND)
    query = query.where(RecordRow.deleted.is_(False))
    with reading(store.database) as session:
        return judged_batches(session.execute(query), all_verdicts(store), settings)


def judged_batches(
    masks: Iterable[Sequence[Any]], verdicts: Iterable[VerdictRow], settings: ProjectSettings
) -> list[BatchState]:
    """Like `batch_states`, for masks that were already read.

    Args:
        masks: ID, image, state and kind of each mask.
        verdicts: Verdicts, oldest first.
        settings: Batch size and acceptance rule.
    """
    firsts: dict[int, VerdictRow] = {}
    for verdict in verdicts:
        firsts.setdefault(verdict.record_id, verdict)
    members: dict[int, list[tuple[int, str]]] = defaultdict(list)  # ID and state of each mask
    for number, image, state, kind in masks:
        by_model = state == "proposed" or (state != "rejected" and kind == "model")
        if by_model or number in firsts:
            members[(image - 1) // settings.batch].append((number, state))
    states = []
    for number, entries in sorted(members.items()):
        looked_at = [firsts[mask] for mask, _ in entries if mask in firsts]
        everything = len(looked_at) == len(entries)  # a complete review is unbiased, so all count
        ious = [verdict.agreed for verdict in looked_at if everything or verdict.why == "random"]
        left = sum(state == "proposed" for _, state in entries)
        needed = min(settings.sample, len(ious) + left)
        good = sum(iou >= settings.good_iou for iou in ious) / len(ious) if ious else None
        enough = everything or len(ious) >= needed
        states.append(
            BatchState(
                batch=number + 1, masks=len(entries), open=left, sampled=len(ious),
                doubtful=len(looked_at) - len(ious), needed=needed, good=good,
                met=good is not None and enough and good >= settings.good_share,
            )
        )  # fmt: skip
    return states


# Agreement between annotators.


@dataclass(frozen=True)
class Agreement:
    """The agreement of two annotators on images that both have labeled."""

    first: str
    second: str
    images: int
    pairs: int  # Masks of one annotator that match a mask of the other
    alone: int  # Masks that only one annotator has
    iou: float | None  # Mean IoU of the matched masks; None without matches


def compare_annotators(drawn: Iterable[DrawnMask]) -> list[Agreement]:
    """Agreement of every pair of annotators on masks that they drew. Empty ones are ignored."""
    by_page: dict[tuple[int, int], dict[str, list[Rle]]] = defaultdict(lambda: defaultdict(list))
    for image_id, page, author, rle in drawn:
        if rle_area(rle):
            by_page[image_id, page][author].append(rle)
    by_pair: dict[tuple[str, str], list[tuple[list[float], int]]] = defaultdict(list)
    for people in by_page.values():
        for first, second in combinations(sorted(people), 2):
            by_pair[first, second].append(_pairs(people[first], people[second]))
    rows = []
    for (first, second), images in sorted(by_pair.items()):
        ious = [iou for pairs, _ in images for iou in pairs]
        alone = sum(left for _, left in images)
        mean = sum(ious) / len(ious) if ious else None
        rows.append(Agreement(first, second, len(images), len(ious), alone, mean))
    return rows


def _pairs(first: Sequence[Rle], second: Sequence[Rle]) -> tuple[list[float], int]:
    """IoU of matched masks, highest first, and the number of unmatched ones."""
    table = rle_iou(first, second)
    ious: list[float] = []
    while table.size and table.max() >= REVIEW_MATCH_IOU:
        row, column = divmod(int(table.argmax()), table.shape[1])
        ious.append(float(table[row, column]))
        table[row, :] = table[:, column] = -1
    return ious, len(first) + len(second) - 2 * len(ious)
