"""Error answers: exceptions in; JSON of wanted, got, remedy and status, and its schema out."""

from __future__ import annotations

import difflib
import errno
import logging
import math
import re
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from anymask.base import (
    AnymaskError,
    Conflict,
    DiskFull,
    MissingExtra,
    NotAllowedError,
    NotFoundError,
    StoreError,
    WeightsError,
    our_word,
)
from anymask.studio.answers import ClosedAnswer, KeptMaskAnswer

LOG = logging.getLogger("anymask.studio")
_STATUS: tuple[tuple[type[AnymaskError], int], ...] = (
    (NotFoundError, 404),
    (Conflict, 409),
    (NotAllowedError, 403),
    (DiskFull, 507),
    (StoreError, 503),
    (MissingExtra, 501),
    (WeightsError, 503),
    (AnymaskError, 422),
)
_REASONS = {
    400: "An empty body, or one that cannot be read.",
    401: "The server wants its token, and got none or another one.",
    403: "Not allowed: another web page's request, or an export that the project refuses.",
    404: "An address, a hash, a photo or a file that is not here.",
    405: "An address that takes another method.",
    408: "The body came in too slowly.",
    409: "The record has been changed since; `current` is what it is now.",
    413: "More bytes, pixels or values than the server takes.",
    415: "A body that is no picture of a known format, or no JSON.",
    421: "A Host that is not this machine's.",
    422: "What came does not mean anything here: wrong types, places outside the photo, ...",
    429: "Too much under way; ask again after the seconds of `Retry-After`.",
    500: "A defect of the server.",
    501: "A package that is not installed is needed.",
    502: "Another server did not give the picture.",
    503: "No model, or no database, or a server that goes down.",
    507: "The server's disk is full.",
}
ANYWHERE = (401, 403, 405, 408, 413, 421, 429, 500, 503)  # whatever was asked
_MOST_TOLD = 1000  # characters of each part
LEFT = 499  # to a client that has gone; nginx's number, there is no standard one
_PARTS = re.compile(
    r"(?:wanted )?(?P<wanted>.+?)[,;:] got (?P<got>.+?)(?:; (?P<remedy>.+))?", re.DOTALL
)


class Failure(ClosedAnswer):
    """What was wanted, what came, and what helps."""

    wanted: str
    got: str
    remedy: str
    status: int = Field(ge=400, le=599)


class FailureBody(BaseModel):
    """Every answer that is not the wanted one."""

    error: Failure


class ConflictBody(FailureBody):
    """A change that came too late; `current` is the record as it is now, null where it is gone."""

    current: KeptMaskAnswer | None


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The failures of an address, as FastAPI's `responses`."""
    found: dict[int | str, dict[str, Any]] = {
        status: {
            "model": ConflictBody if status == 409 else FailureBody,
            "description": _REASONS[status],
        }
        for status in statuses
    }
    if 429 in found:
        wait = {"description": "Seconds", "schema": {"type": "integer", "minimum": 1}}
        found[429]["headers"] = {"Retry-After": wait}
    return found


class Refusal(HTTPException):
    """A request that is not answered, and why.

    retry_after  seconds after which the same request may succeed
    """

    def __init__(
        self, status: int, wanted: str, got: str, remedy: str, retry_after: float | None = None
    ) -> None:
        wanted, got, remedy = _sendable(wanted), _sendable(got), _sendable(remedy)
        self.error = {"wanted": wanted, "got": got, "remedy": remedy, "status": status}
        headers = None
        if retry_after is not None:
            headers = {"Retry-After": str(max(1, math.ceil(retry_after)))}
        super().__init__(status, f"wanted {wanted}, got {got}; {remedy}", headers)

    def response(self) -> JSONResponse:
        """The answer."""
        return JSONResponse({"error": self.error}, self.status_code, self.headers)


def going_down() -> Refusal:
    """What is told to those whose work has not been done when the server is stopped."""
    return Refusal(503, "a running server", "one that goes down", "ask again", retry_after=5)


def _sendable(text: str) -> str:
    """Text that may quote a client, without what UTF-8 cannot hold, and not endless."""
    return text[:_MOST_TOLD].encode("utf-8", "backslashreplace").decode()


def refusal_of(error: AnymaskError) -> Refusal:
    """One of our own errors; its text is taken apart where it has the three parts."""
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    found = _PARTS.fullmatch(str(error))
    if found is None:
        return Refusal(status, "a request that can be answered", str(error), "see what came")
    wanted, got, remedy = found["wanted"], found["got"], found["remedy"]
    return Refusal(status, wanted, got, remedy or f"send what is wanted: {wanted}")


def install_refusals(api: FastAPI) -> None:
    """Make every failure of an application a structured one."""
    api.add_exception_handler(HTTPException, _plain)
    api.add_exception_handler(AnymaskError, _own)
    api.add_exception_handler(RequestValidationError, _invalid)
    api.add_exception_handler(OSError, _disk)
    api.add_exception_handler(ClientDisconnect, _left)
    api.add_exception_handler(Exception, _defect)


async def _plain(request: Request, error: Exception) -> Response:
    LOG.info("refused %s %s: %s", request.method, request.url.path, error)
    if isinstance(error, Refusal):
        return error.response()
    assert isinstance(error, HTTPException)
    path, headers = f"{request.method} {request.url.path}", dict(error.headers or {})
    if error.status_code == 405 and (methods := _methods_at(request)):
        headers["Allow"] = ", ".join(methods)
    allowed = " or ".join(sorted(headers.get("Allow", "another").split(", ")))
    wanted = {404: "an address of this server", 405: f"the method {allowed} at this address"}
    refusal = Refusal(
        error.status_code,
        wanted.get(error.status_code, "a request that can be read"),
        path if error.status_code in wanted else f"{path}: {error.detail}",
        "GET /openapi.json lists every address and what it takes, /docs shows them",
    )
    refusal.headers = headers or None
    return refusal.response()


def _methods_at(request: Request) -> list[str]:
    """Every method that the address takes; a router knows those of its first route alone."""
    found: set[str] = set()
    for route in getattr(request.app.state, "addresses", ()):
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= set(route.methods or ())
    return sorted(found)


async def _own(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnymaskError)
    LOG.info("refused %s %s: %s", request.method, request.url.path, error)
    return refusal_of(error).response()


_LISTS = {
    "points": "[[290, 120]]",
    "labels": "[1]",
    "box": "[180, 20, 400, 230]",
    "boxes": "[[180, 20, 400, 230]]",
    "prompts": '[{"points": [[290, 120]]}]',
}


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first: dict[str, Any] = dict(error.errors()[0])
    place = ".".join(str(part) for part in first["loc"][1:]) or "the body"
    kind = request.headers.get("content-type", "")
    if place == "the body" and "json" not in kind.lower():
        return Refusal(
            415,
            "JSON with the header Content-Type: application/json, or a form with a file",
            f"a body of the type {kind[:80]!r}" if kind else "a body without a Content-Type",
            "add: -H 'Content-Type: application/json' (curl), or send the photo as -F file=@NAME",
        ).response()
    remedy = "send the JSON that GET /openapi.json describes"
    if first["type"] == "json_invalid":
        body, at = str(error.body), int(first["loc"][-1])
        got = f"{body[at : at + 20]!r} at character {at} ({first['ctx']['error']})"
        return Refusal(422, "JSON", got, remedy).response()
    named = next((word for word in first["loc"][::-1] if word in _LISTS), None)
    if first["type"] in ("list_type", "tuple_type") and named is not None:
        remedy = f"write for example {named}={_LISTS[str(named)]}; {remedy}"
    if first["type"] == "missing" and place == "image" and "form-data" in kind:
        remedy = "add the photo: -F file=@photo.jpg"
    if first["type"] == "extra_forbidden":
        remedy = f"{_other_key(request, first['loc'])}; {remedy}"
    return Refusal(
        422, f"{place}: {first['msg']}", repr(first.get("input"))[:120], remedy
    ).response()


def _other_key(request: Request, loc: Sequence[int | str]) -> str:
    """What to write in place of a key that there is not: the nearest one, or all."""
    route = request.scope.get("route")
    body = getattr(getattr(route, "body_field", None), "field_info", None)
    names = list(getattr(getattr(body, "annotation", None), "model_fields", ()))
    name = str(loc[-1])
    near = difflib.get_close_matches(name, names, 1)
    near = [our_word(name)] if our_word(name) in names else near
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names) or 'others'}"


async def _disk(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        raise error
    return Refusal(
        507, "room on the server's disk", str(error.strerror), "make room there and ask again"
    ).response()


async def _left(request: Request, error: Exception) -> Response:
    """Nobody reads it: the client went away while its body came in."""
    return Response(status_code=LEFT)


async def _defect(request: Request, error: Exception) -> Response:
    where = f"{request.method} {request.url.path}"
    LOG.error("a defect in %s: %s", where, type(error).__name__)  # uvicorn logs the traceback
    return Refusal(
        500,
        "an answer",
        f"a defect of the server ({type(error).__name__})",
        "ask again; its log shows the details",
    ).response()
