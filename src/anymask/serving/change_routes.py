"""A project's address that tells an open page whether others have changed what it shows."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from anymask.engine.checks import MOST_ID
from anymask.engine.project import Project
from anymask.engine.replaced import photo_file
from anymask.primitives.errors import DataError, NotFoundError
from anymask.serving.answers import ClosedAnswer
from anymask.serving.label_routes import Who

KnownChanges = Annotated[int | None, Query(ge=0, le=MOST_ID)]


class ChangesAnswer(ClosedAnswer):
    """How far a photo is.

    changes   how often its masks were changed so far
    status    the photo's
    versions  of its masks by their ids; null where `changes` is what the page knows
    file      as `planes` tells it; null where it cannot be read
    """

    changes: int
    status: str
    versions: dict[str, int] | None
    file: str | None


def add_changes(router: APIRouter, project: Project, user: str) -> None:
    """Add it to a project's router; `user` works where a request does not say."""

    @router.get("/images/{image_id}/changes", response_model=ChangesAnswer)
    def changes(image_id: int, known: KnownChanges = None, user_name: Who = None) -> dict[str, Any]:
        """Whether the photo's masks have changed, for a page that asks every few seconds.

        known  the `changes` of an earlier answer
        """
        status = project.store.image(image_id).status
        count = project.store.changes(image_id)  # before the masks: what comes later counts anew
        versions = None
        if count != known:
            entries = project.records(image_id, user_name or user)
            versions = {str(entry.id): entry.version for entry in entries}
        file = _mark(project, image_id)
        return {"changes": count, "status": status, "versions": versions, "file": file}


def _mark(project: Project, image_id: int) -> str | None:
    try:
        return photo_file(project, image_id).mark
    except (DataError, NotFoundError):  # told when somebody opens it
        return None
