"""Multipart forms: a request of `curl -F` or a browser in, a picture or a JSON body out.

A form has one file, the photo, under any name. Its other fields are the keys of the JSON body, each
with its JSON as text: `-F file=@photo.jpg -F points=[[290,120]]`.
"""

from __future__ import annotations

import base64
import difflib
import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import Message

from anymask.base import MAX_DEPTH, DataError, json_depth, parse_json
from anymask.studio.refusals import Refusal

FORM = "multipart/form-data"
MOST_FIELDS, MOST_TEXT = 16, 200_000  # fields beside the file, and characters of each
_PLAIN = ("image", "granularity", "multimask")  # text that is no JSON, or must not be read as such
_FILE = {"file": {"type": "string", "format": "binary", "description": "the photo"}}
PICTURE_BODY = {  # OpenAPI: of an address that takes a photo and nothing else
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            FORM: {"schema": {"type": "object", "properties": _FILE, "required": ["file"]}},
        },
    }
}


def form_fields(*names: str) -> dict[str, Any]:
    """OpenAPI: the form beside the JSON body of an address, with some of the body's keys."""
    texts = {name: {"type": "string", "description": "as JSON"} for name in names}
    schema = {"type": "object", "properties": _FILE | texts, "required": ["file"]}
    return {"requestBody": {"required": True, "content": {FORM: {"schema": schema}}}}


class JsonRoute(APIRoute):
    """An address that takes JSON, which may be as deep as any other JSON that is read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As FastAPI's; its depth is looked at before a body is read."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            if self.body_field is not None:
                request = await self.read(request)
                _check_depth(await request.body())
            return await handle(request)

        return answer

    async def read(self, request: Request) -> Request:
        """The request whose body is JSON."""
        return request


def _check_depth(body: bytes) -> None:
    depth = json_depth(body.decode("utf-8", "replace"))
    if depth > MAX_DEPTH:
        raise Refusal(
            422,
            f"JSON of at most {MAX_DEPTH} lists and objects inside each other",
            f"{depth} of them",
            "send the JSON that GET /openapi.json describes",
        )


class FormRoute(JsonRoute):
    """An address that takes JSON, and forms that say the same; of queries, those it knows."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As JsonRoute's; a query that would be passed over is refused before."""
        handle = super().get_route_handler()
        known = [query.alias for query in self.dependant.query_params]

        async def answer(request: Request) -> Response:
            if request.method == "POST":
                _check_queries(list(request.query_params), known)
            return await handle(request)

        return answer

    async def read(self, request: Request) -> Request:
        """A form has become JSON before its body is read."""
        return await _as_json(request)


def _check_queries(names: list[str], known: list[str]) -> None:
    """Raises Refusal (422) for a name that means nothing at an address."""
    for name in names:
        if name not in (*known, "token"):
            near = difflib.get_close_matches(name, known, 1)
            raise Refusal(
                422,
                f"queries of {', '.join(known) or 'no name'} at this address",
                f"{name!r}",
                f"did you mean {near[0]!r}?" if near else "leave it out, or send it in the body",
            )


async def picture_of(request: Request) -> bytes:
    """The bytes of the picture in a body, or of the file in a form. Raises Refusal (400, 422)."""
    if not _is_form(request):
        return await request.body()
    photo, texts = await _read(request)
    if photo is None:
        raise Refusal(
            400, "a form with a file", "fields alone", "send the photo as -F file=@photo.jpg"
        )
    for name in texts:
        raise Refusal(422, "a form with a file alone at this address", f"{name!r}", "leave it out")
    return photo


def _is_form(request: Request) -> bool:
    kind = request.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower() == FORM


async def _as_json(request: Request) -> Request:
    if not _is_form(request):
        return request
    photo, texts = await _read(request)
    body = {name: _value(name, text) for name, text in texts.items()}
    if photo is not None:
        body["image"] = base64.b64encode(photo).decode()
    headers = [pair for pair in request.scope["headers"] if pair[0] != b"content-type"]
    scope = dict(request.scope) | {"headers": [*headers, (b"content-type", b"application/json")]}
    content: list[bytes] = [json.dumps(body).encode()]

    async def receive() -> Message:
        if content:
            return {"type": "http.request", "body": content.pop(), "more_body": False}
        return await request.receive()

    return Request(scope, receive)


async def _read(request: Request) -> tuple[bytes | None, dict[str, str]]:
    """The file and the other fields of a form. Raises Refusal (400)."""
    parser = MultiPartParser(
        request.headers,
        request.stream(),
        max_files=1,
        max_fields=MOST_FIELDS,
        max_part_size=MOST_TEXT,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refusal(
            400, "a multipart form with one file", error.message, "send it as curl -F does"
        ) from None
    try:
        photo, texts = None, dict[str, str]()
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                photo = await value.read()
            elif name in texts:
                raise Refusal(
                    400, "each field of a form once", f"{name!r} twice", "write one list of all"
                )
            else:
                texts[name] = value
        return photo, texts
    finally:
        await form.close()


def _value(name: str, text: str) -> Any:
    """JSON where it is some; else the text, which the body's own check then names."""
    if name in _PLAIN:
        return {"true": True, "false": False}.get(text, text)
    try:
        return parse_json(text, name)
    except DataError:
        return text
