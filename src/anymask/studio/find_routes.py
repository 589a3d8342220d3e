"""Routes for text and exemplar prompts, in an image or a project, and for cut-outs."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from anymask.base import AnymaskError, Conflict, InputError, UintImage
from anymask.edit import CutoutSettings, main_subject, write_cutout
from anymask.find import one_question
from anymask.images import display_image
from anymask.masks import TOLERANCE, rle_to_mask
from anymask.segment import EncodedImage, Model
from anymask.studio.errors import RequestError, unknown_hash, without_code
from anymask.studio.image_routes import Asked, AskedPlane, DisplayDep, DisplaySettings
from anymask.studio.inference import Inference, QueueClosed, RequestAbandoned, T
from anymask.studio.limits import Limits
from anymask.studio.model_routes import (
    BINARY,
    HASH,
    IMAGE_BODY,
    MASKS,
    BodyRoute,
    Format,
    LimitsDep,
    ModelDep,
    Tolerance,
    form_body,
    from_base64,
    image_of,
    of_state,
    read_image,
    records_answer,
    result_of,
    view_of,
)
from anymask.studio.project_routes import ImageId
from anymask.studio.project_schemas import FindsBody, SearchBody, SearchState, kept_mask
from anymask.studio.records import Action, Draft, ImageEntry
from anymask.studio.schemas import (
    ExampleBody,
    FindBody,
    FindsAnswer,
    KnownNamesBody,
    QuestionBody,
    check_pixels,
)
from anymask.studio.searching import Search, images_left, keep_finds, open_search, search_images
from anymask.studio.store import SEARCH_EVENT

router = APIRouter(route_class=BodyRoute, tags=["model"])
of_project = APIRouter(prefix="/api", route_class=BodyRoute, tags=["project"])


@router.get("/api/names", response_model=KnownNamesBody)
async def known_names(inference: ModelDep) -> dict[str, Any]:
    """List the names that the model supports, most frequent first."""
    naming = (await run_in_threadpool(inference.ready)).runtime.naming
    table = None if naming is None else naming.name_table()
    reader = inference.detector
    name = getattr(reader, "name", None if reader is None else str(reader))
    return {"names": [] if table is None else list(table.words), "detector": name}


@router.post(
    "/api/find",
    response_model=FindsAnswer,
    openapi_extra=form_body(FindBody, *QuestionBody.model_fields),
    responses=MASKS,
)
async def find(
    body: FindBody,
    request: Request,
    inference: ModelDep,
    limits: LimitsDep,
    kind: Format = "rle",
    tolerance: Tolerance = TOLERANCE,
) -> Response:
    """Segment all objects that match a text or exemplar prompt, as labeled SA-1B records.

    Best first. The request is cancelled if the client disconnects.
    """
    project = request.app.state.project
    display = None if project is None else DisplaySettings(project.project, project.images, limits)
    examples = Examples(inference, limits, display)
    examples.check(body)
    view = await view_of(inference, body.image, limits, kind)

    def work(model: Model) -> tuple[list[Any], tuple[int, int]]:
        image = whole_image(view())
        search = examples.search(model, body, lambda: image)
        return search.find(image), (image.shape[0], image.shape[1])

    masks, hw = await result_of(request, lambda left: inference.long("find", work, left))
    return await run_in_threadpool(records_answer, masks, hw, kind, tolerance)


@dataclass(frozen=True)
class CutoutQuery:
    """Cut-out settings in the query."""

    kind: Annotated[Literal["png", "webp", "jpeg"], Query(alias="format")] = "png"
    background: Annotated[
        str | None,
        Query(max_length=60, description="new background: a color (white, #20a0ff), or `blur`"),
    ] = None
    soft: bool = True
    shadow: bool = False
    crop: bool = False
    margin: Annotated[int, Query(ge=0, le=10_000)] = 0


CUTOUT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The cut-out",
        "content": {f"image/{kind}": BINARY for kind in ("png", "webp", "jpeg")},
    }
}


@router.post("/api/cutout", response_class=Response, openapi_extra=IMAGE_BODY, responses=CUTOUT)
async def cutout(
    look: Annotated[CutoutQuery, Depends()],
    request: Request,
    inference: ModelDep,
    limits: LimitsDep,
) -> Response:
    """Remove the background: cut out the main subject of an image, without a prompt."""
    # The background text is a color or "blur", never a file of the server.
    settings: Any = asdict(look)
    kind = settings.pop("kind")
    CutoutSettings(**settings)
    if kind == "jpeg" and look.background is None:
        raise RequestError(422, "A JPEG has no transparency. Add background=white, or use png.")
    data = await image_of(request)

    def work(model: Model) -> bytes:
        image, file = read_image(data, limits, alpha=True), io.BytesIO()
        subject = main_subject(model, display_image(image))
        if subject is None:
            raise RequestError(
                422, "No main subject found. Send a point to /api/segment?format=cutout."
            )
        write_cutout(file, f".{kind}", image, subject.mask, **settings)
        return file.getvalue()

    content = await result_of(request, lambda left: inference.long("cutout", work, left))
    return Response(content, media_type=f"image/{kind}")


def whole_image(encoded: UintImage | EncodedImage) -> UintImage:
    """Full-size pixels of an image. Raises Refusal if only a smaller copy is cached."""
    if not isinstance(encoded, EncodedImage):
        return encoded
    if encoded.image is None or encoded.image.shape[:2] != encoded.embedding.image_hw:
        raise RequestError(404, "The server has only a smaller copy of this image. Send the image.")
    return np.asarray(encoded.image)


class Examples:
    """Resolve the exemplars of requests, given by ID, hash or base64, to images with prompts."""

    def __init__(self, inference: Inference, limits: Limits, look: DisplaySettings | None) -> None:
        self.inference, self.limits, self.look = inference, limits, look
        self._read: dict[tuple[int, int | None], UintImage] = {}  # images of the project

    def check(self, body: QuestionBody) -> None:
        """Validate a request before any image is read. Raises Refusal, InputError."""
        one_question(body.words, body.like or None)
        several = [*(body.like or ()), *(body.unlike or ())]
        check_pixels(
            (example.mask.size for example in several if example.mask is not None), self.limits
        )
        for example in several:
            example.prompted()
            if self.look is None and (example.record or example.image_id):
                raise RequestError(422, "This server has no project. Send an image and a prompt.")

    def search(
        self, model: Model, body: QuestionBody, here: Callable[[], UintImage] | None
    ) -> Search:
        """Create a search from a request. `here` reads the image to search."""
        like, unlike = (
            [self._prompted(example, here) for example in some] if some else None
            for some in (body.like, body.unlike)
        )
        label, first = body.label, body.like[0] if body.like else None
        if label is None and self.look is not None and first is not None and first.record:
            label = self.look.project.store.record(first.record).label
        settings = body.settings(self.inference.detector)
        try:
            return open_search(
                model, body.words, like=like, unlike=unlike, label=label, settings=settings
            )
        except InputError as error:
            if (text := without_code(str(error))) == str(error):
                raise
            raise InputError(
                f"{text} To search for other words, start the server with --detector llmdet_tiny, "
                "or search with an example."
            ) from error

    def _prompted(
        self, one: ExampleBody, here: Callable[[], UintImage] | None
    ) -> tuple[UintImage, dict[str, Any]]:
        prompted, image_id, page = one.prompted(), one.image_id, one.page
        if one.record is not None:
            assert self.look is not None  # checked
            entry = self.look.project.store.record(one.record)
            image_id, page = entry.image_id, entry.page
            prompted = {"mask": rle_to_mask(entry.rle)}
        if image_id is not None:
            assert self.look is not None  # checked
            if (image_id, page) not in self._read:
                self._read[image_id, page] = self.look.load(image_id, AskedPlane(page))
            return self._read[image_id, page], prompted
        if one.image is None:
            if here is None:
                raise RequestError(
                    422, "The exemplar has no image. Send `record`, `image_id` or `image`."
                )
            return here(), prompted
        if not HASH.fullmatch(one.image):
            return read_image(from_base64(one.image), self.limits), prompted
        encoded = self.inference.recall(one.image)
        if encoded is None:
            raise RequestError(404, unknown_hash(one.image))
        return whole_image(encoded), prompted


# Project routes.


@of_project.post(
    "/images/{image_id}/find", response_model=FindsBody, response_model_exclude_unset=True
)
async def find_here(
    image_id: ImageId,
    body: SearchBody,
    plane: Asked,
    look: DisplayDep,
    inference: ModelDep,
    request: Request,
) -> dict[str, Any]:
    """Propose objects that match a text or exemplar prompt in an image of the project.

    Objects that already have a mask are not added again; a proposal without a class receives the
    class. The request is cancelled if the client disconnects.
    """
    examples = Examples(inference, look.limits, look)
    examples.check(body)
    page = await run_in_threadpool(lambda: look.page(look.project.image_path(image_id), plane.page))
    least = look.project.settings.min_mask_area

    def work(model: Model) -> tuple[list[Draft], Search]:
        image = look.load(image_id, plane)
        search = examples.search(model, body, lambda: image)
        return search.drafts(image, page, least), search

    drafts, search = await result_of(request, lambda left: inference.long("find", work, left))
    store = look.project.store
    kept = await run_in_threadpool(keep_finds, store, image_id, drafts, search.key, False)
    answer = {"records": [kept_mask(entry) for entry in kept.records], "existing": kept.existing}
    return answer | ({"untrained": search.untrained} if search.untrained else {})


class ProjectSearch:
    """Background search in all images of a project. Only one runs at a time."""

    def __init__(self, inference: Inference, look: DisplaySettings) -> None:
        self.inference, self.look = inference, look
        self._left, self._changing = threading.Event(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._key, self._body = "", SearchBody()
        self._failed: str | None = None
        self._passed: list[str] = []

    @property
    def running(self) -> bool:
        """Whether the search is running."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, body: SearchBody) -> None:
        """Start or resume a search. Raises Conflict if another one runs, Refusal, InputError."""
        Examples(self.inference, self.look.limits, self.look).check(body)
        with self._changing:
            if self.running:
                raise Conflict("A search of all images is already running. Wait, or stop it.", None)
            self._left.clear()
            self._key = self._key if body == self._body else ""  # set after encoding
            self._body, self._failed, self._passed = body, None, []
            self._thread = threading.Thread(target=self._run, name="anymask-search", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop the search and wait for its end. Results are kept."""
        self._left.set()
        if self._thread is not None:
            self._thread.join()

    def state(self) -> SearchState:
        """Progress of the search; after a restart of the server, as stored in the database."""
        store, key, body = self.look.project.store, self._key, self._body
        if self._thread is None:
            stored = store.last_asked()
            if stored is None:
                return SearchState(state="none")
            key, body = str(stored["key"]), SearchBody.model_validate(stored["question"])
        running = self.running  # read first, because the search may end during the count
        searched = store.searched(key) if key else {}
        left = len(images_left(store, searched))
        state = "running" if running else "stopped" if left else "done"
        return SearchState(
            state="failed" if self._failed else state,  # type: ignore[arg-type]  # one of these values
            question=body, done=len(searched), total=len(searched) + left,
            found=sum(searched.values()), why=self._failed or "; ".join(self._passed[:3]),
        )  # fmt: skip

    def _run(self) -> None:
        store = self.look.project.store
        least = self.look.project.settings.min_mask_area
        examples = Examples(self.inference, self.look.limits, self.look)
        try:
            search = self._wait(lambda model: examples.search(model, self._body, None))
            self._key = search.key
            if search.untrained:
                names = ", ".join(search.untrained)
                self._passed.append(f"Names without training images: {names}")
            question = self._body.model_dump(mode="json", exclude_defaults=True)
            detail = {"key": search.key, "question": question}
            store.add_events(None, [Action(kind=SEARCH_EVENT, detail=detail)], "search")

            def look(image: ImageEntry) -> list[Draft]:
                page = self.look.page(self.look.project.image_path(image.id), None)
                try:
                    pixels = self.look.load(image.id, AskedPlane())
                except RequestError as refusal:  # too large: continue with the other images
                    raise InputError(str(refusal.detail)) from refusal
                return self._wait(lambda _: search.drafts(pixels, page, least))

            for _ in search_images(
                store, search.key, look, lambda *why: self._passed.append(": ".join(why))
            ):
                if self._left.is_set():
                    return
        except (RequestAbandoned, QueueClosed):
            return
        except (AnymaskError, RequestError) as error:
            self._failed = str(error) if isinstance(error, AnymaskError) else str(error.detail)

    def _wait(self, work: Callable[[Model], T]) -> T:
        """Run one step and wait for it. Raises RequestAbandoned after `stop`."""
        while not self._left.is_set():
            try:
                return self.inference.long("find", work, self._left).result()
            except RequestError as refusal:
                if refusal.status_code != 429:
                    raise
                self._left.wait(2.0)  # the server is busy
        raise RequestAbandoned


SearchDep = Annotated[ProjectSearch, of_state("search")]


@of_project.get("/search", response_model=SearchState)
def search_state(search: SearchDep) -> SearchState:
    """Return the progress of the search of all images."""
    return search.state()


@of_project.post("/search", response_model=SearchState)
def start_search(body: SearchBody, search: SearchDep) -> SearchState:
    """Start a search for text or exemplar prompts in all images that are not marked as done.

    Matches become proposals with a class. The search runs in the background. The same request
    resumes a stopped search. Status 409 if another search is running.
    """
    search.start(body)
    return search.state()


@of_project.delete("/search", response_model=SearchState)
def stop_search(search: SearchDep) -> SearchState:
    """Stop the search of all images. Proposals that were found are kept."""
    search.stop()
    return search.state()
