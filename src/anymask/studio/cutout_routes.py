"""Route of cut-outs without a prompt: an image in, its main subject with soft alpha out."""

from __future__ import annotations

import io
import threading
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from anymask.edit import CutoutSettings, main_subject, write_cutout
from anymask.segment import Model
from anymask.studio.errors import Refusal
from anymask.studio.model_routes import (
    BINARY,
    PICTURE_BODY,
    BodyRoute,
    OfLimits,
    OfModel,
    done,
    gives_up,
    picture_of,
    read_photo,
)

router = APIRouter(route_class=BodyRoute, tags=["model"])
CUTOUT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The cut-out", "content": {"image/png": BINARY, "image/webp": BINARY}}
}


@router.post("/api/cutout", response_class=Response, openapi_extra=PICTURE_BODY, responses=CUTOUT)
async def cutout(
    request: Request,
    inference: OfModel,
    limits: OfLimits,
    kind: Annotated[Literal["png", "webp"], Query(alias="format")] = "png",
    background: Annotated[
        str | None, Query(max_length=60, description="a color (white, #20a0ff), or blur")
    ] = None,
    soft: bool = True,
    shadow: bool = False,
    crop: bool = False,
    margin: Annotated[int, Query(ge=0, le=10_000)] = 0,
) -> Response:
    """Remove the background: cut out the main subject of an image, without a prompt."""
    # A text is a color or "blur", never a file of the server.
    look = CutoutSettings(background=background, soft=soft, shadow=shadow, crop=crop, margin=margin)
    data = await picture_of(request)

    def work(model: Model) -> bytes:
        photo, file = read_photo(data, limits), io.BytesIO()
        subject = main_subject(model, photo)
        if subject is None:
            raise Refusal(
                422,
                "No main subject found in this image. Send a point or a box to "
                "/api/segment?format=cutout.",
            )
        write_cutout(
            file, f".{kind}", photo, subject.mask, background=look.background, soft=look.soft,
            shadow=look.shadow, crop=look.crop, margin=look.margin,
        )  # fmt: skip
        return file.getvalue()

    left = threading.Event()
    asked = inference.long("cutout", work, left)
    async with gives_up(request, asked, left):
        return Response(await done(asked), media_type=f"image/{kind}")
