"""HTTP errors: every failure becomes JSON with a message and the status."""

from __future__ import annotations

import difflib
import errno
import logging
import math
import re
import reprlib
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
from anymask.studio.limits import COSTLY_PATHS

LOG = logging.getLogger("anymask.studio")
_STATUS_CODES: tuple[tuple[type[AnymaskError], int], ...] = (
    (NotFoundError, 404),
    (Conflict, 409),
    (NotAllowedError, 403),
    (DiskFull, 507),
    (StoreError, 503),
    (MissingExtra, 501),
    (WeightsError, 503),
    (AnymaskError, 422),
)
CLIENT_CLOSED = 499  # client closed the connection; nonstandard code of nginx


class Failure(BaseModel):
    """What is wrong, what was expected, and how to fix it."""

    model_config = ConfigDict(extra="forbid")

    message: str
    status: int = Field(ge=400, le=599)


class FailureBody(BaseModel):
    """The body of every error response.

    `current`: for status 409, the current mask or track; null if it was deleted.
    """

    error: Failure
    current: dict[str, Any] | None = None


_WAIT = {
    "Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer", "minimum": 1}}
}
FAILURE_RESPONSES: dict[int | str, dict[str, Any]] = {  # OpenAPI: for every endpoint
    "4XX": {
        "model": FailureBody,
        "description": "The request is invalid or cannot be completed",
        "headers": _WAIT,
    },
    "5XX": {"model": FailureBody, "description": "The server failed or is busy", "headers": _WAIT},
}


class RequestError(HTTPException):
    """Error response with a status and a message.

    Args:
        status: HTTP status.
        message: What is wrong, what was expected, and how to fix it.
        retry_after: Seconds after which the same request may succeed.
    """

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        # The message may quote client data: ensure valid UTF-8 and limit the length.
        text = message[:3000].encode("utf-8", "backslashreplace").decode()
        self.error = {"message": text, "status": status}
        wait = None if retry_after is None else {"Retry-After": str(max(1, math.ceil(retry_after)))}
        super().__init__(status, text, wait)

    def response(self) -> JSONResponse:
        """Create the response."""
        return JSONResponse({"error": self.error}, self.status_code, self.headers)


def going_down() -> RequestError:
    """Create the error for requests that are not finished when the server stops."""
    return RequestError(503, "The server is shutting down. Try again later.", 5)


def refusal_of(error: AnymaskError) -> RequestError:
    """Convert an anymask error to a response."""
    return RequestError(
        next(status for kind, status in _STATUS_CODES if isinstance(error, kind)), str(error)
    )


def install_errors(api: FastAPI) -> None:
    """Convert every failure to a `FailureBody`. `AccessMiddleware` handles unexpected errors."""
    for kind in (HTTPException, AnymaskError, OSError, RequestValidationError, ClientDisconnect):
        api.add_exception_handler(kind, _answer)


async def _answer(request: Request, error: Exception) -> Response:
    match error:
        case ClientDisconnect():  # while it sent the body
            return Response(status_code=CLIENT_CLOSED)
        case RequestError():
            refusal = error
        case AnymaskError():
            refusal = refusal_of(error)
        case HTTPException():
            refusal = _plain(request, error)
        case RequestValidationError():
            refusal = _invalid(request, error)
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            refusal = RequestError(
                507, "The disk of the server is full. Free some space on it and try again."
            )
        case _:
            raise error
    LOG.info("refused %s %s: %s", request.method, request.url.path, refusal.detail)
    return refusal.response()


def unknown_hash(image: str) -> str:
    """Create the message for the hash of an image that the server does not have."""
    return f"The server has no image with the hash {image!r}. Send the image instead of the hash."


_CODE_IN_MESSAGE = re.compile(r"`|\w=|--\w|\banymask \w")


def without_code(message: str) -> str:
    """Remove the sentences of a message that contain Python or shell code; the first one stays."""
    first, *rest = re.split(r"(?<=[.?!]) (?=[A-Z])", message)
    return " ".join([first, *(part for part in rest if not _CODE_IN_MESSAGE.search(part))])


_SEE_DOCS = "See /docs or GET /openapi.json for all endpoints."
_DESCRIBED = "See /docs or GET /openapi.json for the request format."


def _plain(request: Request, error: HTTPException) -> RequestError:
    """Convert Starlette errors: unknown endpoint, unsupported method, or invalid body."""
    target = f"{request.method} {request.url.path}"
    if error.status_code not in (404, 405):
        return RequestError(
            error.status_code, f"{target} cannot be read: {error.detail}. {_SEE_DOCS}"
        )
    routes = request.app.state.routes
    known = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    methods = {method for route in known for method in route.methods or ()}
    if not methods:
        return RequestError(404, f"Unknown address: {target}. {_SEE_DOCS}")
    if "GET" in methods and not COSTLY_PATHS.fullmatch(request.url.path):
        methods.add("HEAD")
    allowed = " or ".join(sorted(methods))
    refusal = RequestError(405, f"{target} is not supported. Use the method {allowed}. {_SEE_DOCS}")
    refusal.headers = {"Allow": ", ".join(sorted(methods))}
    return refusal


def _invalid(request: Request, error: RequestValidationError) -> RequestError:
    """Convert the first pydantic error, with a hint to fix it."""
    first: dict[str, Any] = dict(error.errors()[0])
    where, key = first["loc"], ".".join(map(str, first["loc"][1:])) or "The body"
    kind = request.headers.get("content-type", "")
    if key == "The body" and "json" not in kind.lower():
        given = f"{kind[:80]!r} is not supported" if kind else "is missing"
        remedy = "Send JSON with -H 'Content-Type: application/json', or a form with -F file=@NAME."
        return RequestError(415, f"The Content-Type {given}. {remedy}")
    if first["type"] == "json_invalid":
        body, at = str(error.body), int(where[-1])
        where = f"at character {at}: {body[at : at + 20]!r}"
        return RequestError(422, f"The JSON is invalid {where}. {_DESCRIBED}")
    if first["type"] == "extra_forbidden":
        return RequestError(
            422, f"Unknown key {key!r}. {_other_key(request, str(where[-1]))} {_DESCRIBED}"
        )
    given = reprlib.repr(first.get("input"))[:120]
    return RequestError(422, f"{key}: {first['msg']}. Given: {given}. {_DESCRIBED}")


def _other_key(request: Request, name: str) -> str:
    """Suggest the closest supported key, or list all."""
    body = getattr(request.scope.get("route"), "body_field", None)
    model = getattr(getattr(body, "field_info", None), "annotation", None)
    names = list(getattr(model, "model_fields", ()))
    if name in ("text", "words") and "words" not in names:
        return "Send a text prompt as `words` to POST /api/find."
    near = difflib.get_close_matches(name, names, 1)
    near = [our_word(name)] if our_word(name) in names else near
    return f"Did you mean {near[0]!r}?" if near else f"Supported: {', '.join(names) or 'others'}."
