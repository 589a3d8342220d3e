"""What a request brings: the parts of the server it asks, JSON or a form, and a picture.

A form (`curl -F`, a browser) has one file, the photo, under any name. Its other fields are the keys
of the JSON body, each with its JSON as text: `-F file=@photo.jpg -F points=[[290,120]]`.

A picture's header is read first, by decoders of picture formats alone: no scripts (EPS), no
documents, no stacks of bands or pages that unfold into more than the header says.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import io
import json
from collections.abc import Callable, Coroutine, Iterator
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from PIL import Image
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import Message

from anymask.base import MAX_DEPTH, DataError, UintImage, json_depth, parse_json
from anymask.images import PictureView, load_image, needs_tifffile
from anymask.studio.errors import Refusal
from anymask.studio.inference import Inference
from anymask.studio.limits import Limits

FORM = "multipart/form-data"
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "JPEG2000", "PPM")
_MOST_FIELDS, _MOST_TEXT = 16, 200_000  # fields beside the file, and characters of each
_PLAIN = ("image", "granularity", "multimask")  # text that is no JSON, or must not be read as such
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


async def inference_of(request: Request) -> Inference:
    """The model of the server that answers a request."""
    model: Inference = request.app.state.inference
    return model


async def limits_of(request: Request) -> Limits:
    """The limits of the server that answers a request."""
    limits: Limits = request.app.state.limits
    return limits


OfModel = Annotated[Inference, Depends(inference_of)]
OfLimits = Annotated[Limits, Depends(limits_of)]


class BodyRoute(APIRoute):
    """An address that takes JSON, and forms that say the same; of queries, those it knows."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As FastAPI's; what it would pass over, or choke on, is refused before."""
        handle = super().get_route_handler()
        known = sorted(_queries(self.dependant))

        async def answer(request: Request) -> Response:
            if request.method == "POST":
                for name in {*request.query_params} - {*known, "token"}:
                    near = difflib.get_close_matches(name, known, 1)
                    raise Refusal(
                        422,
                        f"wanted queries of {', '.join(known) or 'no name'} at this address, got "
                        f"{name!r}; {f'did you mean {near[0]!r}?' if near else 'leave it out'}",
                    )
            if self.body_field is not None:
                request = await _form_as_json(request) if is_form(request) else request
                depth = json_depth((await request.body()).decode("utf-8", "replace"))
                if depth > MAX_DEPTH:
                    raise Refusal(
                        422,
                        f"wanted JSON of at most {MAX_DEPTH} lists and objects inside each other, "
                        f"got {depth}; send the JSON that GET /openapi.json describes",
                    )
            return await handle(request)

        return answer


def _queries(dependant: Dependant) -> Iterator[str]:
    yield from (query.alias for query in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _queries(inner)


def is_form(request: Request) -> bool:
    """Whether a body is one of several parts."""
    kind = request.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower() == FORM


async def _form_as_json(request: Request) -> Request:
    photo, texts = await _read_form(request)
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


def _value(name: str, text: str) -> Any:
    """JSON where it is some; else the text, which the body's own check then names."""
    if name in _PLAIN:
        return {"true": True, "false": False}.get(text, text)
    try:
        return parse_json(text, name)
    except DataError:
        return text


async def _read_form(request: Request) -> tuple[bytes | None, dict[str, str]]:
    """The file and the other fields of a form. Raises Refusal (400)."""
    parser = MultiPartParser(
        request.headers, request.stream(),
        max_files=1, max_fields=_MOST_FIELDS, max_part_size=_MOST_TEXT,
    )  # fmt: skip
    try:
        form = await parser.parse()
    except MultiPartException as error:
        parts = ("a multipart form with one file", error.message, "send it as curl -F does")
        raise Refusal(400, parts) from None
    try:
        photo, texts = None, dict[str, str]()
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                photo = await value.read()
            elif name in texts:
                twice = ("each field of a form once", f"{name!r} twice", "write one list of all")
                raise Refusal(400, twice)
            else:
                texts[name] = value
        return photo, texts
    finally:
        await form.close()


async def picture_of(request: Request) -> bytes:
    """The picture of a body: its bytes, the file of a form, or `image` of JSON. Raises Refusal."""
    if "json" in request.headers.get("content-type", "").lower():
        try:
            return from_base64(parse_json((await request.body()).decode(), "the body")["image"])
        except (DataError, ValueError, TypeError, KeyError, AttributeError):
            raise Refusal(
                422, "wanted JSON with an image as base64, got another body; send its bytes"
            ) from None
    if not is_form(request):
        return await request.body()
    photo, texts = await _read_form(request)
    if photo is None:
        message = "wanted a form with a file, got fields alone; send it as -F file=@photo.jpg"
        raise Refusal(400, message)
    for name in texts:
        raise Refusal(422, ("a form with a file alone at this address", repr(name), "leave it out"))
    return photo


def from_base64(text: str) -> bytes:
    """The bytes of base64 text, with or without a data: address around it. Raises Refusal (422)."""
    _, comma, tail = text.partition(",")
    try:
        given = tail if comma and text.startswith("data:") else text
        return base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        wanted = "image: the hash that /api/encode answered (32 hexadecimal digits), or base64"
        parts = (wanted, repr(text[:40]), "encode the file's bytes as base64")
        raise Refusal(422, parts) from None


def read_photo(body: bytes, limits: Limits) -> UintImage:  # -> (H, W, 3)
    """Decode one picture.

    Raises Refusal: 400 for no bytes, 413 for too many bytes or pixels, 415 for what is no picture
    that a server takes; ImageError for a damaged one.
    """
    if not body:
        message = "wanted the bytes of a picture, got an empty body; send the file's content"
        raise Refusal(400, message)
    if len(body) > limits.upload_bytes:
        raise Refusal(
            413,
            f"wanted at most {limits.upload_bytes} bytes, got {len(body)}; send a smaller picture, "
            "or start the server with a larger --upload-megabytes",
        )
    Image.init()
    known = [name for name in FORMATS if name in Image.OPEN]  # that this build of Pillow reads
    try:
        with Image.open(io.BytesIO(body), formats=known) as picture:
            size, deep = picture.size, needs_tifffile(picture, PictureView())
    except _BOMBS as error:
        raise too_large(str(error), limits) from None
    except Exception:  # Pillow raises a dozen kinds on altered bytes
        size, deep = (0, 0), True
    if size[0] * size[1] > limits.pixels:
        raise too_large(f"{size[0]} x {size[1]}", limits)
    if deep:
        wanted = f"a picture of one of {', '.join(FORMATS)}, with one or three bands"
        got = f"{len(body)} bytes that begin with {body[:8]!r}"
        raise Refusal(415, (wanted, got, "convert it to PNG or JPEG"))
    return load_image(body)


def too_large(got: str, limits: Limits) -> Refusal:
    """What is told of a picture of too many pixels."""
    remedy = "send a smaller picture, or start the server with a larger --megapixels"
    return Refusal(413, (f"a picture of at most {limits.pixels} pixels", got, remedy))
