"""The addresses of a project's pictures: planes, pixels, small pictures, embeddings."""

from __future__ import annotations

import asyncio
import io
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse

from anymask.base import InputError, UintImage
from anymask.images import PictureView, Ranges, load_plane, read_planes, read_values
from anymask.jobs import PictureChoice, parse_bands, parse_ranges
from anymask.studio.answers import PlanesAnswer, ValuesAnswer
from anymask.studio.checks import MOST_PAGE
from anymask.studio.inference import PHOTO_THREADS, Inference
from anymask.studio.limits import Limits
from anymask.studio.model_api import embedded
from anymask.studio.photo_files import checked_picture, photo_file
from anymask.studio.photos import too_large
from anymask.studio.project import Project
from anymask.studio.records import ImageEntry
from anymask.studio.refusals import Refusal
from anymask.studio.results import EMBEDDING, file_answer

THUMBNAIL = 160  # pixels
MOST_CHANNEL = 10_000
PageNumber = Annotated[int | None, Query(ge=0, le=MOST_PAGE)]
ChannelNumber = Annotated[int | None, Query(ge=0, le=MOST_CHANNEL)]
_NUMBER = r"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?"
_RANGE = rf"({_NUMBER}:{_NUMBER}|:)"
BandNumbers = Annotated[str | None, Query(pattern=r"^[0-9]{1,5}(,[0-9]{1,5}){2}$")]
BandRanges = Annotated[str | None, Query(pattern=rf"^{_RANGE}(,{_RANGE}){{0,2}}$")]


@dataclass(frozen=True)
class AskedPlane:
    """Which plane of a photo a request means.

    page     of a file of several, as `planes` lists them
    channel  the place of one in `channels` of `planes`
    bands    instead: three channels as red, green and blue, counted from 1, 0 for black
    ranges   of their values, which become black and white, or None of a band
    """

    page: int | None = None
    channel: int | None = None
    bands: tuple[int, ...] | None = None
    ranges: Ranges | None = None


def asked_plane(
    page: PageNumber = None,
    channel: ChannelNumber = None,
    bands: BandNumbers = None,
    ranges: BandRanges = None,
) -> AskedPlane:
    """The plane that a query names. Raises InputError for a channel beside bands."""
    if bands is None:
        if ranges is not None:
            raise InputError("ranges go with bands, got them alone; add bands=2,0,1")
        return AskedPlane(page, channel)
    if channel is not None:
        raise InputError("give channel or bands, got both; bands are three channels in one")
    return AskedPlane(page, None, parse_bands(bands), (ranges and parse_ranges(ranges)) or None)


Asked = Annotated[AskedPlane, Depends(asked_plane)]


@dataclass(frozen=True)
class PictureLook:
    """What is shown and seen of photos where a request does not say, and how large they may be."""

    choice: PictureChoice
    limits: Limits

    @property
    def view(self) -> PictureView:
        """Bands, stretch and ranges."""
        return self.choice.view

    def view_of(self, asked: AskedPlane) -> PictureView:
        """The same, with the channels that a request puts together. Raises InputError."""
        if asked.bands is None:
            return self.view
        stretch = None if asked.ranges else self.choice.stretch
        return PictureView.of(asked.bands, 0, stretch, asked.ranges)

    def page(self, path: Path, asked: int | None) -> int:
        """The page that is asked for; else the one of the choice, where the file has it."""
        if asked is not None:
            return asked
        if self.choice.page in (0, "all"):
            return 0
        places = read_planes(path).places
        return self.choice.page if self.choice.page in places else places[0]

    def check(self, project: Project, image_id: int) -> ImageEntry:
        """A photo that may be read. Raises NotFoundError, Refusal (413)."""
        image = project.store.image(image_id)
        height, width = image.hw
        if height * width > self.limits.pixels:
            raise too_large(f"{width} x {height}", self.limits)
        return image

    def load(self, project: Project, image_id: int, asked: AskedPlane) -> UintImage:
        """Read one plane of a photo. Raises ImageError, InputError, Refusal (413, 422)."""
        image, path = self.check(project, image_id), project.picture(image_id)
        place = self.page(path, asked.page)
        photo = load_plane(path, place, asked.channel, self.view_of(asked))
        high, wide = photo.shape[:2]
        if (high, wide) != image.hw:
            checked_picture(project, image_id)
            image = project.store.image(image_id)
        height, width = image.hw
        if (high, wide) != image.hw:
            raise Refusal(
                422,
                f"a page of {width} x {height} pixels, as the first one",
                f"{wide} x {high} on page {place}",
                "label it as a photo of its own: cut the file into one for each size",
            )
        return photo

    def is_plain(self, asked: AskedPlane) -> bool:
        """Whether a file that holds one picture is shown as it is."""
        first = self.choice.page in (0, "all")
        as_it_comes = asked.channel is None and self.view_of(asked).plain
        return as_it_comes and asked.page in (None, 0) and (first or asked.page == 0)


def add_pictures(
    router: APIRouter, project: Project, inference: Inference, look: PictureLook
) -> None:
    """Add them to a project's router."""
    _add_planes(router, project, look)
    _add_pixels(router, project, look)

    @router.get("/images/{image_id}/embedding", response_class=Response, responses=EMBEDDING)
    async def embedding(image_id: int, asked: Asked) -> Response:
        """The photo's embedding; asking for the next photo's is a prefetch."""
        return await embedded(inference, partial(look.load, project, image_id, asked))


def _add_planes(router: APIRouter, project: Project, look: PictureLook) -> None:
    @router.get("/images/{image_id}/planes", response_model=PlanesAnswer)
    def planes(image_id: int) -> dict[str, Any]:
        """The pages and channels of a photo's file, and how large its pixels are.

        The size of a file that was replaced is taken over; 409 where the photo has masks.
        """
        path = checked_picture(project, image_id)
        found, file = read_planes(path), photo_file(project, image_id)
        return {
            "first": look.page(path, None),
            "pages": [{"page": page, "name": found.name(page)} for page in found.places],
            "channels": list(found.channels),
            "colours": found.colours or (look.view.bands is not None and bool(found.channels)),
            "pixel": None if found.pixel is None else asdict(found.pixel),
            "deep": found.deep,
            "file": file.mark,
            "replaced": file.replaced,
        }

    @router.get("/images/{image_id}/values", response_model=ValuesAnswer)
    def values(image_id: int, page: PageNumber = None) -> dict[str, Any]:
        """What numbers the channels of a page have, to choose ranges of them."""
        look.check(project, image_id)
        path = project.picture(image_id)
        return {"channels": [asdict(one) for one in read_values(path, look.page(path, page))]}


def _add_pixels(router: APIRouter, project: Project, look: PictureLook) -> None:
    converting = asyncio.Lock()  # one photo's pixels at a time
    shrinking = asyncio.Semaphore(PHOTO_THREADS)  # a page asks for many of them at once
    kinds = ("image/png", "image/jpeg", "image/webp")

    @router.get(
        "/images/{image_id}/pixels", response_class=FileResponse, responses=file_answer(*kinds)
    )
    async def pixels(image_id: int, asked: Asked) -> Response:
        """The upright photo: the file itself where a browser shows it so, else a PNG.

        page     of a file of several, as `planes` lists them
        channel  the place of one in `channels` of `planes`
        bands    instead: three channels as red, green and blue, counted from 1, 0 for black
        ranges   values that become black and white: LOW:HIGH of all bands or each, : for none
        """
        path = await run_in_threadpool(project.picture, image_id)
        plain = look.is_plain(asked)
        if plain and await run_in_threadpool(_is_shown_as_it_is, path):
            return FileResponse(path)
        async with converting:
            return await run_in_threadpool(lambda: _png(look.load(project, image_id, asked)))

    @router.get(
        "/images/{image_id}/thumbnail",
        response_class=Response,
        responses=file_answer("image/jpeg"),
    )
    async def thumbnail(image_id: int) -> Response:
        """The upright photo, small, as a JPEG."""
        async with shrinking:
            return await run_in_threadpool(
                lambda: _small(look.load(project, image_id, AskedPlane()))
            )


def _small(photo: UintImage) -> Response:
    """At most THUMBNAIL pixels a side."""
    picture = Image.fromarray(photo)
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=80)
    headers = {"Cache-Control": "private, max-age=3600"}
    return Response(stream.getvalue(), media_type="image/jpeg", headers=headers)


def _is_shown_as_it_is(path: Path) -> bool:
    """Whether a browser shows the file itself as we see it; not for what cannot be read."""
    try:
        with Image.open(path) as picture:
            plain = picture.format in ("JPEG", "PNG", "WEBP") and picture.mode in ("RGB", "L")
            return plain and picture.getexif().get(0x0112, 1) == 1
    except Exception:  # a dozen kinds on altered bytes
        return False


def _png(photo: UintImage) -> Response:
    stream = io.BytesIO()
    Image.fromarray(photo).save(stream, "PNG", compress_level=1)
    return Response(stream.getvalue(), media_type="image/png")
