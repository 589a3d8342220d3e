"""HTTP errors: a failure becomes JSON of what was wanted, what came, and what helps."""

from __future__ import annotations

import difflib
import errno
import logging
import math
import re
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
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
from anymask.studio.limits import COSTLY

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
LEFT = 499  # to a client that has gone; nginx's number, there is no standard one
_LONGEST = 3000  # characters of a message
_PARTS = re.compile(
    r"(?:wanted )?(?P<wanted>.+?)[,;:] got (?P<got>.+?)(?:; (?P<remedy>.+))?", re.DOTALL
)


class Failure(BaseModel):
    """What was wanted, what came, and what helps."""

    model_config = ConfigDict(extra="forbid")

    wanted: str
    got: str
    remedy: str
    status: int = Field(ge=400, le=599)


class FailureBody(BaseModel):
    """Every answer that is not the wanted one.

    current  with 409, the mask or track as it is now; null where it was deleted
    """

    error: Failure
    current: dict[str, Any] | None = None


_WAIT = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer", "minimum": 1}}}
FAILURES: dict[int | str, dict[str, Any]] = {  # OpenAPI: of every address
    "4XX": {"model": FailureBody, "description": "What came cannot be answered", "headers": _WAIT},
    "5XX": {"model": FailureBody, "description": "The server cannot answer", "headers": _WAIT},
}


class Refusal(HTTPException):
    """A request that is not answered, and why.

    message      "wanted A, got B; C", as all our errors say it, or its three parts
    retry_after  seconds after which the same request may succeed
    """

    def __init__(
        self, status: int, message: str | tuple[str, str, str], retry_after: float | None = None
    ) -> None:
        wanted, got, remedy = (_sendable(part) for part in _parts_of(message))
        self.error = {"wanted": wanted, "got": got, "remedy": remedy, "status": status}
        wait = None if retry_after is None else {"Retry-After": str(max(1, math.ceil(retry_after)))}
        super().__init__(status, f"wanted {wanted}, got {got}; {remedy}", wait)

    def response(self) -> JSONResponse:
        """The answer."""
        return JSONResponse({"error": self.error}, self.status_code, self.headers)


def _parts_of(message: str | tuple[str, str, str]) -> tuple[str, str, str]:
    if not isinstance(message, str):
        return message
    found = _PARTS.fullmatch(message[:_LONGEST])
    if found is None:
        return "a request that can be answered", message, "see what came"
    wanted, got, remedy = found.groups()
    return wanted, got, remedy or f"send what is wanted: {wanted}"


def _sendable(text: str) -> str:
    """Text that may quote a client, without what UTF-8 cannot hold, and not endless."""
    return text[:1000].encode("utf-8", "backslashreplace").decode()


def going_down() -> Refusal:
    """What is told to those whose work has not been done when the server is stopped."""
    return Refusal(503, "wanted a running server, got one that goes down; ask again", 5)


def refusal_of(error: AnymaskError) -> Refusal:
    """One of our own errors."""
    return Refusal(next(status for kind, status in _STATUS if isinstance(error, kind)), str(error))


def install_errors(api: FastAPI) -> None:
    """Make every failure of an application a `FailureBody`; defects are the guard's."""
    api.add_exception_handler(HTTPException, _answer)
    api.add_exception_handler(AnymaskError, _answer)
    api.add_exception_handler(OSError, _answer)
    api.add_exception_handler(RequestValidationError, _answer)
    api.add_exception_handler(ClientDisconnect, _left)


async def _left(_: Request, __: Exception) -> Response:
    """Nobody reads it: the client went away while its body came in."""
    return Response(status_code=LEFT)


async def _answer(request: Request, error: Exception) -> Response:
    match error:
        case Refusal():
            refusal = error
        case AnymaskError():
            refusal = refusal_of(error)
        case HTTPException():
            refusal = _plain(request, error)
        case RequestValidationError():
            refusal = _invalid(request, error)
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            refusal = Refusal(
                507, f"wanted room on the server's disk, got {error.strerror!r}; make room there"
            )
        case _:
            raise error
    LOG.info("refused %s %s: %s", request.method, request.url.path, refusal.detail)
    return refusal.response()


def _plain(request: Request, error: HTTPException) -> Refusal:
    """What Starlette refuses: an address, a method, a body that cannot be read."""
    asked = f"{request.method} {request.url.path}"
    remedy = "GET /openapi.json lists every address and what it takes, /docs shows them"
    if error.status_code not in (404, 405):
        got = f"{asked}: {error.detail}"
        return Refusal(error.status_code, ("a request that can be read", got, remedy))
    routes = request.app.state.routes
    known = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    methods = {method for route in known for method in route.methods or ()}
    if not methods:
        return Refusal(404, ("an address of this server", asked, remedy))
    if "GET" in methods and not COSTLY.fullmatch(request.url.path):
        methods.add("HEAD")
    wanted = f"the method {' or '.join(sorted(methods))} at this address"
    refusal = Refusal(405, (wanted, asked, remedy))
    refusal.headers = {"Allow": ", ".join(sorted(methods))}
    return refusal


_LISTS = {
    "points": "[[290, 120]]",
    "labels": "[1]",
    "box": "[180, 20, 400, 230]",
    "boxes": "[[180, 20, 400, 230]]",
    "prompts": '[{"points": [[290, 120]]}]',
}


def _invalid(request: Request, error: RequestValidationError) -> Refusal:
    """What pydantic refuses: the first complaint, with what helps against it."""
    first: dict[str, Any] = dict(error.errors()[0])
    where, place = first["loc"], ".".join(map(str, first["loc"][1:])) or "the body"
    kind = request.headers.get("content-type", "")
    if place == "the body" and "json" not in kind.lower():
        wanted = "JSON with the header Content-Type: application/json, or a form with a file"
        got = f"a body of the type {kind[:80]!r}" if kind else "a body without a Content-Type"
        add = "add: -H 'Content-Type: application/json' (curl), or send the photo as -F file=@NAME"
        return Refusal(415, (wanted, got, add))
    remedy = "send the JSON that GET /openapi.json describes"
    if first["type"] == "json_invalid":
        body, at = str(error.body), int(where[-1])
        got = f"{body[at : at + 20]!r} at character {at} ({first['ctx']['error']})"
        return Refusal(422, ("JSON", got, remedy))
    named = next((word for word in where[::-1] if word in _LISTS), None)
    if first["type"] in ("list_type", "tuple_type") and named is not None:
        remedy = f"write for example {named}={_LISTS[str(named)]}; {remedy}"
    if first["type"] == "missing" and place == "image" and "form-data" in kind:
        remedy = "add the photo: -F file=@photo.jpg"
    if first["type"] == "extra_forbidden":
        remedy = f"{_other_key(request, str(where[-1]))}; {remedy}"
    return Refusal(422, (f"{place}: {first['msg']}", repr(first.get("input"))[:120], remedy))


def _other_key(request: Request, name: str) -> str:
    """What to write in place of a key that there is not: the nearest one, or all."""
    body = getattr(request.scope.get("route"), "body_field", None)
    model = getattr(getattr(body, "field_info", None), "annotation", None)
    names = list(getattr(model, "model_fields", ()))
    near = difflib.get_close_matches(name, names, 1)
    near = [our_word(name)] if our_word(name) in names else near
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names) or 'others'}"
