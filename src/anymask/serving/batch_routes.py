"""A project's address that keeps many masks of one photo in one transaction."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from anymask.engine.entries import RecordEntry
from anymask.engine.project import Project
from anymask.primitives.errors import AnymaskError, Conflict
from anymask.serving.answers import ClosedAnswer, KeptMaskAnswer
from anymask.serving.bodies import SavedBodies, SavedBody, record_to_json
from anymask.serving.label_routes import Who
from anymask.serving.refusals import Failure, refusal_of


class SavedAnswer(ClosedAnswer):
    """A mask as it is now, null where it is gone; `error` where the change was refused."""

    record: KeptMaskAnswer | None
    error: Failure | None


class SavedAnswers(ClosedAnswer):
    """What became of each mask, in order."""

    results: list[SavedAnswer]


def add_batches(router: APIRouter, project: Project, user: str) -> None:
    """Add it to a project's router; `user` works where a request does not say."""

    @router.put(
        "/images/{image_id}/records",
        response_model=SavedAnswers,
        response_model_exclude_unset=True,
    )
    def save(image_id: int, body: SavedBodies, user_name: Who = None) -> dict[str, Any]:
        """Keep or replace masks, all on the disk when the answer comes.

        Each is for itself: of one that is at another version by now (an error with `status` 409)
        the answer holds it as it is.
        """
        stage, arm = project.stage, project.arm

        def change(one: SavedBody) -> tuple[Any, tuple[int, int] | None]:
            draft = one.record.draft(stage, arm, one.client_id)
            return draft, None if one.id is None else (one.id, one.version or 0)

        changes = [change(one) for one in body.records]
        made = project.store.save_records(image_id, changes, user_name or user)
        return {"results": [_told(one) for one in made]}


def _told(made: RecordEntry | AnymaskError) -> dict[str, Any]:
    if isinstance(made, RecordEntry):
        return {"record": record_to_json(made), "error": None}
    current = made.current if isinstance(made, Conflict) else None
    record = record_to_json(current) if isinstance(current, RecordEntry) else None
    error = refusal_of(made).error
    if error["status"] == 404:  # another person deleted it
        error = error | {"status": 409}
    return {"record": record, "error": error}
