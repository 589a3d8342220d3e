"""Routes of project images: planes, pixels, thumbnails, embeddings and proposals."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse

from anymask.base import ImageError, InputError, OnProgress, UintImage
from anymask.images import (
    ImageView,
    Ranges,
    is_georeferenced,
    load_plane,
    open_image,
    read_planes,
    read_value_ranges,
    resolve_position,
)
from anymask.jobs import ImageSettings, parse_bands, parse_ranges
from anymask.masks import rle_iou
from anymask.segment import default_min_objectness, grid_of, split_by_score
from anymask.studio.errors import RequestError
from anymask.studio.image_files import checked_image, image_file
from anymask.studio.inference import Inference
from anymask.studio.limits import Limits
from anymask.studio.model_routes import (
    EMBEDDING,
    BodyRoute,
    ModelDep,
    done,
    embedded,
    file_answer,
    too_large,
)
from anymask.studio.names import LabeledMask
from anymask.studio.project import Project
from anymask.studio.project_routes import ImageId, ProjectDep, ServedProject
from anymask.studio.project_schemas import (
    PlanesBody,
    ProgressBody,
    ProposalsBody,
    ValuesBody,
    found_mask,
    kept_mask,
)
from anymask.studio.proposals import grid_settings, proposals_of
from anymask.studio.records import MAX_PAGE, Draft, StoredMask
from anymask.studio.searching import KNOWN_IOU

THUMBNAIL = 160  # pixels
PageNumber = Annotated[int | None, Query(ge=0, le=MAX_PAGE)]
_NUMBER_PATTERN = r"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?"
_RANGE = rf"({_NUMBER_PATTERN}:{_NUMBER_PATTERN}|:)"
EVERY_MASK = {
    "score": 0.0,
    "min_objectness": 0.0,
    "max_containment": 1.0,
    "refine_edges": False,  # only for displayed masks, in a later step
}


@dataclass(frozen=True)
class AskedPlane:
    """Plane of an image in a request."""

    page: int | None = None  # Page of a multi-page file, as listed by `planes`
    channel: int | None = None  # Index in `channels` of `planes`
    # Instead: channels for red, green and blue, from 1; 0 for black
    bands: tuple[int, ...] | None = None
    ranges: Ranges | None = None  # Values of black and white of each band, or None for the default


async def asked_plane(
    page: PageNumber = None,
    channel: Annotated[int | None, Query(ge=0, le=10_000)] = None,
    bands: Annotated[str | None, Query(pattern=r"^[0-9]{1,5}(,[0-9]{1,5}){2}$")] = None,
    ranges: Annotated[str | None, Query(pattern=rf"^{_RANGE}(,{_RANGE}){{0,2}}$")] = None,
) -> AskedPlane:
    """Plane in the query. Raises InputError if channel and bands are combined."""
    if bands is None:
        if ranges is not None:
            raise InputError("The parameter `ranges` requires `bands`, such as bands=2,0,1.")
        return AskedPlane(page, channel)
    if channel is not None:
        raise InputError("The parameters `channel` and `bands` cannot be combined.")
    return AskedPlane(page, None, parse_bands(bands), (ranges and parse_ranges(ranges)) or None)


@dataclass(frozen=True)
class DisplaySettings:
    """Display settings of a project's images, and the limits of their size."""

    project: Project
    choice: ImageSettings
    limits: Limits

    def page(self, path: Path, requested: int | None) -> int:
        """Requested page, or the configured one if the file has it."""
        if requested is not None:
            return requested
        if self.choice.page in (0, "all"):
            return 0
        number, planes = 0, read_planes(path)
        if isinstance(self.choice.page, int):
            number = self.choice.page
        else:
            with contextlib.suppress(InputError, ImageError):  # no such position in the file
                number = resolve_position(path, self.choice.page)[0]
        return planes.place_of(number) if number < planes.pages.count else planes.places[0]

    def check(self, image_id: int) -> None:
        """Raise Refusal (413) if an image is too large, NotFoundError."""
        height, width = self.project.store.image(image_id).hw
        if height * width > self.limits.pixels:
            raise too_large(f"{width} x {height}", self.limits)

    def load(self, image_id: int, plane: AskedPlane) -> UintImage:  # -> (H, W, 3)
        """Read one plane of an image. Raises ImageError, InputError, Refusal (413, 422)."""
        self.check(image_id)
        path = self.project.image_path(image_id)
        page = self.page(path, plane.page)
        image = load_plane(path, page, plane.channel, self._view(plane))
        hw, known = image.shape[:2], self.project.store.image(image_id).hw
        if hw != known:
            checked_image(self.project, image_id)  # updates the size of a replaced file
            known = self.project.store.image(image_id).hw
        if hw != known:
            raise RequestError(
                422, f"Page {page} has the size (H, W) = {hw}, not {known}. Split the file."
            )
        return image

    def _view(self, plane: AskedPlane) -> ImageView:
        """Configured bands, or those in the request. Raises InputError."""
        if plane.bands is None:
            return self.choice.view
        stretch = None if plane.ranges else self.choice.stretch
        return ImageView.of(plane.bands, 0, stretch, plane.ranges)

    def is_plain(self, plane: AskedPlane) -> bool:
        """Whether a request is for the unmodified first page in its own colors."""
        first = self.choice.page in (0, "all")
        as_it_comes = plane.channel is None and self._view(plane).plain
        return as_it_comes and plane.page in (None, 0) and (first or plane.page == 0)

    def labeled(self, label: str, most: int) -> Sequence[LabeledMask]:
        """Newest masks with a class, as examples of it (`names.OwnNames`)."""
        return [
            LabeledMask(
                key=f"{entry.id} {entry.version}",
                on=f"{entry.image_id} {entry.page}",
                image=partial(self.load, entry.image_id, AskedPlane(entry.page)),
                rle=entry.rle,
            )
            for entry in self.project.store.labeled(label, most)
        ]


async def display_settings(request: Request) -> DisplaySettings:
    """Display settings of the server that processes a request."""
    served: ServedProject = request.app.state.project
    return DisplaySettings(served.project, served.images, request.app.state.limits)


Asked = Annotated[AskedPlane, Depends(asked_plane)]
DisplayDep = Annotated[DisplaySettings, Depends(display_settings)]
router = APIRouter(prefix="/api/images/{image_id}", route_class=BodyRoute, tags=["project"])


@router.get("/planes", response_model=PlanesBody)
def planes(image_id: ImageId, project: ProjectDep, display: DisplayDep) -> dict[str, Any]:
    """List the pages and channels of an image file, and the physical size of its pixels.

    If the file was replaced by one of another size, the new size is stored; 409 if the image has
    masks.
    """
    path = checked_image(project, image_id)
    facts, file = read_planes(path), image_file(project, image_id)
    return {
        "first": display.page(path, None),
        "pages": [{"page": page, "name": facts.name(page)} for page in facts.places],
        "channels": list(facts.channels),
        "colors": facts.colors or (display.choice.view.bands is not None and bool(facts.channels)),
        "pixel": facts.pixel,
        "deep": facts.deep,
        "file": file.mark,
        "replaced": file.replaced,
    }


@router.get("/values", response_model=ValuesBody)
def values(
    image_id: ImageId, project: ProjectDep, display: DisplayDep, page: PageNumber = None
) -> dict[str, Any]:
    """Return the value ranges of the channels of a page, for choosing display ranges."""
    display.check(image_id)
    path = project.image_path(image_id)
    return {"channels": read_value_ranges(path, display.page(path, page))}


@router.get("/embedding", response_class=Response, responses=EMBEDDING)
async def embedding(
    image_id: ImageId, plane: Asked, display: DisplayDep, inference: ModelDep
) -> Response:
    """Return the image embedding. To prefetch the next embedding, request it in advance."""
    path = await run_in_threadpool(display.project.image_path, image_id)
    where = await run_in_threadpool(is_georeferenced, path)
    return await embedded(inference, partial(display.load, image_id, plane), where)


@router.get(
    "/pixels",
    response_class=FileResponse,
    responses=file_answer("image/png", "image/jpeg", "image/webp"),
)
async def pixels(
    image_id: ImageId, plane: Asked, project: ProjectDep, display: DisplayDep, request: Request
) -> Response:
    """Return the upright image: the file itself if browsers can display it, otherwise a PNG.

    - page: page of a file with several pages, as listed by `planes`
    - channel: index of a channel in `channels` of `planes`
    - bands: instead of `channel`, channels for red, green and blue, counted from 1; 0 for black
    - ranges: values for black and white, as LOW:HIGH for all bands or for each; : for none
    """
    path = await run_in_threadpool(project.image_path, image_id)
    if display.is_plain(plane) and await run_in_threadpool(_is_shown_as_it_is, path):
        return FileResponse(path)

    def png() -> bytes:
        stream = io.BytesIO()
        Image.fromarray(display.load(image_id, plane)).save(stream, "PNG", compress_level=1)
        return stream.getvalue()

    async with request.app.state.converting:  # convert one image at a time
        return Response(await run_in_threadpool(png), media_type="image/png")


@router.get("/thumbnail", response_class=Response, responses=file_answer("image/jpeg"))
async def thumbnail(image_id: ImageId, display: DisplayDep, request: Request) -> Response:
    """Return a small upright version of the image as JPEG."""

    def small() -> bytes:
        image = Image.fromarray(display.load(image_id, AskedPlane()))
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=80)
        return stream.getvalue()

    async with request.app.state.shrinking:  # the page requests many thumbnails at once
        content = await run_in_threadpool(small)
    return Response(
        content, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"}
    )


def _is_shown_as_it_is(path: Path) -> bool:
    """Whether browsers display the file exactly as anymask does. False for unreadable files."""
    try:
        with open_image(path) as image:
            plain = image.format in ("JPEG", "PNG", "WEBP") and image.mode in ("RGB", "L")
            return plain and image.getexif().get(0x0112, 1) == 1
    except Exception:  # many exception types for corrupted data
        return False


# Automatic mask generation.


@router.get("/progress", response_model=ProgressBody)
async def progress(image_id: ImageId, request: Request) -> dict[str, int]:
    """Return the progress of automatic mask generation for the image, in points or tiles."""
    done_now, total = request.app.state.steps.get(image_id, (0, 0))
    return {"done": done_now, "total": total}


@router.post("/everything", response_model=ProposalsBody, response_model_exclude_unset=True)
async def everything(
    image_id: ImageId,
    plane: Asked,
    project: ProjectDep,
    display: DisplayDep,
    inference: ModelDep,
    request: Request,
) -> dict[str, Any]:
    """Run automatic mask generation on the image and store the masks as proposals, once per page.

    others: masks below the minimum score, which are not stored.
    """
    page = await run_in_threadpool(lambda: display.page(project.image_path(image_id), plane.page))
    waiting = await run_in_threadpool(project.store.records, image_id, ("proposed",))
    known = [
        entry for entry in waiting if entry.page == page and entry.provenance.tool == "everything"
    ]
    others: list[Draft] = []
    if not known:
        steps: dict[int, tuple[int, int]] = request.app.state.steps

        def tell(step: int, total: int | None) -> None:
            steps[image_id] = (step, total or 0)

        image = partial(display.load, image_id, replace(plane, page=page))
        try:
            known, others = await _propose(project, inference, (image_id, page), image, tell)
        finally:
            steps.pop(image_id, None)
    return {
        "records": [kept_mask(entry) for entry in known],
        "others": [found_mask(draft) for draft in others],
    }


async def _propose(
    project: Project,
    inference: Inference,
    place: tuple[int, int],
    image: Callable[[], UintImage],
    tell: OnProgress,
) -> tuple[list[StoredMask], list[Draft]]:
    """Run automatic mask generation and store proposals that do not exist yet.

    Returns the stored proposals, and masks below the minimum score, which are not stored.

    Args:
        place: Image ID and page.
    """
    image_id, page = place
    settings, stage = project.settings, project.stage
    stage = stage if stage in ("semi", "auto") else "semi"
    masks = await done(
        inference.everything(image, grid_settings(stage, settings) | EVERY_MASK, tell=tell)
    )
    model = inference.model.result()
    family, least = model.runtime.family, settings.score
    least = grid_of(family, {}).score if least is None else least
    likely, rest = split_by_score(masks, least, default_min_objectness(family))
    likely = await done(inference.refine(image, likely))
    good, others = (
        proposals_of(records, model, stage, replace(settings, confident=0.0))
        for records in (likely, rest)
    )
    there = await run_in_threadpool(project.store.records, image_id, ("proposed", "accepted"))
    rles = [entry.rle for entry in there if entry.page == page]
    mark = f":page{page}" if page else ""
    named = [
        replace(draft, page=page, client_id=f"{draft.provenance.model_hash}{mark}:{number}")
        for number, draft in enumerate(good)
        if not (rles and (rle_iou([draft.rle], rles) >= KNOWN_IOU).any())
    ]
    keep = partial(project.store.add_records, image_id, named, "model", status="proposed")
    return await run_in_threadpool(keep), [replace(draft, page=page) for draft in others]
