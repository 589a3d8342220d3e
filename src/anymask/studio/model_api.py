"""Routes of the model: a photo in, an embedding out; prompts or settings in, masks out."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from threading import Event
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from anymask.base import InputError, UintImage
from anymask.masks import SMOOTH, Features, Prompt
from anymask.segment import EncodedPhoto, count_looks
from anymask.studio.forms import PICTURE_BODY, FormRoute, form_fields, picture_of
from anymask.studio.inference import Inference
from anymask.studio.limits import Limits
from anymask.studio.photos import from_base64, read_photo
from anymask.studio.refusals import ANYWHERE, LEFT, Refusal, documented, going_down
from anymask.studio.results import (
    EMBEDDING,
    PICTURES,
    EverythingAnswer,
    HealthAnswer,
    MaskFormat,
    SegmentAnswer,
    answers_response,
    records_response,
)
from anymask.studio.settings_schema import EVERYTHING
from anymask.studio.turns import QueueClosed, RequestAbandoned
from anymask.studio.wire import (
    EverythingBody,
    SegmentBody,
    check_prompts,
    embedding_to_bytes,
    prompt_of,
)

HASH = re.compile(r"[0-9a-f]{32}")
Format = Annotated[MaskFormat, Query(alias="format")]
Tolerance = Annotated[float, Query(ge=0, le=1000, allow_inf_nan=False)]
_MOST_NUMBER = 1_000_000_000  # of settings that have no limit of their own


def model_router(inference: Inference, limits: Limits) -> APIRouter:
    """/health and /api/embed, /api/segment, /api/everything."""
    router = APIRouter(route_class=FormRoute, responses=documented(*ANYWHERE))
    _add_health(router, inference)
    _add_embed(router, inference, limits)
    _add_segment(router, inference, limits)
    _add_everything(router, inference, limits)
    return router


def _add_health(router: APIRouter, inference: Inference) -> None:
    @router.get("/health", response_model=HealthAnswer, response_model_exclude_none=True)
    async def health() -> HealthAnswer:
        """How the model is: loading, ready or failed; answered at once."""
        now = inference.health()
        return HealthAnswer(
            status=now.status,
            model=now.model,
            weights_hash=now.weights_hash,
            reason=now.reason or None,
        )


def _add_embed(router: APIRouter, inference: Inference, limits: Limits) -> None:
    @router.post(
        "/api/embed",
        response_class=Response,
        openapi_extra=PICTURE_BODY,
        responses=EMBEDDING | documented(400, 415, 422),
    )
    async def encode(request: Request) -> Response:
        """The bytes of a picture -> its embedding; the header X-Image-Hash names it later."""
        photo = await picture_of(request)
        return await embedded(inference, lambda: read_photo(photo, limits))


async def embedded(inference: Inference, read: Callable[[], UintImage]) -> Response:
    """A photo -> its embedding's bytes, with the name of its pixels in a header.

    read  decodes the photo; called in a thread
    """
    seen: Features = (await done(inference.encode(read))).embedding
    packed = await run_in_threadpool(embedding_to_bytes, seen, inference.model.result().spec)
    headers = {"X-Image-Hash": seen.image_hash}
    return Response(packed, media_type="application/octet-stream", headers=headers)


def _add_segment(router: APIRouter, inference: Inference, limits: Limits) -> None:
    unpacking = asyncio.Lock()  # the pixels of one request's masks at a time

    @router.post(
        "/api/segment",
        response_model=SegmentAnswer,
        openapi_extra=form_fields(*SegmentBody.model_fields),
        responses=PICTURES | documented(400, 404, 415, 422),
    )
    async def segment(
        body: SegmentBody, request: Request, kind: Format = "rle", tolerance: Tolerance = SMOOTH
    ) -> Response:
        """Prompts on one photo -> masks, best first.

        Given up where the client has gone before its turn.
        """
        asked, settings = body.asked(), body.settings()
        check_prompts(asked, limits)

        async def answered(prompts: list[Prompt]) -> Response:
            work = inference.segment(seen, prompts, settings)
            async with gives_up(request, work):
                answers = await done(work)
            name = seen.embedding.image_hash
            # Written in a thread: the one that takes requests has no time for it.
            return await run_in_threadpool(answers_response, answers, name, kind, tolerance)

        if all(prompt.mask is None for prompt in asked):
            prompts = [prompt_of(prompt) for prompt in asked]
            seen = await see(inference, body.image, limits)
            return await answered(prompts)
        seen = await see(inference, body.image, limits)
        async with unpacking:
            if await request.is_disconnected():
                raise _gone()
            return await answered(
                await run_in_threadpool(lambda: [prompt_of(prompt) for prompt in asked])
            )


def _add_everything(router: APIRouter, inference: Inference, limits: Limits) -> None:
    @router.post(
        "/api/everything",
        response_model=EverythingAnswer,
        openapi_extra=form_fields("settings"),
        responses=PICTURES | documented(400, 404, 415, 422),
    )
    async def everything(
        body: EverythingBody,
        request: Request,
        kind: Format = "rle",
        tolerance: Tolerance = SMOOTH,
    ) -> Response:
        """The masks of everything in a photo, as SA-1B records, best first.

        Given up once the client has gone.
        """
        settings = checked_settings(body.settings, limits)
        look: EncodedPhoto | bytes = (
            await see(inference, body.image, limits)
            if HASH.fullmatch(body.image)
            else await run_in_threadpool(from_base64, body.image)
        )

        sizes: list[tuple[int, int]] = []

        def seen() -> UintImage | EncodedPhoto:
            photo = read_photo(look, limits) if isinstance(look, bytes) else look
            check_cost(photo, settings, limits)
            sizes.append(_image_hw(photo))
            return photo

        left = threading.Event()
        asked = inference.everything(seen, settings, left)
        async with gives_up(request, asked, left):
            found = await done(asked)
        return await run_in_threadpool(records_response, found, sizes[-1], kind, tolerance)


@asynccontextmanager
async def gives_up(
    request: Request, asked: Future[Any], left: Event | None = None
) -> AsyncIterator[None]:
    """Sets `left` when the client goes away, and cancels what has not begun."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        if left is not None:
            left.set()
        asked.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()


def _gone() -> Refusal:
    return Refusal(LEFT, "a client that waits", "one that has gone", "ask again")


async def done(future: Any) -> Any:
    """Wait for a future of the inference without holding up other requests."""
    try:
        return await asyncio.wrap_future(future)
    except (RequestAbandoned, asyncio.CancelledError) as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling()):
            raise  # the request itself, not the work, was cancelled
        raise _gone() from None
    except QueueClosed:
        raise going_down() from None


async def see(inference: Inference, image: str, limits: Limits) -> EncodedPhoto:
    """The seen photo behind a hash or a picture as base64. Raises Refusal (404, 422, ...)."""
    if not inference.model.done():
        await asyncio.wait([asyncio.wrap_future(inference.model)])
    if not HASH.fullmatch(image):
        photo = await run_in_threadpool(from_base64, image)
        made: EncodedPhoto = await done(inference.encode(lambda: read_photo(photo, limits)))
        return made
    found = inference.remembered(image) or await run_in_threadpool(inference.recall, image)
    if found is None:
        raise Refusal(
            404, "the hash of an image that this server has seen", image, "send the image"
        )
    return found


def checked_settings(settings: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Settings of everything that a client may choose. Raises Refusal."""
    known = sorted(setting.name for setting in EVERYTHING)
    strange = sorted(set(settings) - set(known))
    if strange:
        raise Refusal(
            422, f"settings of {', '.join(known)}", ", ".join(strange)[:200], "leave it out"
        )
    most = dict.fromkeys(known, _MOST_NUMBER)
    most |= {"grid": limits.points_per_side, "crop_n_layers": limits.crop_layers}
    for name, value in settings.items():
        if isinstance(value, int | float) and value > most[name]:
            got = f"{value:g}" if value < sys.float_info.max else "a larger number"
            raise Refusal(422, f"{name} of at most {most[name]}", got, "send a smaller one")
    return settings


def check_cost(photo: UintImage | EncodedPhoto, settings: dict[str, Any], limits: Limits) -> None:
    """Raises Refusal for settings that ask for too many clicks on this photo, InputError."""
    height, width = _image_hw(photo)
    cost = cost_of((height, width), settings)
    if cost > limits.clicks:
        raise Refusal(
            422,
            f"everything of at most {limits.clicks} clicks, of which each look costs {A_LOOK}",
            f"{cost} on a photo of {width} x {height}",
            "send larger tiles, fewer grid or fewer crop_n_layers",
        )


def _image_hw(photo: UintImage | EncodedPhoto) -> tuple[int, int]:
    if isinstance(photo, EncodedPhoto):
        return photo.embedding.image_hw
    height, width = photo.shape[:2]
    return height, width


A_LOOK = 256  # clicks: what the encoder takes beside them, about


def cost_of(image_hw: tuple[int, int], settings: Mapping[str, Any]) -> int:
    """Clicks of the whole grid in every tile and crop, and A_LOOK more for each of these.

    An upper bound: adaptive mode makes a third of the clicks. Raises InputError for values that are
    no numbers, or too small.
    """
    side = _whole(settings, "grid", 32)
    layers = _whole(settings, "crop_n_layers", 0)
    factor = max(1, _whole(settings, "crop_n_points_downscale_factor", 1))
    cost = 0
    for layer in range(layers + 1):
        clicks: int = max(1, side // factor**layer) ** 2
        cost += 4**layer * (clicks + A_LOOK)
    return count_looks(settings.get("tile", "auto"), image_hw) * cost


def _whole(settings: Mapping[str, Any], name: str, usual: int) -> int:
    value = settings.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError(f"{name} must be a whole number, 0 or more, got {value!r}")
    return value
