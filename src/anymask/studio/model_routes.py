"""Routes of the model: encode an image, predict masks from prompts, and suggest names.

A form (`curl -F`, a browser) has one file, the image, in a field of any name. Its other fields are
the keys of the JSON body, with JSON as text: `-F file=@photo.jpg -F points=[[290,120]]`.

The image header is checked first, only by decoders of image formats: no scripts (EPS), no
documents, and no stacks of bands or pages that decompress to more than the header declares.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import json
import re
import struct
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from threading import Event
from typing import Annotated, Any, Literal, cast

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from PIL import Image
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse

from anymask.base import (
    MAX_DEPTH,
    DataError,
    FloatArray,
    InputError,
    UintImage,
    json_depth_bound,
    parse_json,
)
from anymask.edit import cut_out, main_subject
from anymask.edit.subject import less_of_subject
from anymask.formats import AnnotatedImage, LossReport, Policy, encode_annotations, geojson
from anymask.images import (
    DECODERS,
    ImageView,
    display_image,
    is_georeferenced,
    load_image,
    needs_tifffile,
    open_header,
)
from anymask.masks import (
    TOLERANCE,
    Features,
    Mask,
    Masks,
    ModelSpec,
    Rle,
    rle_to_coco,
    rle_to_mask,
    rle_to_polygons,
    save_image,
)
from anymask.models.rules import field_rules
from anymask.segment import EncodedImage, Prediction, count_passes
from anymask.studio.errors import CLIENT_CLOSED, RequestError, going_down, unknown_hash
from anymask.studio.inference import (
    Health,
    Inference,
    KeptPredictions,
    QueueClosed,
    RequestAbandoned,
)
from anymask.studio.limits import Limits
from anymask.studio.schemas import (
    DISC,
    EVERYTHING,
    EverythingAnswer,
    EverythingBody,
    NamesAnswer,
    NamesBody,
    SegmentAnswer,
    SegmentBody,
    check_count,
    check_known,
    check_pixels,
    check_prompts,
)

FORM_TYPE = "multipart/form-data"
HASH = re.compile(r"[0-9a-f]{32}")
ENCODING_COST = 256  # cost of encoding, in points
_MAX_NUMBER = 1_000_000_000  # maximum value of settings without a specific limit
MaskFormat = Literal["rle", "png", "svg", "polygons", "geojson"]
Format = Annotated[MaskFormat, Query(alias="format")]
FormatOfOne = Annotated[  # the last two are cut-outs
    Literal["rle", "png", "svg", "polygons", "geojson", "cutout", "webp"], Query(alias="format")
]
_DOCUMENT_TYPES = {  # format of `anymask convert`, media type
    "png": ("label-png", "image/png"),
    "svg": ("svg", "image/svg+xml"),
    "geojson": ("geojson", "application/geo+json"),
}
Tolerance = Annotated[float, Query(ge=0, le=1000, allow_inf_nan=False)]
ImageOrEmbedding = UintImage | EncodedImage  # an image, or its embedding

# OpenAPI descriptions of bodies and responses that are not JSON.

BINARY = {"schema": {"type": "string", "format": "binary"}}
_FILE = {"file": {"type": "string", "format": "binary", "description": "the image"}}
IMAGE_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "image": {"type": "string", "description": "the image as base64"}
                    },
                    "required": ["image"],
                    "additionalProperties": False,
                    "examples": [{"image": DISC}],
                }
            },
            FORM_TYPE: {"schema": {"type": "object", "properties": _FILE, "required": ["file"]}},
            "image/*": BINARY,
        },
    }
}
MASKS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The masks, in the requested format",
        "content": {
            "image/png": BINARY,
            "image/webp": BINARY,
            "image/svg+xml": {"schema": {"type": "string"}},
            "application/geo+json": {"schema": {"type": "object"}},
        },
    }
}
EMBEDDING: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The image embedding: uint32 length, JSON header, feature maps",
        "content": {"application/octet-stream": BINARY},
        "headers": {
            "X-Image-Hash": {
                "description": "hash that identifies the image in later requests",
                "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
                "required": True,
            }
        },
    }
}


def file_answer(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI response that is a file with one of the media types."""
    return {200: {"description": "The file", "content": dict.fromkeys(kinds, BINARY)}}


def form_body(body: type[BaseModel], *names: str) -> dict[str, Any]:
    """OpenAPI form in addition to the JSON body of an endpoint, with some of its keys.

    The example of the body provides default values for /docs, except the image.
    """
    (example,) = cast("dict[str, Any]", body.model_config["json_schema_extra"])["examples"]
    filled = {name: json.dumps(example[name]) for name in {*example} - {"image"}}
    texts = {
        name: {"type": "string", "description": "value as JSON", "example": filled.get(name, "")}
        for name in names
    }
    schema = {"type": "object", "properties": _FILE | texts, "required": ["file"]}
    return {"requestBody": {"required": True, "content": {FORM_TYPE: {"schema": schema}}}}


# Requests: JSON or a form, and an image.


def of_state(name: str) -> Any:
    """Dependency: a part of the server that processes a request."""

    async def find(request: Request) -> Any:
        return getattr(request.app.state, name)

    return Depends(find)


ModelDep = Annotated[Inference, of_state("inference")]
LimitsDep = Annotated[Limits, of_state("limits")]


class BodyRoute(APIRoute):
    """Route that accepts JSON or an equivalent form, and rejects unknown query parameters."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Extend the FastAPI handler by checks of query parameters and JSON depth."""
        handle = super().get_route_handler()
        known = sorted(_queries(self.dependant))

        async def answer(request: Request) -> Response:
            strange = sorted({*request.query_params} - {*known, "token"})
            if strange and request.method == "POST":
                listed = ", ".join(known) or "none"
                raise RequestError(
                    422, f"Unknown query parameter {strange[0]!r}. Supported: {listed}."
                )
            if self.body_field is not None:
                if is_form(request):
                    content = json.dumps(await _form_body(request)).encode()
                    headers = dict(request.scope["headers"])
                    headers[b"content-type"] = b"application/json"
                    request = Request(
                        dict(request.scope) | {"headers": [*headers.items()]}, request.receive
                    )
                    request._body = content
                depth = json_depth_bound((await request.body()).decode("utf-8", "replace"))
                if depth > MAX_DEPTH:
                    raise RequestError(
                        422, f"{depth} nested levels of JSON: at most {MAX_DEPTH} are supported."
                    )
            return await handle(request)

        return answer


def _queries(dependant: Dependant) -> Iterator[str]:
    yield from (query.alias for query in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _queries(inner)


def is_form(request: Request) -> bool:
    """Whether a request body is a multipart form."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM_TYPE


async def _form_body(request: Request) -> dict[str, Any]:
    """JSON body that is equivalent to a form. Raises HTTPException (400)."""
    body: dict[str, Any] = {}
    form = request.form(max_files=1, max_fields=20, max_part_size=200_000)  # characters
    async with form as fields:
        for name, value in fields.multi_items():
            if isinstance(value, UploadFile):
                body["image"] = base64.b64encode(await value.read()).decode()
            elif name in body:
                raise RequestError(
                    400, f"The form field {name!r} occurs twice. Send all values in one list."
                )
            elif value:  # /docs sends empty fields
                body[name] = value
                if name not in ("image", "previous"):  # hashes, which may have only digits
                    with suppress(DataError):  # text, which body validation reports
                        body[name] = parse_json(value, name)
    return body


async def image_of(request: Request) -> bytes:
    """Image in a body: raw bytes, the file of a form, or `image` of JSON. Raises Refusal."""
    if is_form(request):
        body: Any = await _form_body(request)
    elif "json" in request.headers.get("content-type", "").lower():
        body = None
        with suppress(DataError, ValueError):
            body = parse_json((await request.body()).decode(), "the body")
    else:
        return await request.body()
    if not isinstance(body, dict) or [*map(type, body.values())] != [str] or "image" not in body:
        raise RequestError(
            422, "Send only the image: its bytes, -F file=@NAME, or JSON with `image` as base64."
        )
    return from_base64(body["image"])


# Endpoints.

router = APIRouter(route_class=BodyRoute, tags=["model"])


@router.get("/health", response_model_exclude_none=True)
async def health(inference: ModelDep) -> Health:
    """Return the state of the model: loading, ready or failed. Does not wait."""
    return inference.health()


@router.post("/api/encode", response_class=Response, openapi_extra=IMAGE_BODY, responses=EMBEDDING)
async def encode(request: Request, inference: ModelDep, limits: LimitsDep) -> Response:
    """Encode an image. The response header X-Image-Hash identifies it in later requests."""
    image = await image_of(request)
    return await embedded(inference, lambda: read_image(image, limits), is_georeferenced(image))


@router.post(
    "/api/segment",
    response_model=SegmentAnswer,
    openapi_extra=form_body(SegmentBody, *SegmentBody.model_fields),
    responses=MASKS,
)
async def segment(
    body: SegmentBody,
    request: Request,
    inference: ModelDep,
    limits: LimitsDep,
    kind: FormatOfOne = "rle",
    tolerance: Tolerance = TOLERANCE,
) -> Response:
    """Segment objects in an image from prompts. Masks are returned best first.

    The request is cancelled if the client disconnects before it starts.
    """
    bodies, settings = body.prompt_bodies(), body.settings()
    check_prompts(bodies, limits)
    packed = any(prompt.mask is not None for prompt in bodies)
    # Without masks, validate before the image is encoded; unpack the masks of one request at a time
    prompts = [] if packed else [prompt.as_prompt() for prompt in bodies]
    encoded = await encode_image(inference, body.image, limits, kind)
    name, cuts = encoded.embedding.image_hash, kind in ("cutout", "webp")
    async with request.app.state.unpacking if packed else nullcontext():
        if packed:
            if await request.is_disconnected():
                raise _connection_closed()
            prompts = await run_in_threadpool(lambda: [prompt.as_prompt() for prompt in bodies])
        previous = [prompt.earlier(inference.predictions, name) for prompt in bodies]
        image = await run_in_threadpool(_whole, encoded, body.image, limits) if cuts else None
        kinds = [prompt.kinds for prompt in prompts]
        if image is not None and kinds == [{"negative_point"}] and previous == [None]:
            subject = inference.long("cutout", partial(main_subject, image=display_image(image)))
            prompts = [less_of_subject(prompts[0], await done(subject))]
        answers = await result_of(
            request, lambda _: inference.segment(encoded, prompts, settings, previous)
        )
    # Encode in a thread, so that the event loop is not blocked.
    if kind == "cutout" or kind == "webp":
        suffix = ".png" if kind == "cutout" else ".webp"
        return await run_in_threadpool(_cutout, answers, image, suffix)
    keeps = inference.predictions if "mask" in inference.ready().runtime.spec.accepts else None
    return await run_in_threadpool(_answers, answers, name, kind, tolerance, keeps)


@router.post(
    "/api/everything",
    response_model=EverythingAnswer,
    openapi_extra=form_body(EverythingBody, "settings"),
    responses=MASKS,
)
async def everything(
    body: EverythingBody,
    request: Request,
    inference: ModelDep,
    limits: LimitsDep,
    kind: Format = "rle",
    tolerance: Tolerance = TOLERANCE,
) -> Response:
    """Segment all objects in an image, as SA-1B records, best first.

    The request is cancelled if the client disconnects.
    """
    settings = body.settings
    check_known(settings, EVERYTHING)
    most = {"grid": limits.grid, "crop_n_layers": limits.crop_layers}
    for name, value in settings.items():
        if isinstance(value, int | float) and value > most.get(name, _MAX_NUMBER):
            got = f"{value:g}" if value < sys.float_info.max else "a larger number"
            raise RequestError(
                422, f"{name} must be at most {most.get(name, _MAX_NUMBER)}. Given: {got}."
            )
    view = await view_of(inference, body.image, limits, kind)
    sizes: list[tuple[int, int]] = []

    def seen() -> ImageOrEmbedding:
        image = view()
        check_cost(image, settings, limits, inference.ready().name)
        sizes.append(_image_hw(image))
        return image

    masks = await result_of(request, lambda left: inference.everything(seen, settings, left))
    return await run_in_threadpool(records_answer, masks, sizes[-1], kind, tolerance)


@router.post(
    "/api/names",
    response_model=NamesAnswer,
    openapi_extra=form_body(NamesBody, *NamesBody.model_fields),
)
async def names(
    body: NamesBody, request: Request, inference: ModelDep, limits: LimitsDep
) -> dict[str, Any]:
    """Suggest the most likely names for each mask of an image, with the model's name network.

    The request is cancelled if the client disconnects.
    """
    check_count(len(body.masks), "masks", limits)
    for mask in body.masks:
        check_pixels([mask.size], limits)  # cropped, never decoded at once: see `close_up`
    rles = await run_in_threadpool(lambda: [mask.rle() for mask in body.masks])
    view, own = await view_of(inference, body.image, limits), request.app.state.own_names
    named = await result_of(
        request, lambda left: inference.names(view, rles, body.choice(), left, own)
    )
    rows = [[suggestion._asdict() for suggestion in suggested] for suggested in named.suggestions]
    return {"suggestions": rows, "among": named.among}


# Images, and waiting for the model.


def from_base64(text: str, kind: str = "") -> bytes:
    """Decode base64 text, with or without a data: URL prefix.

    Raises Refusal (422), and InputError for a georeferenced image if `kind` is geojson.
    """
    _, comma, tail = text.partition(",")
    try:
        data = base64.b64decode(tail if comma and text.startswith("data:") else text, validate=True)
    except (binascii.Error, ValueError):
        raise RequestError(
            422, f"Invalid image {text[:40]!r}. Pass base64, or 32 hexadecimal digits."
        ) from None
    if kind == "geojson" and is_georeferenced(data):
        geojson.refuse_map("The image")
    return data


def read_image(
    body: bytes, limits: Limits, *, alpha: bool = False
) -> UintImage:  # -> (H, W, 3), or (H, W, 4) with alpha=True
    """Decode one image, on white or with its alpha channel.

    Raises Refusal: 400 for an empty body, 413 for too many bytes or pixels, 415 for unsupported
    formats; ImageError if it is corrupted.
    """
    if not body:
        raise RequestError(400, "The body is empty. Send the bytes of an image.")
    if len(body) > limits.upload_bytes:
        raise RequestError(
            413,
            f"The image has {len(body)} bytes, and the server accepts up to {limits.upload_bytes} "
            "bytes. Send a smaller image, or raise upload_megabytes.",
        )
    try:
        with open_header(io.BytesIO(body)) as image:
            size, deep = image.size, needs_tifffile(image, ImageView())
    except Exception:  # Pillow raises many exception types for corrupted data
        size, deep = (0, 0), True
    if size[0] * size[1] > limits.pixels:
        raise too_large(f"{size[0]} x {size[1]}", limits)
    if deep:
        raise RequestError(
            415,
            f"Unsupported image format ({len(body)} bytes that start with {body[:8]!r}). "
            f"Supported: {', '.join(DECODERS)} with one or three bands. Convert it to PNG.",
        )
    return load_image(body, alpha=alpha)


def too_large(got: str, limits: Limits) -> RequestError:
    """The error for an image with too many pixels."""
    return RequestError(
        413, f"The image has {got} pixels, but at most {limits.pixels} are allowed (megapixels)."
    )


async def embedded(
    inference: Inference, read: Callable[[], UintImage], georeferenced: bool
) -> Response:
    """Response with the image embedding, and the image hash in a header.

    Args:
        read: Function that decodes the image, called in a thread.
        georeferenced: Whether the image is georeferenced.
    """
    features: Features = (await done(inference.encode(read, georeferenced))).embedding
    packed = await run_in_threadpool(features_to_bytes, features, inference.model.result().spec)
    return Response(
        packed, media_type="application/octet-stream", headers={"X-Image-Hash": features.image_hash}
    )


def features_to_bytes(features: Features, spec: ModelSpec) -> bytes:
    """Encode features: header length (uint32, little endian), JSON header, then each map.

    Maps are little endian in header order, float16, or float32 for values beyond its range.
    """

    def packed(array: FloatArray) -> Any:
        return array.astype(
            "<f2" if np.abs(array).max(initial=0) <= np.finfo(np.float16).max else "<f4"
        )

    maps = {feature.name: packed(feature.values) for feature in features.maps}
    header = {
        "image_hw": features.geometry.image_hw,
        "input_hw": features.geometry.input_hw,
        "side": features.geometry.side,
        "mask_side": spec.mask_side,
        "model": features.model,
        "model_hash": features.model_hash,
        "image_hash": features.image_hash,
        "maps": [
            {"name": name, "shape": array.shape, "dtype": array.dtype.name}
            for name, array in maps.items()
        ],
    }
    text = json.dumps(header).encode()
    return b"".join(
        [struct.pack("<I", len(text)), text, *(array.tobytes() for array in maps.values())]
    )


async def encode_image(
    inference: Inference, image: str, limits: Limits, kind: str = ""
) -> EncodedImage:
    """Return the embedding of an image given by hash or base64, for an answer in a format.

    Raises Refusal (404, 422, ...), and InputError as `from_base64`.
    """
    if not inference.model.done():
        await asyncio.wait([asyncio.wrap_future(inference.model)])
    if not HASH.fullmatch(image):
        pixels = await run_in_threadpool(from_base64, image, kind)
        made: EncodedImage = await done(
            inference.encode(lambda: read_image(pixels, limits), is_georeferenced(pixels))
        )
        return made
    encoded = inference.recall(image)
    if encoded is None:
        raise RequestError(404, unknown_hash(image))
    if kind == "geojson" and encoded.embedding.georeferenced:
        geojson.refuse_map("The image")
    return encoded


async def view_of(
    inference: Inference, image: str, limits: Limits, kind: str = ""
) -> Callable[[], ImageOrEmbedding]:
    """Like `see`, but a base64 image is only decoded, on demand, and not encoded."""
    if HASH.fullmatch(image):
        encoded = await encode_image(inference, image, limits, kind)
        return lambda: encoded
    pixels = await run_in_threadpool(from_base64, image, kind)
    return lambda: read_image(pixels, limits)


@asynccontextmanager
async def gives_up(
    request: Request, work: Future[Any] | asyncio.Task[Any], left: Event | None = None
) -> AsyncIterator[None]:
    """Set `left` when the client disconnects, and cancel work that has not started."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        if left is not None:
            left.set()
        work.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()


def _connection_closed() -> RequestError:
    return RequestError(CLIENT_CLOSED, "The client closed the connection. Send the request again.")


async def done(future: Any) -> Any:
    """Wait for a future or task without blocking other requests."""
    try:
        return await asyncio.wrap_future(future)
    except (RequestAbandoned, asyncio.CancelledError) as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling()):
            raise  # the request was cancelled, not the work
        raise _connection_closed() from None
    except QueueClosed:
        raise going_down() from None


async def result_of(request: Request, begin: Callable[[Event], Future[Any]]) -> Any:
    """Wait for work, which ends if the client disconnects.

    Args:
        begin: Function that starts the work, with an event that ends it.
    """
    left = Event()
    work = begin(left)
    async with gives_up(request, work, left):
        return await done(work)


# Cost of automatic mask generation.


def check_cost(
    image: ImageOrEmbedding, settings: dict[str, Any], limits: Limits, model: str = ""
) -> None:
    """Raise Refusal if settings require too many points on this image, InputError."""
    height, width = _image_hw(image)
    cost = cost_of((height, width), settings, field_rules(model).side)
    if cost > limits.clicks:
        raise RequestError(
            422,
            f"The request requires {cost} points on {width} x {height} pixels, but at most "
            f"{limits.clicks} are allowed. Use larger tiles, a smaller grid or fewer crop layers.",
        )


def _image_hw(image: ImageOrEmbedding) -> tuple[int, int]:
    if isinstance(image, EncodedImage):
        return image.embedding.image_hw
    return image.shape[0], image.shape[1]


def cost_of(
    image_hw: tuple[int, int], settings: Mapping[str, Any], trained_side: int | None = None
) -> int:
    """Number of points in all tiles and crops, plus A_LOOK for each of these.

    This is an upper bound: adaptive mode uses about a third of the points. Raises InputError if a
    value is not a number or too small.
    """

    def whole(name: str, usual: int) -> int:
        value = settings.get(name, usual)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise InputError(f"{name} must be an integer of at least 0. Given: {value!r}.")
        return value

    side, layers = whole("grid", 32 if trained_side is None else 1), whole("crop_n_layers", 0)
    factor = max(1, whole("crop_n_points_downscale_factor", 1))
    clicks = [max(1, side // factor**layer) ** 2 for layer in range(layers + 1)]
    return count_passes(settings.get("tile", "auto"), image_hw, trained_side) * sum(
        4**layer * (count + ENCODING_COST) for layer, count in enumerate(clicks)
    )


# Responses in the requested format.


def _answers(
    answers: list[Prediction],
    image_hash: str,
    kind: MaskFormat,
    tolerance: float,
    keeps: KeptPredictions | None,
) -> Response:
    """Candidates of each prompt. PNG, SVG and GeoJSON contain the first mask of each.

    Raises Refusal (422) for a PNG of several prompts.

    Args:
        keeps: Cache of predictions for refinement. None: the model does not support it.
    """
    if kind in ("rle", "polygons"):
        key = "masks" if kind == "rle" else "polygons"
        shape = rle_to_coco if kind == "rle" else partial(_outlines, tolerance=tolerance)
        rows = [
            {
                "score": [float(number) for number in answer.scores],
                "violated_points": list(answer.violated_points),
                "ambiguous": answer.ambiguous,
                "prediction_id": None if keeps is None else keeps.put(image_hash, answer),
                key: [*map(shape, answer.rles())],
            }
            for answer in answers
        ]
        return JSONResponse({"answers": rows, "image": image_hash})
    first = Masks(Mask(answer.rles()[0], score=float(answer.scores[0])) for answer in answers)
    if kind != "png":
        return _encode_masks(first, first[0].rle.size, image_hash, kind, tolerance)
    if len(first) > 1:
        raise RequestError(
            422, f"format=png supports one prompt, and {len(first)} were given. Use polygons."
        )
    pixels = rle_to_mask(first[0].rle).view(np.uint8) * np.uint8(255)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return Response(file.getvalue(), media_type="image/png")


def _whole(encoded: EncodedImage, image: str, limits: Limits) -> UintImage | None:
    """Full-size pixels of an image, with the alpha channel if the image was sent.

    None if only its hash was sent and a smaller copy is cached.
    """
    if not HASH.fullmatch(image):
        return read_image(from_base64(image), limits, alpha=True)
    if encoded.image is not None and encoded.image.shape[:2] == encoded.embedding.image_hw:
        return encoded.image
    return None


def _cutout(answers: list[Prediction], image: UintImage | None, suffix: str) -> Response:
    """Cut-out of the object of one prompt, with soft alpha.

    Raises Refusal (422) for several prompts, an empty mask, or an image without cached pixels.
    """
    if len(answers) > 1:
        raise RequestError(422, f"A cut-out supports one prompt, and {len(answers)} were given.")
    if image is None:
        raise RequestError(422, "The server has only the embedding of this image. Send the image.")
    if not answers[0].best.area:
        raise RequestError(422, "The predicted mask is empty. Use another prompt.")
    file = io.BytesIO()
    save_image(file, cut_out(image, answers[0].mask), suffix)
    return Response(file.getvalue(), media_type=f"image/{suffix[1:]}")


def records_answer(
    found: list[Mask], hw: tuple[int, int], kind: MaskFormat, tolerance: float
) -> Response:
    """All masks of an image. A PNG contains their numbers (16 bits), 0 for background."""
    if kind not in ("rle", "polygons"):
        return _encode_masks(Masks(found), hw, "photo", kind, tolerance)
    rows = Masks(found).to_sa1b()
    if kind == "polygons":
        for row, record in zip(rows, found, strict=True):
            del row["segmentation"]
            row["polygons"] = _outlines(record.rle, tolerance)
    return JSONResponse({"records": rows})


def _outlines(rle: Rle, tolerance: float) -> list[dict[str, Any]]:
    return [
        {"exterior": polygon.exterior.tolist(), "holes": [hole.tolist() for hole in polygon.holes]}
        for polygon in rle_to_polygons(rle, tolerance)
    ]


def _encode_masks(
    masks: Masks, hw: tuple[int, int], name: str, kind: MaskFormat, tolerance: float
) -> Response:
    """Encode masks with scores in one document, as `anymask convert` does."""
    image = AnnotatedImage(file_name=name, hw=hw, masks=masks)
    form, media = _DOCUMENT_TYPES[kind]
    policy, path = Policy(tolerance=tolerance), Path(f"masks.{kind}")
    files = encode_annotations([image], path, form, LossReport(), policy)
    return Response(next(files)[1], media_type=media)
