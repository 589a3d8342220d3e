"""Routes of a project: what the model proposes for a whole photo, and how far the search is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from anymask.engine.entries import Draft, StoredMask
from anymask.engine.project import Project
from anymask.engine.stages import grid_settings, proposals_of
from anymask.predictors.arrangement import parted
from anymask.predictors.grid import grid_of
from anymask.predictors.objectness import least_objectness
from anymask.primitives.progress import Told
from anymask.primitives.types import UintImage
from anymask.serving.answers import ClosedAnswer, ProposalsAnswer
from anymask.serving.bodies import mask_to_json
from anymask.serving.inference import Inference
from anymask.serving.model_api import done
from anymask.serving.picture_routes import Asked, PictureLook

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
    entries = project.store.records(image_id, ("proposal",))
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
