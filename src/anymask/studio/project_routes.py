"""Routes of a project: images, masks, classes, review, events, proposals, export and report.

Every change of a mask names its version (`If-Match`). If the mask has changed since, the response
is 409 with the current mask. The user is `?user=NAME`, or the default user of the server.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi import Path as InPath
from fastapi.encoders import jsonable_encoder
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, JSONResponse

from anymask.base import AnymaskError, Conflict, DataError, NotFoundError
from anymask.images import SUFFIXES
from anymask.jobs import ImageSettings
from anymask.masks import counted
from anymask.studio.concepts import answer_concept, next_concept
from anymask.studio.errors import RequestError, refusal_of, without_code
from anymask.studio.exports import check_rule, count_unlabeled, export_archive
from anymask.studio.image_files import FolderNews, image_file, scan_folder
from anymask.studio.model_routes import BodyRoute, file_answer
from anymask.studio.project import Project
from anymask.studio.project_schemas import (
    AddedBody,
    ChangesBody,
    ConceptAnswerBody,
    ConceptBody,
    DoneBody,
    EventsBody,
    ExportBody,
    ImagesBody,
    ImportedBody,
    KeptMaskBody,
    KeptMasksBody,
    LabelBody,
    LabelFateBody,
    LabelsBody,
    NewRecordBody,
    ProjectAnswer,
    ProjectBody,
    RecordBody,
    ReviewBody,
    SavedAnswers,
    SavedBodies,
    VerdictBody,
    kept_mask,
)
from anymask.studio.records import MAX_ID, ImageEntry, StoredMask
from anymask.studio.report import Figures
from anymask.studio.review import asked_about, give_verdict, next_for_review, withdraw_verdict
from anymask.studio.video_sessions import write_stream


@dataclass(frozen=True)
class ServedProject:
    """Project of a server."""

    project: Project
    user: str = "annotator"  # Default user of requests
    # Default display settings of images
    images: ImageSettings = field(default_factory=ImageSettings)


async def project_of(request: Request) -> Project:
    """Project of the server that processes a request."""
    served: ServedProject = request.app.state.project
    return served.project


async def user_of(
    request: Request, user: Annotated[str | None, Query(max_length=400)] = None
) -> str:
    """User of a request."""
    return user or str(request.app.state.project.user)


async def version_of(
    version: Annotated[str, Header(alias="If-Match", examples=["*"])],
) -> int | None:
    """Version in an If-Match header, with or without quotes; None for *, any version.

    Raises Refusal (422).
    """
    number = version.strip().removeprefix("W/").strip('"')
    if number == "*":
        return None
    if not re.fullmatch("[0-9]{1,18}", number):
        raise RequestError(422, f"If-Match must be the version of a record, not {version[:40]!r}.")
    return int(number)


async def version_if_any(
    version: Annotated[str | None, Header(alias="If-Match")] = None,
) -> int | None:
    """Version in an optional If-Match header."""
    return None if version is None else await version_of(version)


ProjectDep = Annotated[Project, Depends(project_of)]
Who = Annotated[str, Depends(user_of)]
Version = Annotated[int | None, Depends(version_of)]
MaybeVersion = Annotated[int | None, Depends(version_if_any)]
ImageId = Annotated[int, InPath(examples=[1])]
RecordId = Annotated[int, InPath(examples=[1])]
router = APIRouter(prefix="/api", route_class=BodyRoute, tags=["project"])


@router.get("/project", response_model=ProjectAnswer)
def describe(project: ProjectDep, who: Who) -> dict[str, Any]:
    """Return the name, labels, stage and progress of the project."""
    return project.describe(who)


@router.put("/project", response_model=ProjectAnswer)
def change_project(body: ProjectBody, project: ProjectDep, who: Who) -> dict[str, Any]:
    """Change the stage of the project. New masks are counted under this stage."""
    project.change(stage=body.stage)
    return project.describe(who)


@router.get("/images", response_model=ImagesBody)
def images(
    project: ProjectDep,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """List images in pages. Repeat the request with `after` = `next` until `next` is null."""
    entries = project.store.images(after, limit)
    return {"images": entries, "next": str(entries[-1].id) if len(entries) == limit else None}


@router.post("/folder", response_model=FolderNews)
def folder(project: ProjectDep, request: Request) -> FolderNews:
    """Add new images of the project folder, and list images whose files are missing."""
    with request.app.state.looking:  # one scan at a time
        return scan_folder(project)


# Masks.


async def answer_late(request: Request, error: Exception) -> Response:
    """Response 409 with the current mask or track, null if it was deleted."""
    if isinstance(error, NotFoundError) and not request.url.path.startswith("/api/records/"):
        return refusal_of(error).response()
    now = error.current if isinstance(error, Conflict) else None
    refusal = RequestError(409, str(error))
    current = kept_mask(now) if isinstance(now, StoredMask) else jsonable_encoder(now)
    return JSONResponse({"error": refusal.error, "current": current}, 409)


@router.get(
    "/images/{image_id}/records", response_model=KeptMasksBody, response_model_exclude_unset=True
)
def records(image_id: ImageId, project: ProjectDep, who: Who) -> dict[str, Any]:
    """Return the masks of an image. `version` increases when the status of the image changes."""
    image = project.store.image(image_id)
    masks = [kept_mask(entry) for entry in project.records(image_id, who)]
    return {"version": image.version, "records": masks}


@router.post(
    "/images/{image_id}/records",
    status_code=201,
    response_model=KeptMaskBody,
    response_model_exclude_unset=True,
)
def add_record(
    image_id: ImageId, body: NewRecordBody, project: ProjectDep, who: Who
) -> dict[str, Any]:
    """Store a mask. It is on disk when the response is sent."""
    (entry,) = project.store.add_records(
        image_id, [body.record.draft(project.stage, body.client_id)], who, seconds_logged=True
    )
    return kept_mask(entry)


@router.put(
    "/images/{image_id}/records", response_model=SavedAnswers, response_model_exclude_unset=True
)
def save_records(
    image_id: ImageId, body: SavedBodies, project: ProjectDep, who: Who
) -> dict[str, Any]:
    """Add or replace several masks. All are on disk when the response is sent.

    Each mask is stored independently. If a mask has another version, the response contains an error
    with `status` 409 and the current mask.
    """
    stage = project.stage
    changes = [
        (
            change.record.draft(stage, change.client_id),
            None if change.id is None else (change.id, change.version or 0),
        )
        for change in body.records
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


@router.put("/records/{record_id}", response_model=KeptMaskBody, response_model_exclude_unset=True)
def change_record(
    record_id: RecordId, body: RecordBody, version: Version, project: ProjectDep, who: Who
) -> dict[str, Any]:
    """Replace a mask if it has the version in If-Match. Otherwise, 409 with the current mask.

    The seconds in the body are added to the time that was spent on the mask before.
    """

    return kept_mask(
        project.store.change_record(
            record_id, version, body.draft(project.stage), who, seconds_logged=True
        )
    )


@router.delete("/records/{record_id}", response_model=dict[str, str])
def delete_record(
    record_id: RecordId, version: Version, project: ProjectDep, who: Who
) -> dict[str, str]:
    """Delete a mask. Its previous versions remain in the history."""
    project.store.delete_record(record_id, version, who)
    return {}


@router.get("/images/{image_id}/changes", response_model=ChangesBody)
def changes(
    image_id: ImageId,
    project: ProjectDep,
    who: Who,
    known: Annotated[int | None, Query(ge=0, le=MAX_ID)] = None,
) -> dict[str, Any]:
    """Return whether the masks of an image have changed, for clients that poll.

    known: `changes` of an earlier response.
    """
    status = project.store.image(image_id).status
    count = project.store.changes(image_id)  # before the masks, so that no change is lost
    versions = None if count == known else {
        str(entry.id): entry.version for entry in project.records(image_id, who)
    }  # fmt: skip
    try:
        file = image_file(project, image_id).mark
    except (DataError, NotFoundError):  # reported when the image is opened
        file = None
    return {"changes": count, "status": status, "versions": versions, "file": file}


# Annotation of an image.


@router.post("/images/{image_id}/events", status_code=201, response_model=AddedBody)
def add_events(
    image_id: ImageId, body: EventsBody, project: ProjectDep, who: Who
) -> dict[str, int]:
    """Append annotation events to the log. Events cannot be changed."""
    actions = [event.action() for event in body.events]
    return {"added": project.store.add_events(image_id, actions, who)}


@router.post("/images/{image_id}/done", response_model=ImageEntry)
def finish(
    image_id: ImageId, project: ProjectDep, who: Who, body: DoneBody | None = None
) -> ImageEntry:
    """Mark an image as done."""
    return project.store.mark_image(image_id, "done", who, 0.0 if body is None else body.seconds)


@router.delete("/images/{image_id}/done", response_model=ImageEntry)
def reopen(image_id: ImageId, project: ProjectDep, who: Who) -> ImageEntry:
    """Remove the done mark of an image. Its masks are kept."""
    status = "proposed" if project.store.image(image_id).records else "new"
    return project.store.mark_image(image_id, status, who)


# Labels.


@router.get("/labels", response_model=LabelsBody)
def labels(project: ProjectDep) -> dict[str, Any]:
    """List the classes in their order, with colors and counts."""
    return {"labels": project.labels.all()}


@router.post("/labels", response_model=LabelsBody)
def add_label(body: LabelBody, project: ProjectDep) -> dict[str, Any]:
    """Add a class. Does nothing if the class exists."""
    project.labels.add(body.name, body.color)
    return labels(project)


@router.put("/labels", response_model=LabelsBody)
def change_label(body: LabelBody, project: ProjectDep, who: Who) -> dict[str, Any]:
    """Change the color, position or name of a class. Its masks are renamed with it."""
    if body.color is not None:
        project.labels.recolor(body.name, body.color)
    if body.place is not None:
        project.labels.move(body.name, body.place)
    if body.to is not None:
        project.labels.rename(body.name, body.to, who)
    return labels(project)


@router.delete("/labels", response_model=LabelsBody)
def delete_label(body: LabelFateBody, project: ProjectDep, who: Who) -> dict[str, Any]:
    """Delete a class. Its masks are kept without a class, or deleted."""
    project.labels.delete(body.name, body.masks, who)
    return labels(project)


# Review.


@router.get(
    "/review/next",
    response_model=ReviewBody,
    responses={204: {"description": "All masks are reviewed"}},
)
def next_review(project: ProjectDep) -> Response:
    """Return the next mask to review, with the reason. Status 204 if all masks are reviewed."""
    item = next_for_review(project.store)
    if item is None:
        return Response(status_code=204)
    image, record = str(item.entry.image_id), str(item.entry.id)
    return JSONResponse(
        {"image": image, "record": record, "page": item.entry.page, "why": item.why}
    )


@router.post(
    "/records/{record_id}/verdict", response_model=KeptMaskBody, response_model_exclude_unset=True
)
def verdict(
    record_id: RecordId, body: VerdictBody, project: ProjectDep, who: Who, version: MaybeVersion
) -> dict[str, Any]:
    """Accept, fix (with the corrected mask) or reject a mask."""
    rle = None if body.rle is None else body.rle.rle()
    item = asked_about(project.store, record_id)
    if version is not None and (now := item.entry.version) != version:
        raise Conflict(f"Record {record_id} was changed: it has version {now}.", item.entry)
    return kept_mask(give_verdict(
        project.store, item, body.verdict, who,
        rle=rle, seconds=body.seconds, seconds_logged=rle is not None,
    ))  # fmt: skip


@router.delete(
    "/records/{record_id}/verdict", response_model=KeptMaskBody, response_model_exclude_unset=True
)
def retract_verdict(record_id: RecordId, project: ProjectDep, who: Who) -> dict[str, Any]:
    """Undo the last verdict. Status 409 if the mask has changed since or has no verdict."""
    return kept_mask(withdraw_verdict(project.store, record_id, who))


@router.get(
    "/review/concept",
    response_model=ConceptBody,
    responses={204: {"description": "All phrases are reviewed"}},
)
def next_phrase(project: ProjectDep) -> Response:
    """Return the next phrase of an image to review: are all of its objects masked, or is it
    absent? Status 204 if all phrases are reviewed."""
    concept = next_concept(project.store)
    if concept is None:
        return Response(status_code=204)
    return JSONResponse(ConceptBody.of(concept).model_dump())


@router.post("/review/concept", response_model=ConceptBody)
def answer_phrase(body: ConceptAnswerBody, project: ProjectDep, who: Who) -> ConceptBody:
    """Store the answer for a phrase of an image."""
    return ConceptBody.of(
        answer_concept(
            project.store, int(body.image), body.phrase, body.answer, who, seconds=body.seconds
        )
    )


# Export and report.


@router.get("/report", response_model=Figures)
def report(project: ProjectDep) -> Figures:
    """Return the figures of `anymask project report`."""
    return project.figures()


@router.post("/import", response_model=ImportedBody)
async def import_file(
    request: Request,
    project: ProjectDep,
    who: Who,
    name: Annotated[str, Query(max_length=200)] = "annotations.zip",
) -> dict[str, Any]:
    """Import masks from a file in any format of `anymask convert`, or from a ZIP of such files."""
    with tempfile.TemporaryDirectory(prefix="anymask-import-") as folder:
        # A file name has at most 255 bytes.
        path = Path(folder) / (Path(name.replace("\0", "")).name.lstrip(".")[-60:] or "annotations")
        if not await write_stream(request.stream(), path):
            raise RequestError(400, "The body is empty. Send the bytes of a file.")
        try:
            taken = await run_in_threadpool(project.import_masks, path, who=who)
        except AnymaskError as error:
            text = without_code(str(error).replace(f"{folder}{os.sep}", ""))
            if path.suffix.lower() in SUFFIXES:
                text = (
                    f"{path.name} is a photo. Choose a COCO, YOLO, CVAT, labelme or Label Studio "
                    "file, or a ZIP of such files."
                )
            raise RequestError(refusal_of(error).status_code, text) from error
    unread = list(taken.unread[:20])
    return {"new": taken.new, "same": taken.same, "strange": taken.strange, "unread": unread}


@router.post("/export", response_class=FileResponse, responses=file_answer("application/zip"))
def export(body: ExportBody, project: ProjectDep) -> Response:
    """Export the masks as a ZIP. Status 403 for proposals that do not meet the acceptance rule.

    With `unlabeled` = "ask", status 428 and the number of masks without a class, if there are any.
    """
    if body.unlabeled == "ask":
        settings = body.settings()
        if settings.proposals and not settings.force:
            check_rule(project)
        if count := count_unlabeled(project, body.format, settings):
            raise RequestError(
                428, f"{counted(count, 'mask')} {'has' if count == 1 else 'have'} no class."
            )
    folder = Path(tempfile.mkdtemp(prefix="anymask-export-"))
    try:
        file = folder / "masks.zip"
        lines = export_archive(project, body.format, file, body.settings())
    except BaseException:
        shutil.rmtree(folder)
        raise
    return FileResponse(
        file,
        media_type="application/zip",
        filename=f"{body.format}.zip",
        headers={"X-Summary": quote("\n".join(lines[:20]))},
        background=BackgroundTask(shutil.rmtree, folder),
    )
