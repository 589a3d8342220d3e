"""The server's addresses: the model's abilities, the page, and whatever routers are added."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from threading import Event
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from anymask.predictors.arrangement import EverythingDict
from anymask.primitives.candidates import Candidates
from anymask.primitives.prompts import Prompt
from anymask.primitives.records import MaskRecord
from anymask.primitives.types import Embedding, UintImage
from anymask.serving.cost import A_LOOK, cost_of
from anymask.serving.guard import Access, Guard
from anymask.serving.inference import Inference
from anymask.serving.limits import Limits
from anymask.serving.pages import Asset, pages_router
from anymask.serving.photos import from_base64, read_photo
from anymask.serving.queued import RequestAbandoned
from anymask.serving.refusals import LEFT, Refusal, install_refusals
from anymask.serving.turns import QueueClosed
from anymask.serving.wire import (
    EverythingBody,
    SegmentBody,
    answer_to_json,
    check_prompts,
    embedding_to_bytes,
    prompt_of,
)

HASH = re.compile(r"[0-9a-f]{32}")
_SETTINGS = frozenset(EverythingDict.__optional_keys__) | {"tile"}
_PICTURE = {
    "requestBody": {
        "required": True,
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_MOST_NUMBER = 1_000_000_000  # of settings that have no limit of their own
_OURS = frozenset({"memory_limit", "points_per_batch"})  # the server's own memory and slices


@dataclass(frozen=True)
class ServerParts:
    """What one server is made of.

    inference  the model
    access     who may ask
    limits     how much
    assets     address -> file: `pages.page_assets` and `pages.model_assets`
    routers    further addresses
    """

    inference: Inference
    access: Access = field(default_factory=Access)
    limits: Limits = field(default_factory=Limits)
    assets: dict[str, Asset] = field(default_factory=dict)
    routers: Sequence[APIRouter] = ()


class App:
    """An ASGI application; `api` is the FastAPI inside the guard."""

    def __init__(self, served: ServerParts) -> None:
        self.api = _api(served)
        self._guard = Guard(
            self.api,
            served.access,
            served.limits,
            lambda: served.inference.seconds_ahead,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the application's start and end."""
        await self._guard(scope, receive, send)


def create_app(served: ServerParts) -> ASGIApp:
    """The application; the model is loaded when it starts, in a thread."""
    return App(served)


def _api(served: ServerParts) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        served.inference.start()
        yield
        await run_in_threadpool(served.inference.close)

    api = FastAPI(
        title="anymask",
        version=version("anymask"),
        docs_url=None,  # both load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    install_refusals(api)
    api.include_router(model_router(served.inference, served.limits))
    for router in served.routers:
        api.include_router(router)
    api.include_router(pages_router(served.assets))
    return api


def model_router(inference: Inference, limits: Limits) -> APIRouter:
    """/health and /api/embed, /api/segment, /api/everything."""
    router = APIRouter()
    unpacking = asyncio.Lock()  # the pixels of one request's masks at a time

    @router.get("/health")
    async def health() -> dict[str, str]:
        """How the model is: loading, ready or failed; answered at once."""
        now = inference.health()
        answer = {"status": now.status, "model": now.model, "weights_hash": now.weights_hash}
        return answer | ({"reason": now.reason} if now.reason else {})

    @router.post("/api/embed", response_class=Response, openapi_extra=_PICTURE)
    async def embed(request: Request) -> Response:
        """The bytes of a picture -> its embedding; the header X-Image-Hash names it later."""
        return await embedded(inference, await request.body(), limits)

    @router.post("/api/segment", response_model=dict[str, Any])
    async def segment(body: SegmentBody) -> Response:
        """Prompts on one photo -> masks, best first."""
        check_prompts(body.prompts, limits)
        if all(prompt.mask is None for prompt in body.prompts):
            prompts = [prompt_of(prompt) for prompt in body.prompts]
            seen = await see(inference, body.image, limits)
            return await answered(seen, prompts, body)
        seen = await see(inference, body.image, limits)
        async with unpacking:
            prompts = await run_in_threadpool(lambda: [prompt_of(p) for p in body.prompts])
            return await answered(seen, prompts, body)

    async def answered(seen: Embedding, prompts: list[Prompt], body: SegmentBody) -> Response:
        answers = await done(inference.segment(seen, prompts, body.multimask, body.granularity))
        return await run_in_threadpool(_answered, answers, seen.image_hash)

    _add_everything(router, inference, limits)
    return router


async def embedded(inference: Inference, photo: bytes, limits: Limits) -> Response:
    """The bytes of a picture -> its embedding's, with the name of its pixels in a header."""
    seen = await done(inference.embed(lambda: read_photo(photo, limits)))
    packed = await run_in_threadpool(embedding_to_bytes, seen, inference.model.result().spec)
    headers = {"X-Image-Hash": seen.image_hash}
    return Response(packed, media_type="application/octet-stream", headers=headers)


def _answered(answers: list[Candidates], image_hash: str) -> Response:
    """Written here, in a thread: the thread that takes requests has no time for it."""
    packed = [answer_to_json(answer) for answer in answers]
    return JSONResponse({"answers": packed, "image": image_hash})


def _add_everything(router: APIRouter, inference: Inference, limits: Limits) -> None:
    @router.post("/api/everything", response_model=dict[str, Any])
    async def everything(body: EverythingBody, request: Request) -> Response:
        """The masks of everything in a photo, as SA-1B records, best first.

        Given up once the client has gone.
        """
        settings = checked_settings(body.settings, limits)
        look: Embedding | bytes = (
            await see(inference, body.image, limits)
            if HASH.fullmatch(body.image)
            else await run_in_threadpool(from_base64, body.image)
        )

        def seen() -> UintImage | Embedding:
            photo = read_photo(look, limits) if isinstance(look, bytes) else look
            check_cost(photo, settings, limits)
            return photo

        left = threading.Event()
        asked = inference.everything(seen, settings, left)
        async with gives_up(request, asked, left):
            found = await done(asked)
        return await run_in_threadpool(_recorded, found)


@asynccontextmanager
async def gives_up(request: Request, asked: Future[Any], left: Event) -> AsyncIterator[None]:
    """Sets `left` when the client goes away, and cancels what has not begun."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        left.set()
        asked.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()


def _recorded(found: list[MaskRecord]) -> Response:
    rows = [record.to_sa1b(number) for number, record in enumerate(found, 1)]
    return JSONResponse({"records": rows})


async def done(future: Any) -> Any:
    """Wait for a future of the inference without holding up other requests."""
    try:
        return await asyncio.wrap_future(future)
    except (RequestAbandoned, asyncio.CancelledError) as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling()):
            raise  # the request itself, not the work, was cancelled
        raise Refusal(LEFT, "a client that waits", "one that has gone", "ask again") from None
    except QueueClosed:
        raise Refusal(
            503, "a running server", "one that goes down", "ask again", retry_after=5
        ) from None


async def see(inference: Inference, image: str, limits: Limits) -> Embedding:
    """The embedding behind a hash or a picture as base64. Raises Refusal (404, 422, ...)."""
    if not inference.model.done():
        await asyncio.wait([asyncio.wrap_future(inference.model)])
    if not HASH.fullmatch(image):
        photo = await run_in_threadpool(from_base64, image)
        made: Embedding = await done(inference.embed(lambda: read_photo(photo, limits)))
        return made
    found = inference.remembered(image) or await run_in_threadpool(inference.recall, image)
    if found is None:
        raise Refusal(
            404, "the hash of an image that this server has seen", image, "send the image"
        )
    return found


def checked_settings(settings: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Settings of everything that a client may choose. Raises Refusal."""
    known = sorted(_SETTINGS - _OURS)
    strange = sorted(set(settings) - set(known))
    if strange:
        raise Refusal(
            422, f"settings of {', '.join(known)}", ", ".join(strange)[:200], "leave it out"
        )
    most = dict.fromkeys(known, _MOST_NUMBER)
    most |= {"points_per_side": limits.points_per_side, "crop_n_layers": limits.crop_layers}
    for name, value in settings.items():
        if isinstance(value, int | float) and value > most[name]:
            got = f"{value:g}" if value < sys.float_info.max else "a larger number"
            raise Refusal(422, f"{name} of at most {most[name]}", got, "send a smaller one")
    return settings


def check_cost(photo: UintImage | Embedding, settings: dict[str, Any], limits: Limits) -> None:
    """Raises Refusal for settings that ask for too many clicks on this photo, InputError."""
    height, width = photo.image_hw if isinstance(photo, Embedding) else photo.shape[:2]
    cost = cost_of((height, width), settings)
    if cost > limits.clicks:
        raise Refusal(
            422,
            f"everything of at most {limits.clicks} clicks, of which each look costs {A_LOOK}",
            f"{cost} on a photo of {width} x {height}",
            "send larger tiles, fewer points_per_side or fewer crop_n_layers",
        )
