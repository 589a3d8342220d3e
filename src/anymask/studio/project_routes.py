"""Routes of a project: photos, masks, labels, review, events, proposals, export and report.

Every change of a mask names its version (`If-Match`); a change that comes too late is answered with
409 and the mask as it is now. Who is asking: `?user=NAME`, or the user that the server was started
for.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi import Path as InPath
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, JSONResponse

from anymask.base import AnymaskError, Conflict, DataError, NotFoundError
from anymask.jobs import PictureChoice
from anymask.studio.checks import MOST_ID
from anymask.studio.errors import Refusal, refusal_of
from anymask.studio.exports import OF_PAGE, export_archive
from anymask.studio.model_routes import file_answer
from anymask.studio.photo_files import look_into_folder, photo_file
from anymask.studio.project import Project
from anymask.studio.project_schemas import (
    AddedBody,
    ChangesBody,
    DoneBody,
    EventsBody,
    ExportBody,
    FolderBody,
    ImageBody,
    ImagesBody,
    KeptMaskBody,
    KeptMasksBody,
    LabelBody,
    LabelFateBody,
    LabelsBody,
    NewRecordBody,
    ProjectAnswer,
    ProjectBody,
    RecordBody,
    ReportBody,
    ReviewBody,
    SavedAnswers,
    SavedBodies,
    VerdictBody,
    image_to_json,
    kept_mask,
)
from anymask.studio.records import StoredMask
from anymask.studio.requests import BodyRoute
from anymask.studio.review import (
    all_verdicts,
    asked_about,
    give_verdict,
    next_asked,
    take_back_verdict,
)


@dataclass(frozen=True)
class ServedProject:
    """A project behind a server.

    user      who works where a request does not say
    pictures  what is shown and seen of photos where a request does not say
    """

    project: Project
    user: str = "annotator"
    pictures: PictureChoice = field(default_factory=PictureChoice)


async def project_of(request: Request) -> Project:
    """The project of the server that answers a request."""
    served: ServedProject = request.app.state.project
    return served.project


async def user_of(
    request: Request, user: Annotated[str | None, Query(max_length=400)] = None
) -> str:
    """Who is asking."""
    return user or str(request.app.state.project.user)


async def version_of(
    version: Annotated[str, Header(alias="If-Match", examples=["1"])],
) -> int:
    """The number in an If-Match header, with or without quotes. Raises Refusal (422)."""
    number = version.strip().removeprefix("W/").strip('"')
    if not re.fullmatch("[0-9]{1,18}", number):
        wanted = "If-Match: VERSION, a record's number"
        raise Refusal(422, (wanted, repr(version[:40]), "send its version"))
    return int(number)


OfProject = Annotated[Project, Depends(project_of)]
Who = Annotated[str, Depends(user_of)]
Version = Annotated[int, Depends(version_of)]
ImageId = Annotated[int, InPath(examples=[1])]
RecordId = Annotated[int, InPath(examples=[1])]
router = APIRouter(prefix="/api", route_class=BodyRoute, tags=["project"])


@router.get("/project", response_model=ProjectAnswer)
def describe(project: OfProject, who: Who) -> dict[str, Any]:
    """Name, labels, stage, and how far it is."""
    return project.describe(who)


@router.put("/project", response_model=ProjectAnswer)
def change_project(body: ProjectBody, project: OfProject, who: Who) -> dict[str, Any]:
    """Another way of working from now on: masks are counted under it."""
    project.change(stage=body.stage)
    return project.describe(who)


@router.get("/images", response_model=ImagesBody)
def images(
    project: OfProject,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """Photos in pages: ask again with `after` = `next` until that is null."""
    found = project.store.images(after, limit)
    follows = str(found[-1].id) if len(found) == limit else None
    return {"images": [image_to_json(image) for image in found], "next": follows}


@router.post("/folder", response_model=FolderBody)
def folder(project: OfProject, request: Request) -> dict[str, Any]:
    """Take up the photos that were put into the folder since; which ones are gone?"""
    with request.app.state.looking:  # one look at a time
        news = look_into_folder(project)
    gone = [str(number) for number in news.gone]
    return {"added": news.added, "gone": gone, "unreadable": news.unreadable}


# Masks.


def _or_current(work: Callable[[], StoredMask | None]) -> Response:
    """The changed mask; or 409 with the mask as it is now, null where it was deleted."""
    try:
        made = work()
        return JSONResponse({} if made is None else kept_mask(made))
    except (Conflict, NotFoundError) as error:
        current = error.current if isinstance(error, Conflict) else None
        wanted = "the record as it is now"
        refusal = Refusal(409, (wanted, str(error), "look at `current` and decide again"))
        record = kept_mask(current) if isinstance(current, StoredMask) else None
        return JSONResponse({"error": refusal.error, "current": record}, 409)


@router.get(
    "/images/{image_id}/records",
    response_model=KeptMasksBody,
    response_model_exclude_unset=True,
)
def records(image_id: ImageId, project: OfProject, who: Who) -> dict[str, Any]:
    """The photo's masks; its version grows when its status changes."""
    image = project.store.image(image_id)
    found = [kept_mask(entry) for entry in project.records(image_id, who)]
    return {"version": image.version, "records": found}


@router.post(
    "/images/{image_id}/records",
    status_code=201,
    response_model=KeptMaskBody,
    response_model_exclude_unset=True,
)
def add_record(
    image_id: ImageId, body: NewRecordBody, project: OfProject, who: Who
) -> dict[str, Any]:
    """Keep a mask; it is on the disk when the answer comes."""
    draft = body.record.draft(project.stage, body.client_id)
    (entry,) = project.store.add_records(image_id, [draft], who, told=True)
    return kept_mask(entry)


@router.put(
    "/images/{image_id}/records",
    response_model=SavedAnswers,
    response_model_exclude_unset=True,
)
def save_records(
    image_id: ImageId, body: SavedBodies, project: OfProject, who: Who
) -> dict[str, Any]:
    """Keep or replace masks, all on the disk when the answer comes.

    Each is for itself: of one that is at another version by now (an error with `status` 409) the
    answer holds it as it is.
    """
    stage = project.stage
    changes = [
        (
            one.record.draft(stage, one.client_id),
            None if one.id is None else (one.id, one.version or 0),
        )
        for one in body.records
    ]
    results = []
    for made in project.store.save_records(image_id, changes, who):
        current: object = made
        error = None
        if isinstance(made, AnymaskError):
            current = made.current if isinstance(made, Conflict) else None
            error = refusal_of(made).error
            if error["status"] == 404:  # another person deleted it
                error["status"] = 409
        record = kept_mask(current) if isinstance(current, StoredMask) else None
        results.append({"record": record, "error": error})
    return {"results": results}


@router.put("/records/{record_id}", response_model=KeptMaskBody)
def change_record(
    record_id: RecordId, body: RecordBody, version: Version, project: OfProject, who: Who
) -> Response:
    """Replace a mask that is still at the version of If-Match; else 409 with the current one.

    The seconds of the body are added to those that the mask has cost before.
    """

    def work() -> StoredMask:
        draft = body.draft(project.stage)
        return project.store.change_record(record_id, version, draft, who, told=True)

    return _or_current(work)


@router.delete("/records/{record_id}", response_model=dict[str, str])
def delete_record(record_id: RecordId, version: Version, project: OfProject, who: Who) -> Response:
    """Take a mask away; what it was stays in the history."""
    return _or_current(lambda: project.store.delete_record(record_id, version, who))


@router.get("/images/{image_id}/changes", response_model=ChangesBody)
def changes(
    image_id: ImageId,
    project: OfProject,
    who: Who,
    known: Annotated[int | None, Query(ge=0, le=MOST_ID)] = None,
) -> dict[str, Any]:
    """Whether the photo's masks have changed, for a page that asks every few seconds.

    known: the `changes` of an earlier answer.
    """
    status = project.store.image(image_id).status
    count = project.store.changes(image_id)  # before the masks: what comes later counts anew
    versions = None
    if count != known:
        entries = project.records(image_id, who)
        versions = {str(entry.id): entry.version for entry in entries}
    try:
        file = photo_file(project, image_id).mark
    except (DataError, NotFoundError):  # told when somebody opens it
        file = None
    return {"changes": count, "status": status, "versions": versions, "file": file}


# Work on a photo.


@router.post("/images/{image_id}/events", status_code=201, response_model=AddedBody)
def add_events(image_id: ImageId, body: EventsBody, project: OfProject, who: Who) -> dict[str, int]:
    """Write down what was done; events are never changed."""
    actions = [event.action() for event in body.events]
    return {"added": project.store.add_events(image_id, actions, who)}


@router.post("/images/{image_id}/done", response_model=ImageBody)
def finish(
    image_id: ImageId, project: OfProject, who: Who, body: DoneBody | None = None
) -> dict[str, Any]:
    """The photo is finished."""
    seconds = 0.0 if body is None else body.seconds
    return image_to_json(project.store.mark_image(image_id, "done", who, seconds))


@router.delete("/images/{image_id}/done", response_model=ImageBody)
def reopen(image_id: ImageId, project: OfProject, who: Who) -> dict[str, Any]:
    """The photo is not finished after all; its masks stay."""
    status = "proposed" if project.store.image(image_id).records else "new"
    return image_to_json(project.store.mark_image(image_id, status, who))


# Labels.


@router.get("/labels", response_model=LabelsBody)
def labels(project: OfProject) -> dict[str, Any]:
    """The names of masks in their order, with colours and counts."""
    return {"labels": project.labels.all()}


@router.post("/labels", response_model=LabelsBody)
def add_label(body: LabelBody, project: OfProject) -> dict[str, Any]:
    """Add a name; nothing where it is there."""
    project.labels.add(body.name, body.colour)
    return labels(project)


@router.put("/labels", response_model=LabelsBody)
def change_label(body: LabelBody, project: OfProject, who: Who) -> dict[str, Any]:
    """Another colour, place or name; the masks of a renamed one are renamed."""
    if body.colour is not None:
        project.labels.recolour(body.name, body.colour)
    if body.place is not None:
        project.labels.move(body.name, body.place)
    if body.to is not None:
        project.labels.rename(body.name, body.to, who)
    return labels(project)


@router.delete("/labels", response_model=LabelsBody)
def delete_label(body: LabelFateBody, project: OfProject, who: Who) -> dict[str, Any]:
    """Delete a name; its masks become nameless, or go too."""
    project.labels.delete(body.name, body.masks, who)
    return labels(project)


# Review.


@router.get(
    "/review/next",
    response_model=ReviewBody,
    responses={204: {"description": "All have been looked at"}},
)
def next_review(project: OfProject) -> Response:
    """The mask that should be looked at next, and why; 204 when all have been."""
    asked = next_asked(project.store)
    if asked is None:
        return Response(status_code=204)
    entry = asked.entry
    about = {"image": str(entry.image_id), "record": str(entry.id), "page": entry.page}
    return JSONResponse(about | {"why": asked.why})


@router.post("/records/{record_id}/verdict", response_model=KeptMaskBody)
async def verdict(
    record_id: RecordId,
    body: VerdictBody,
    project: OfProject,
    who: Who,
    if_match: Annotated[str | None, Header(alias="If-Match")] = None,
) -> Response:
    """Accept, fix (with the better mask) or reject."""
    version = None if if_match is None else await version_of(if_match)

    def work() -> StoredMask:
        rle = None if body.rle is None else body.rle.rle()
        asked = asked_about(project.store, record_id)
        if version is not None and (now := asked.entry.version) != version:
            raise Conflict(f"record {record_id} is at version {now}", asked.entry)
        return give_verdict(
            project.store, asked, body.verdict, who,
            rle=rle, seconds=body.seconds, told=rle is not None,
        )  # fmt: skip

    return await run_in_threadpool(_or_current, work)


@router.delete("/records/{record_id}/verdict", response_model=KeptMaskBody)
def take_back(record_id: RecordId, project: OfProject, who: Who) -> Response:
    """Undo the last verdict; 409 where the mask has changed since, or has none."""
    return _or_current(lambda: take_back_verdict(project.store, record_id, who))


# What leaves.


@router.get("/report", response_model=ReportBody)
def report(project: OfProject) -> dict[str, Any]:
    """The figures of `anymask project report`."""
    return project.figures().to_json() | {"looked_at": len(all_verdicts(project.store))}


@router.post("/export", response_class=FileResponse, responses=file_answer("application/zip"))
def export(body: ExportBody, project: OfProject) -> Response:
    """The masks as a ZIP; 403 for proposals while the acceptance rule is not met."""
    place = Path(tempfile.mkdtemp(prefix="anymask-export-"))
    try:
        file = place / "masks.zip"
        lines = export_archive(project, body.format, file, body.settings(), OF_PAGE)
    except BaseException:
        shutil.rmtree(place)
        raise
    return FileResponse(
        file,
        media_type="application/zip",
        filename=f"{body.format}.zip",
        headers={"X-Summary": quote("\n".join(lines[:20]))},
        background=BackgroundTask(shutil.rmtree, place),
    )
