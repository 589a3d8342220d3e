"""ASGI application of the server, and its OpenAPI description."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from anymask import __version__
from anymask.base import Conflict, NotFoundError, brief, installed_plugins, load_plugin
from anymask.studio import (
    find_routes,
    image_routes,
    model_routes,
    project_routes,
    track_routes,
    video_routes,
    volume_routes,
)
from anymask.studio.errors import FAILURE_RESPONSES, install_errors
from anymask.studio.image_routes import DisplaySettings
from anymask.studio.inference import IMAGE_THREADS, Inference
from anymask.studio.limits import Limits
from anymask.studio.middleware import Access, AccessMiddleware
from anymask.studio.names import OwnNames
from anymask.studio.pages import add_pages
from anymask.studio.project_routes import ServedProject
from anymask.studio.video_sessions import VideoSessions

_ABOUT = """Segment objects in images, videos and scans. Send an image as base64 or as a form file.
Later requests can refer to it by the hash in the header `X-Image-Hash` of `POST /api/encode`."""


@brief
@dataclass(frozen=True)
class ServerParts:
    """Components of a server."""

    inference: Inference  # The model
    access: Access = field(default_factory=Access)  # Host, token and allowed origins
    limits: Limits = field(default_factory=Limits)  # Limits of requests
    bundle: Path | None = None  # Folder of the exported model for the page; None for a checkpoint
    # Videos and folders of frames that the page offers, by name
    clips: Mapping[str, Path] = field(default_factory=dict)
    scans: Mapping[str, Path] = field(default_factory=dict)  # Scans that the page offers, by name
    project: ServedProject | None = None  # Project to annotate, or None
    routers: tuple[APIRouter, ...] = ()  # Routes of plug-ins


def create_app(parts: ServerParts) -> FastAPI:
    """Create the application. On startup, it loads the model in a thread."""
    videos = VideoSessions(parts.inference, parts.limits, clips=parts.clips, scans=parts.scans)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        parts.inference.start()
        videos.start()
        yield
        await run_in_threadpool(parts.inference.close)  # first, because video sessions wait for it
        await run_in_threadpool(videos.close)
        if state.search is not None:
            await run_in_threadpool(state.search.stop)

    api = FastAPI(
        title="anymask",
        version=__version__,
        description=_ABOUT,
        docs_url=None,  # both load external scripts; anymask serves its own /docs
        redoc_url=None,
        lifespan=lifespan,
        responses=FAILURE_RESPONSES,
    )
    state = api.state
    state.inference, state.limits, state.videos = parts.inference, parts.limits, videos
    state.project, state.own_names, state.search = parts.project, None, None
    state.unpacking = asyncio.Lock()  # decode the masks of one request at a time
    state.converting, state.shrinking = asyncio.Lock(), asyncio.Semaphore(IMAGE_THREADS)
    state.looking = threading.Lock()  # scans of the project folder
    state.steps = {}  # progress of automatic mask generation, (done, total) by image
    install_errors(api)
    routers = [model_routes.router, find_routes.router, video_routes.router, volume_routes.router]
    if parts.project is not None:
        for kind in (Conflict, NotFoundError):
            api.add_exception_handler(kind, project_routes.answer_late)
        display = DisplaySettings(parts.project.project, parts.project.images, parts.limits)
        state.own_names = OwnNames(display.labeled)
        state.search = find_routes.ProjectSearch(parts.inference, display)
        routers += [project_routes.router, image_routes.router]
        routers += [find_routes.of_project, track_routes.router]
    routers += [*parts.routers, *(load_plugin("routes", n) for n in installed_plugins("routes"))]
    for router in routers:
        api.include_router(router)
    add_pages(api, parts.bundle)
    every = [route for router in (*routers, api.router) for route in router.routes]
    state.routes = [route for route in every if isinstance(route, Route)]
    _describe(api, bool(parts.access.token))
    api.add_middleware(
        AccessMiddleware,
        access=parts.access,
        limits=parts.limits,
        seconds_ahead=lambda: parts.inference.seconds_ahead,
    )
    if parts.access.origins:
        api.add_middleware(
            CORSMiddleware,
            allow_origins=parts.access.origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "If-Match"],
            expose_headers=["X-Image-Hash", "Retry-After", "ETag"],
        )
    return api


def _describe(api: FastAPI, token: bool) -> None:
    """Add summaries, examples and the token to the OpenAPI schema."""
    plain = api.openapi

    def described() -> dict[str, Any]:
        if api.openapi_schema is not None:
            return api.openapi_schema
        schema = plain()
        for operations in schema["paths"].values():
            for operation in operations.values():
                description = operation.get("description", "")
                operation["summary"] = description.partition("\n")[0].rstrip(".")
                for parameter in operation.get("parameters", ()):
                    if examples := parameter["schema"].get("examples"):
                        parameter["example"] = examples[0]  # default value in /docs
        if token:
            parts = schema.setdefault("components", {})
            parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            schema["security"] = [{"token": []}]
            schema["paths"]["/health"]["get"]["security"] = []
        return schema

    api.openapi = described  # type: ignore[method-assign]  # as documented by FastAPI
