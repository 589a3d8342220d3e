"""The address of names: a photo and masks in, what each may be called out.

The server's ASGI application.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from anymask.base import UintImage
from anymask.masks import Rle, coco_to_rle
from anymask.segment import EncodedPhoto
from anymask.studio.answers import NameAnswer, NamesAnswer
from anymask.studio.forms import FormRoute, form_fields
from anymask.studio.guard import Access, Guard
from anymask.studio.inference import Inference
from anymask.studio.limits import Limits
from anymask.studio.model_api import HASH, done, gives_up, model_router, see
from anymask.studio.naming import Named
from anymask.studio.own_names import OwnNames
from anymask.studio.pages import Asset, docs_assets, pages_router
from anymask.studio.photos import from_base64, read_photo
from anymask.studio.refusals import ANYWHERE, documented, install_refusals
from anymask.studio.video_api import video_router
from anymask.studio.video_results import video_results_router
from anymask.studio.video_sessions import VideoSessions
from anymask.studio.wire import NamesBody, check_masks


def names_router(inference: Inference, limits: Limits, own: OwnNames | None = None) -> APIRouter:
    """/api/names; `own` explains a project's own names."""
    router = APIRouter(route_class=FormRoute, responses=documented(*ANYWHERE))

    @router.post(
        "/api/names",
        response_model=NamesAnswer,
        openapi_extra=form_fields(*NamesBody.model_fields),
        responses=documented(400, 404, 415, 422),
    )
    async def names(body: NamesBody, request: Request) -> NamesAnswer:
        """Masks of one photo -> the likeliest names of each, by the model's network of names.

        Given up once the client has gone.
        """
        check_masks(body.masks, limits)
        rles = await run_in_threadpool(_rles_of, body)
        given: EncodedPhoto | bytes = (
            await see(inference, body.image, limits)
            if HASH.fullmatch(body.image)
            else await run_in_threadpool(from_base64, body.image)
        )

        def look() -> UintImage | EncodedPhoto:
            return given if isinstance(given, EncodedPhoto) else read_photo(given, limits)

        left = threading.Event()
        asked = inference.names(look, rles, body.choice(), left, own)
        async with gives_up(request, asked, left):
            return _answer(await done(asked))

    return router


def _rles_of(body: NamesBody) -> list[Rle]:
    return [coco_to_rle(mask.model_dump()) for mask in body.masks]


def _answer(named: Named) -> NamesAnswer:
    rows = [
        [NameAnswer(label=one.label, probability=one.probability) for one in suggested]
        for suggested in named.suggestions
    ]
    return NamesAnswer(suggestions=rows, among=named.among)


_ABOUT = """Clicks, boxes and masks on a photo -> its masks. A photo is named by the hash that
`POST /api/embed` answers in `X-Image-Hash`, or comes along as base64, or as the file of a form."""


@dataclass(frozen=True)
class ServerParts:
    """What one server is made of.

    inference  the model
    access     who may ask
    limits     how much
    assets     address -> file: `pages.page_assets` and `pages.model_assets`
    routers    further addresses
    clips      videos and folders of frames that the page offers, by name
    own_names  of the project that is served
    """

    inference: Inference
    access: Access = field(default_factory=Access)
    limits: Limits = field(default_factory=Limits)
    assets: dict[str, Asset] = field(default_factory=dict)
    routers: Sequence[APIRouter] = ()
    clips: Mapping[str, Path] = field(default_factory=dict)
    own_names: OwnNames | None = None


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
    videos = VideoSessions(served.inference, served.limits, clips=served.clips)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        served.inference.start()
        videos.start()
        yield
        await run_in_threadpool(served.inference.close)  # first: what videos wait for ends
        await run_in_threadpool(videos.close)

    api = FastAPI(
        title="anymask",
        version=version("anymask"),
        description=_ABOUT,
        docs_url=None,  # both load scripts from elsewhere; /docs is ours
        redoc_url=None,
        lifespan=lifespan,
    )
    api.state.videos = videos
    install_refusals(api)
    routers = [
        model_router(served.inference, served.limits),
        names_router(served.inference, served.limits, served.own_names),
        video_router(videos, served.limits),
        video_results_router(videos),
    ]
    for router in routers:
        api.include_router(_answering_head(router))
    for router in served.routers:
        failures = documented(400, 404, 409, 415, 422, 501, 502, 507, *ANYWHERE)
        api.include_router(_answering_head(router), responses=failures)
    pages = pages_router(served.assets | docs_assets())
    api.include_router(_answering_head(pages))
    every = (*routers, *served.routers, pages)
    api.state.addresses = [route for router in every for route in router.routes]
    _describe_token(api, served.access)
    return api


_WORK = ("embedding",)  # what GET computes, and HEAD would too


def _answering_head(router: APIRouter) -> APIRouter:
    """The router, which answers HEAD, too, where GET gives a document, not where it works."""
    for route in list(router.routes):
        if not isinstance(route, APIRoute) or route.methods != {"GET"}:
            continue
        if route.response_class is not StreamingResponse and route.name not in _WORK:
            twin = copy(route)
            twin.methods, twin.include_in_schema = {"HEAD"}, False
            router.routes.append(twin)
    return router


def _describe_token(api: FastAPI, access: Access) -> None:
    """Say in the schema that requests bring the server's token, where it has one."""
    plain = api.openapi

    def described() -> dict[str, Any]:
        schema = plain()
        if access.token:
            parts = schema.setdefault("components", {})
            parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            schema["security"] = [{"token": []}]
            schema["paths"]["/health"]["get"]["security"] = []
        return schema

    api.openapi = described  # type: ignore[method-assign]  # FastAPI's documented way
