"""Label Studio's machine learning backend: its tasks with clicks and boxes in, brush masks out.

The addresses and records are those of label-studio-ml-backend (`api.py`, Apache-2.0) and of Label
Studio's own tags; the protocol, not the code. Coordinates are percent of the picture's sides.

Pictures are read from one folder or fetched from one Label Studio; an address that leads elsewhere
is refused, so that nobody makes this server read other files or ask other machines.
"""

from __future__ import annotations

import base64
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, unquote, urljoin, urlsplit
from xml.etree import ElementTree as ET

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from anymask.formats import mask_to_brush
from anymask.masks import Prompt
from anymask.segment import Prediction
from anymask.studio.answers import (
    StudioJobAnswer,
    StudioModelAnswer,
    StudioPredictionsAnswer,
    StudioToldAnswer,
    StudioVersionsAnswer,
)
from anymask.studio.forms import JsonRoute
from anymask.studio.inference import Inference
from anymask.studio.limits import Limits
from anymask.studio.model_api import done
from anymask.studio.photos import read_photo
from anymask.studio.refusals import Refusal
from anymask.studio.wire import at_most

MOST_TASKS = 1000  # of one question
COSTLY = frozenset({"/predict"})
_PATIENCE = 30  # seconds for a picture


@dataclass(frozen=True)
class TaskPictures:
    """Where the tasks' pictures are.

    folder  that local paths are meant in; None: none
    host    of Label Studio, "http://127.0.0.1:8080"; "": none
    key     its access token
    """

    folder: Path | None = None
    host: str = ""
    key: str = ""

    def read(self, address: str, limits: Limits) -> bytes:
        """The bytes of a picture. Raises Refusal for an address that leads elsewhere."""
        try:
            return self._read(address, limits)
        except (OSError, ValueError) as error:  # too long, with a NUL, no base64, no host
            raise Refusal(
                422,
                "the address of a picture",
                f"{address[:80]!r} ({type(error).__name__})",
                "send it as Label Studio does",
            ) from error

    def _read(self, address: str, limits: Limits) -> bytes:
        if address.startswith("data:"):
            return base64.b64decode(address.partition(",")[2])
        local = self._local(address)
        if local is not None:
            with local.open("rb") as file:
                return file.read(limits.upload_bytes + 1)
        wanted, full = urlsplit(self.host), urlsplit(urljoin(self.host, address))
        if self.host and (full.scheme, full.netloc) == (wanted.scheme, wanted.netloc):
            return self._fetch(full.geturl(), limits)
        raise Refusal(
            422,
            "a picture in --photos DIR or of --label-studio URL",
            address[:120],
            "start the server with the one that holds it",
        )

    def _local(self, address: str) -> Path | None:
        if self.folder is None:
            return None
        parts = urlsplit(address)
        name = parse_qs(parts.query).get("d", [unquote(parts.path)])[0].lstrip("/")
        root = self.folder.resolve()
        for place in (root / name, root / Path(name).name):
            if place.resolve().is_relative_to(root) and place.is_file():
                return place.resolve()
        return None

    def _fetch(self, address: str, limits: Limits) -> bytes:
        headers = {"Authorization": f"Token {self.key}"} if self.key else {}
        opener = urllib.request.build_opener(_NoRedirect)
        try:
            asked = urllib.request.Request(address, headers=headers)
            with opener.open(asked, timeout=_PATIENCE) as reply:
                read: bytes = reply.read(limits.upload_bytes + 1)
                return read
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise Refusal(
                502, "the picture from Label Studio", str(error)[:120], "check its address and key"
            ) from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        """Follow none: it could lead to another machine."""


@dataclass(frozen=True)
class Tag:
    """The brush tag of a labelling configuration: its name, the picture's, and its labels."""

    name: str
    to_name: str
    image_key: str
    labels: tuple[str, ...]

    def label(self, wanted: str) -> str:
        """A label that the brush has, or its first: Label Studio shows no mask of another."""
        return wanted if wanted in self.labels else (*self.labels, "")[0]


def read_config(xml: str) -> Tag:
    """Find the brush. Raises Refusal for a configuration without one."""
    try:
        if "<!" in xml.replace("<!--", ""):
            raise ET.ParseError("declarations are not read")
        root = ET.fromstring(xml)
        brush = next(root.iter("BrushLabels"))
        name, to_name = brush.attrib["name"], brush.attrib["toName"]
        picture = next(tag for tag in root.iter("Image") if tag.get("name") == to_name)
        labels = tuple(label.attrib["value"] for label in brush.iter("Label"))
        return Tag(name, to_name, picture.attrib["value"].lstrip("$"), labels)
    except (ET.ParseError, StopIteration, KeyError, UnicodeEncodeError) as error:
        raise Refusal(
            422,
            "a labelling configuration with <Image> and <BrushLabels toName=...>",
            f"{type(error).__name__} in {xml[:80]!r}",
            "add a BrushLabels tag in the project's settings",
        ) from error


class TaskBody(BaseModel):
    """A picture's address, under the name that the labelling configuration gives it."""

    data: dict[str, Any]


Tasks = Annotated[list[TaskBody], Field(fail_fast=True), at_most(MOST_TASKS, "tasks")]


class ContextBody(BaseModel):
    """The regions that somebody has drawn."""

    result: Annotated[list[dict[str, Any]], Field(fail_fast=True)] | None = None


class ParamsBody(BaseModel):
    """What Label Studio sends beside the tasks."""

    context: ContextBody | None = None


class PredictBody(BaseModel):
    """A question of Label Studio; what else it sends is passed over."""

    label_config: str = ""
    tasks: Annotated[list[TaskBody], Field(fail_fast=True), at_most(MOST_TASKS, "tasks")] | None = (
        None
    )
    params: ParamsBody | None = None

    @property
    def regions(self) -> list[dict[str, Any]]:
        """Those of the context, none where there is none."""
        context = None if self.params is None else self.params.context
        return (context and context.result) or []


class SetupBody(BaseModel):
    """The labelling configuration."""

    xml: str = Field(default="", alias="schema")


@dataclass(frozen=True)
class _Backend:
    inference: Inference
    pictures: TaskPictures
    limits: Limits

    def version(self) -> str:
        now = self.inference.health()
        return f"anymask-{now.model}-{now.weights_hash[:12]}"

    async def predict(
        self, task: TaskBody, regions: list[dict[str, Any]], tag: Tag
    ) -> dict[str, Any]:
        if not _is_prompted(regions):
            return {"result": [], "score": 0.0}
        address, limits = str(task.data.get(tag.image_key, "")), self.limits
        seen = await done(
            self.inference.encode(lambda: read_photo(self.pictures.read(address, limits), limits))
        )
        prompt = prompt_of(regions, seen.embedding.image_hw)
        (answer,) = await done(self.inference.segment(seen, [prompt]))
        label = tag.label(_label(regions))
        return await run_in_threadpool(prediction, answer, tag, label)


def label_studio_router(inference: Inference, pictures: TaskPictures, limits: Limits) -> APIRouter:
    """/setup, /predict, /train, /webhook and /versions; /health is the server's own."""
    router = APIRouter(route_class=JsonRoute)

    backend = _Backend(inference, pictures, limits)
    version = backend.version
    _add_told(router)

    @router.post("/setup", response_model=StudioModelAnswer)
    async def setup(body: SetupBody) -> dict[str, str]:
        """Check the labelling configuration and name the model."""
        read_config(body.xml)
        return {"model_version": version()}

    @router.post("/predict", response_model=StudioPredictionsAnswer)
    async def predict(body: PredictBody) -> dict[str, Any]:
        """Masks of the clicks and boxes in `params.context`; nothing without them."""
        tag = read_config(body.label_config)
        results = []
        for task in body.tasks or []:
            found = await backend.predict(task, body.regions, tag)
            results.append({"model_version": version()} | found)
        return {"results": results}

    @router.get("/versions", response_model=StudioVersionsAnswer)
    async def versions() -> dict[str, Any]:
        """The only version there is."""
        return {"versions": [version()], "message": ""}

    return router


def _add_told(router: APIRouter) -> None:
    @router.post("/train", status_code=201, response_model=StudioJobAnswer)
    async def train() -> dict[str, Any]:
        """Nothing is trained here: `anymask project retrain` does."""
        return {"job": None, "status": "ok"}

    @router.post("/webhook", status_code=201, response_model=StudioToldAnswer)
    async def webhook() -> dict[str, Any]:
        """Told of changes in the project; none of them matters here."""
        return {"result": {}, "status": "ok"}


def _is_prompted(regions: list[dict[str, Any]]) -> bool:
    return any(region.get("type") in ("keypointlabels", "rectanglelabels") for region in regions)


def prompt_of(regions: list[dict[str, Any]], image_hw: tuple[int, int]) -> Prompt:
    """Key points and rectangles in percent -> one prompt in pixels; the last rectangle counts."""
    height, width = image_hw
    points, labels, box = [], [], None
    try:
        for region in regions:
            value = region["value"]
            x, y = float(value["x"]) / 100 * width, float(value["y"]) / 100 * height
            if region["type"] == "keypointlabels":
                points.append((min(x, width - 1), min(y, height - 1)))
                labels.append(int(bool(region.get("is_positive", True))))
            elif region["type"] == "rectanglelabels":
                x1 = x + float(value["width"]) / 100 * width
                box = (x, y, x1, y + float(value["height"]) / 100 * height)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Refusal(
            422,
            "regions with type and value.x, value.y in percent",
            f"{type(error).__name__}: {error}",
            "send them as Label Studio does",
        ) from error
    return Prompt.of(points=points or None, labels=labels or None, box=box)


def _label(regions: list[dict[str, Any]]) -> str:
    """The last region's, or "" where it has none; `prompt_of` has read its value."""
    last = regions[-1]["value"]
    names = last.get("keypointlabels") or last.get("rectanglelabels")
    return str(names[0]) if isinstance(names, list) and names else ""


def prediction(answer: Prediction, tag: Tag, label: str) -> dict[str, Any]:
    """The best mask as a brush region."""
    mask = answer.masks[0]
    quality = min(1.0, max(0.0, float(answer.scores[0])))
    region = {
        "id": uuid.uuid4().hex[:10],
        "from_name": tag.name,
        "to_name": tag.to_name,
        "type": "brushlabels",
        "original_height": mask.shape[0],
        "original_width": mask.shape[1],
        "image_rotation": 0,
        "value": {"format": "rle", "rle": mask_to_brush(mask), "brushlabels": [label]},
        "score": quality,
        "readonly": False,
    }
    return {"result": [region] if mask.any() else [], "score": quality}
