"""The address of names: a photo and masks in, what each may be called out."""

from __future__ import annotations

import threading

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from anymask.base import UintImage
from anymask.masks import Rle, coco_to_rle
from anymask.segment import EncodedPhoto
from anymask.studio.answers import NameAnswer, NamesAnswer
from anymask.studio.forms import FormRoute, form_fields
from anymask.studio.inference import Inference
from anymask.studio.limits import Limits
from anymask.studio.model_api import HASH, done, gives_up, see
from anymask.studio.naming import Named
from anymask.studio.own_names import OwnNames
from anymask.studio.photos import from_base64, read_photo
from anymask.studio.refusals import ANYWHERE, documented
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
