"""Routes of a project: photos, masks, review, events, export and report over HTTP.

Every change of a mask names its version (`If-Match`); a change that comes too late is answered with
409 and the mask as it is now. Who is asking: `?user=NAME`, or the user that the server was started
for.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Query, Response
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, JSONResponse

from anymask.base import AnymaskError, Conflict, DataError, NotFoundError, Told, UintImage
from anymask.jobs import PictureChoice
from anymask.masks import coco_to_rle
from anymask.segment import grid_of, least_objectness, parted
from anymask.studio.answers import (
    AddedAnswer,
    ClosedAnswer,
    FolderAnswer,
    ImageAnswer,
    ImagesAnswer,
    KeptMaskAnswer,
    KeptMasksAnswer,
    NothingAnswer,
    ProjectAnswer,
    ProposalsAnswer,
    ReportAnswer,
    ReviewAnswer,
)
from anymask.studio.bodies import (
    DoneBody,
    EventsBody,
    ExportBody,
    NewRecordBody,
    ProjectBody,
    RecordBody,
    SavedBodies,
    SavedBody,
    VerdictBody,
    image_to_json,
    mask_to_json,
)
from anymask.studio.checks import MOST_ID
from anymask.studio.clip_routes import add_clips
from anymask.studio.exports import OF_PAGE, export_archive
from anymask.studio.forms import JsonRoute
from anymask.studio.inference import Inference
from anymask.studio.label_routes import Who, add_labels
from anymask.studio.limits import Limits
from anymask.studio.model_api import done
from anymask.studio.photo_files import look_into_folder, photo_file
from anymask.studio.picture_routes import Asked, PictureLook, add_pictures
from anymask.studio.project import Project
from anymask.studio.records import Draft, StoredMask
from anymask.studio.refusals import Failure, Refusal, refusal_of
from anymask.studio.results import file_answer
from anymask.studio.review import (
    all_verdicts,
    asked_about,
    give_verdict,
    next_asked,
    take_back_verdict,
)
from anymask.studio.stages import grid_settings, proposals_of
from anymask.studio.track_routes import add_tracks

Version = Annotated[str, Header(alias="If-Match")]
_VERSION = re.compile("[0-9]{1,18}")
_KEPT: dict[str, Any] = {  # of an address that answers a mask
    "response_model": KeptMaskAnswer,
    "response_model_exclude_unset": True,
}


def project_router(
    project: Project,
    inference: Inference,
    limits: Limits,
    user: str,
    pictures: PictureChoice | None = None,
) -> APIRouter:
    """Every address of a project.

    user      who works where a request does not say
    pictures  what is shown and seen of photos where a request does not say
    """
    looks = PictureLook(pictures or PictureChoice(), limits)
    router = APIRouter(prefix="/api", route_class=JsonRoute)
    _add_reading(router, project, user)
    add_changes(router, project, user)
    _add_folder(router, project)
    add_pictures(router, project, inference, looks)
    _add_records(router, project, user)
    add_batches(router, project, user)
    _add_work(router, project, user)
    add_proposals(router, project, inference, looks)
    _add_review(router, project, user)
    _add_results(router, project)
    add_labels(router, project, user)
    add_clips(router, project)
    add_tracks(router, project, user)
    return router


def _add_reading(router: APIRouter, project: Project, user: str) -> None:
    @router.get("/project", response_model=ProjectAnswer)
    def describe(user_name: Who = None) -> dict[str, Any]:
        """Name, labels, stage, and how far it is."""
        return project.describe(user_name or user)

    @router.put("/project", response_model=ProjectAnswer)
    def change(body: ProjectBody, user_name: Who = None) -> dict[str, Any]:
        """Another way of working from now on: masks are counted under it."""
        project.change(stage=body.stage)
        return project.describe(user_name or user)

    @router.get("/images", response_model=ImagesAnswer)
    def images(
        after: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=1000)] = 100
    ) -> dict[str, Any]:
        """Photos in pages: ask again with `after` = `next` until that is null."""
        found = project.store.images(after, limit)
        follows = str(found[-1].id) if len(found) == limit else None
        return {"images": [image_to_json(image) for image in found], "next": follows}

    @router.get(
        "/images/{image_id}/records",
        response_model=KeptMasksAnswer,
        response_model_exclude_unset=True,
    )
    def records(image_id: int, user_name: Who = None) -> dict[str, Any]:
        """The photo's masks; its version grows when its status changes."""
        image = project.store.image(image_id)
        entries = project.records(image_id, user_name or user)
        return {"version": image.version, "records": [mask_to_json(entry) for entry in entries]}


def _add_folder(router: APIRouter, project: Project) -> None:
    looking = Lock()  # one look at a time

    @router.post("/folder", response_model=FolderAnswer)
    def folder() -> dict[str, Any]:
        """Take up the photos that were put into the folder since; which ones are gone?"""
        with looking:
            news = look_into_folder(project)
        gone = [str(number) for number in news.gone]
        return {"added": news.added, "gone": gone, "unreadable": news.unreadable}


def _add_records(router: APIRouter, project: Project, user: str) -> None:
    store = project.store

    @router.post("/images/{image_id}/records", status_code=201, **_KEPT)
    def add(image_id: int, body: NewRecordBody, user_name: Who = None) -> dict[str, Any]:
        """Keep a mask; it is on the disk when the answer comes."""
        draft = body.record.draft(project.stage, body.client_id)
        (entry,) = store.add_records(image_id, [draft], user_name or user, told=True)
        return mask_to_json(entry)

    @router.put("/records/{record_id}", **_KEPT)
    def change(
        record_id: int,
        body: RecordBody,
        if_match: Version,
        user_name: Who = None,
    ) -> Response:
        """Replace a mask that is still at the version of If-Match; else 409 with the current one.

        The seconds of the body are added to those that the mask has cost before.
        """

        def work() -> StoredMask:
            draft = body.draft(project.stage)
            who, version = user_name or user, _version(if_match)
            return store.change_record(record_id, version, draft, who, told=True)

        return _or_current(work)

    @router.delete("/records/{record_id}", response_model=NothingAnswer)
    def delete(record_id: int, if_match: Version, user_name: Who = None) -> Response:
        """Take a mask away; what it was stays in the history."""

        who = user_name or user
        return _or_current(lambda: store.delete_record(record_id, _version(if_match), who))


def _version(text: str) -> int:
    """The number in an If-Match header, with or without quotes."""
    number = text.strip().removeprefix("W/").strip('"')
    if not _VERSION.fullmatch(number):
        raise Refusal(
            422, "If-Match: VERSION, a record's number", repr(text[:40]), "send its version"
        )
    return int(number)


def _or_current(work: Callable[[], StoredMask | None]) -> Response:
    """The changed record; or 409 with the record as it is now, null where it was deleted."""
    try:
        made = work()
        return JSONResponse({} if made is None else mask_to_json(made))
    except (Conflict, NotFoundError) as error:
        current = error.current if isinstance(error, Conflict) else None
        refusal = Refusal(
            409, "the record as it is now", str(error), "look at `current` and decide again"
        )
        record = mask_to_json(current) if isinstance(current, StoredMask) else None
        return JSONResponse({"error": refusal.error, "current": record}, 409)


def _add_work(router: APIRouter, project: Project, user: str) -> None:
    @router.post("/images/{image_id}/events", status_code=201, response_model=AddedAnswer)
    def events(image_id: int, body: EventsBody, user_name: Who = None) -> dict[str, int]:
        """Write down what was done; events are never changed."""
        actions = [event.action() for event in body.events]
        return {"added": project.store.add_events(image_id, actions, user_name or user)}

    @router.post("/images/{image_id}/done", response_model=ImageAnswer)
    def finish(
        image_id: int,
        body: DoneBody | None = None,
        user_name: Who = None,
    ) -> dict[str, Any]:
        """The photo is finished."""
        seconds = 0.0 if body is None else body.seconds
        image = project.store.mark_image(image_id, "done", user_name or user, seconds)
        return image_to_json(image)

    @router.delete("/images/{image_id}/done", response_model=ImageAnswer)
    def reopen(image_id: int, user_name: Who = None) -> dict[str, Any]:
        """The photo is not finished after all; its masks stay."""
        store = project.store
        status = "proposed" if store.image(image_id).records else "new"
        return image_to_json(store.mark_image(image_id, status, user_name or user))


def _add_review(router: APIRouter, project: Project, user: str) -> None:
    done_already: dict[int | str, Any] = {204: {"description": "All have been looked at"}}

    @router.get("/review/next", response_model=ReviewAnswer, responses=done_already)
    def following() -> Response:
        """The mask that should be looked at next, and why; 204 when all have been."""
        asked = next_asked(project.store)
        if asked is None:
            return Response(status_code=204)
        entry = asked.entry
        about = {"image": str(entry.image_id), "record": str(entry.id), "page": entry.page}
        return JSONResponse(about | {"why": asked.why})

    @router.post("/records/{record_id}/verdict", **_KEPT)
    def verdict(
        record_id: int,
        body: VerdictBody,
        if_match: Annotated[str | None, Header(alias="If-Match")] = None,
        user_name: Who = None,
    ) -> Response:
        """Accept, fix (with the better mask) or reject."""
        rle = None if body.rle is None else coco_to_rle(body.rle)

        def work() -> StoredMask:
            asked = asked_about(project.store, record_id)
            if if_match is not None and (now := asked.entry.version) != _version(if_match):
                raise Conflict(f"record {record_id} is at version {now}", asked.entry)
            return give_verdict(
                project.store, asked, body.verdict, user_name or user,
                rle=rle, seconds=body.seconds, told=rle is not None,
            )  # fmt: skip

        return _or_current(work)

    @router.delete("/records/{record_id}/verdict", response_model=KeptMaskAnswer)
    def take_back(record_id: int, user_name: Who = None) -> Response:
        """Undo the last verdict; 409 where the mask has changed since, or has none."""
        return _or_current(lambda: take_back_verdict(project.store, record_id, user_name or user))


def _add_results(router: APIRouter, project: Project) -> None:
    @router.get("/report", response_model=ReportAnswer)
    def report() -> dict[str, Any]:
        """The figures of `anymask project report`."""
        return project.figures().to_json() | {"looked_at": len(all_verdicts(project.store))}

    @router.post("/export", response_class=FileResponse, responses=file_answer("application/zip"))
    def export(body: ExportBody) -> Response:
        """The masks as a ZIP; 403 for proposals while the acceptance rule is not met."""
        folder = Path(tempfile.mkdtemp(prefix="anymask-export-"))
        try:
            file = folder / "masks.zip"
            lines = export_archive(project, body.format, file, body.settings(), OF_PAGE)
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
        stage = project.stage

        def change(one: SavedBody) -> tuple[Any, tuple[int, int] | None]:
            draft = one.record.draft(stage, one.client_id)
            return draft, None if one.id is None else (one.id, one.version or 0)

        changes = [change(one) for one in body.records]
        made = project.store.save_records(image_id, changes, user_name or user)
        return {"results": [_told(one) for one in made]}


def _told(made: StoredMask | AnymaskError) -> dict[str, Any]:
    if isinstance(made, StoredMask):
        return {"record": mask_to_json(made), "error": None}
    current = made.current if isinstance(made, Conflict) else None
    record = mask_to_json(current) if isinstance(current, StoredMask) else None
    error = refusal_of(made).error
    if error["status"] == 404:  # another person deleted it
        error = error | {"status": 409}
    return {"record": record, "error": error}


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


EVERY_MASK = {
    "pred_iou_thresh": 0.0,
    "min_objectness": 0.0,
    "contained_nms_thresh": 1.0,
    "refine_edges": False,  # of those that are shown alone, later
}


class ProgressAnswer(ClosedAnswer):
    """Steps of a search that are done, and all of them; 0 of 0 while there is none."""

    done: int
    total: int


def add_proposals(
    router: APIRouter, project: Project, inference: Inference, looks: PictureLook
) -> None:
    """What the model finds in a photo by itself.

    looks  how photos are read
    """
    far: dict[int, tuple[int, int]] = {}  # steps done and all steps, by the photo

    @router.get("/images/{image_id}/progress", response_model=ProgressAnswer)
    async def progress(image_id: int) -> dict[str, int]:
        """How far the search for everything in the photo is, in clicks or tiles."""
        return dict(zip(("done", "total"), far.get(image_id, (0, 0)), strict=True))

    @router.post(
        "/images/{image_id}/everything",
        response_model=ProposalsAnswer,
        response_model_exclude_unset=True,
    )
    async def everything(image_id: int, asked: Asked) -> dict[str, Any]:
        """Proposals of the model for the whole photo, stored as such; once a page.

        others  what it found below its least quality; nobody has stored it
        """
        place = await run_in_threadpool(lambda: looks.page(project.picture(image_id), asked.page))

        known, others = await run_in_threadpool(_stored, project, image_id, place), list[Draft]()
        if not known:
            photo = partial(looks.load, project, image_id, replace(asked, page=place))
            tell = partial(_tell, far, image_id)
            try:
                known, others = await _propose(project, inference, (image_id, place), photo, tell)
            finally:
                far.pop(image_id, None)
        return {
            "records": [mask_to_json(entry) for entry in known],
            "others": [mask_to_json(draft) for draft in others],
        }


def _stored(project: Project, image_id: int, page: int) -> list[StoredMask]:
    """What was proposed before and waits for a verdict."""
    entries = project.store.records(image_id, ("proposed",))
    here = [entry for entry in entries if entry.page == page]
    return [entry for entry in here if entry.provenance.tool == "everything"]


def _tell(far: dict[int, tuple[int, int]], image_id: int, steps: int, total: int) -> None:
    far[image_id] = (steps, total)


async def _propose(
    project: Project,
    inference: Inference,
    place: tuple[int, int],
    photo: Callable[[], UintImage],
    tell: Told,
) -> tuple[list[StoredMask], list[Draft]]:
    """The masks of `Model.everything`, stored; those below its least quality, not stored.

    place  the photo's number and the page's
    """
    image_id, page = place
    settings, stage = project.settings, project.stage
    stage = stage if stage in ("semi", "auto") else "semi"
    wanted = grid_settings(stage, settings) | EVERY_MASK
    found = await done(inference.everything(photo, wanted, tell=tell))
    model = inference.model.result()
    family, least = model.runtime.family, settings.pred_iou_thresh
    least = grid_of(family, {}).pred_iou_thresh if least is None else least
    likely, rest = parted(found, least, least_objectness(family))
    likely = await done(inference.refine(photo, likely))
    good, others = (
        proposals_of(records, model, stage, replace(settings, confident=0.0))
        for records in (likely, rest)
    )
    mark = f":page{page}" if page else ""
    named = [
        replace(draft, page=page, client_id=f"{draft.provenance.model_hash}{mark}:{number}")
        for number, draft in enumerate(good)
    ]
    others = [replace(draft, page=page) for draft in others]
    keep = partial(project.store.add_records, image_id, named, "model", status="proposed")
    return await run_in_threadpool(keep), others
