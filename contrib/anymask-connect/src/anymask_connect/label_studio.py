"""Label Studio machine learning backend: predict brush masks from points and boxes.

Paths and records follow label-studio-ml-backend (`api.py`, Apache-2.0) and the tags of Label
Studio; only the protocol is used, not the code. Coordinates are percentages of the image size.

Images are read from one folder or downloaded from one Label Studio server. Other URLs are rejected,
so that clients cannot make the server read other files or contact other hosts.
"""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, unquote, urljoin, urlsplit
from xml.etree import ElementTree as ET

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from anymask.base import UintImage, transfers
from anymask.formats import mask_to_brush
from anymask.masks import Prompt
from anymask.segment import Prediction
from anymask.studio import Inference, Limits, RequestError, model_routes, schemas

MAX_TASKS = 1000  # maximum number of tasks per request
_PATIENCE = 30  # response timeout of image downloads, in seconds


@dataclass(frozen=True)
class TaskImages:
    """Location of task images.

    Attributes:
        folder: Folder for local paths, or None.
        host: URL of Label Studio, such as "http://127.0.0.1:8080", or "".
        key: API key of Label Studio.
    """

    folder: Path | None = None
    host: str = ""
    key: str = field(default="", repr=False)

    def read(self, address: str, limits: Limits) -> bytes:
        """Read an image file. Raises Refusal for other locations."""
        try:
            if address.startswith("data:"):
                return base64.b64decode(address.partition(",")[2])
            local = self._local(address)
            if local is not None:
                with local.open("rb") as file:
                    return file.read(limits.upload_bytes + 1)
            requested, full = urlsplit(self.host), urlsplit(urljoin(self.host, address))
        except (OSError, ValueError) as error:  # too long, NUL, invalid base64 or host
            message = (
                f"The image address {address[:80]!r} is invalid. Send it in the form "
                "that Label Studio uses."
            )
            raise RequestError(422, message) from error
        if not self.host or (full.scheme, full.netloc) != (requested.scheme, requested.netloc):
            message = (
                f"The image {address[:120]} is not available. Start the server with "
                "--images DIR or the URL of Label Studio to give it access to this image."
            )
            raise RequestError(422, message)
        headers = {"Authorization": f"Token {self.key}"} if self.key else {}
        try:
            return transfers.read_address(
                full.geturl(), headers, limits.upload_bytes, answer_s=_PATIENCE, follow=False
            )
        except transfers.TRANSFER_ERRORS as error:
            status = getattr(error, "code", None)
            why = f"HTTP status {status}" if status else "no response"
            message = (
                f"The image cannot be downloaded from Label Studio: {why}. Check its address and "
                "API key."
            )
            raise RequestError(502, message) from error

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


@dataclass(frozen=True)
class Tag:
    """Brush tag of a labeling configuration: its name, the image tag, the image key and labels."""

    name: str
    to_name: str
    image_key: str
    labels: tuple[str, ...]

    def label(self, requested: str) -> str:
        """A supported label, or the first one: Label Studio hides masks with unknown labels."""
        return requested if requested in self.labels else (*self.labels, "")[0]


def read_config(xml: str) -> Tag:
    """Find the brush tag. Raises Refusal if it is missing."""
    try:
        if "<!" in xml.replace("<!--", ""):
            raise ET.ParseError("XML declarations are not supported.")
        root = ET.fromstring(xml)
        brush = next(root.iter("BrushLabels"))
        name, to_name = brush.attrib["name"], brush.attrib["toName"]
        image = next(tag for tag in root.iter("Image") if tag.get("name") == to_name)
        labels = tuple(label.attrib["value"] for label in brush.iter("Label"))
        return Tag(name, to_name, image.attrib["value"].lstrip("$"), labels)
    except (ET.ParseError, StopIteration, KeyError, UnicodeEncodeError) as error:
        message = (
            f"The labeling configuration is not supported: {xml[:80]!r}. It must "
            "contain <Image> and <BrushLabels toName=...>. Add a BrushLabels tag in "
            "the settings of the project."
        )
        raise RequestError(422, message) from error


_CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="tag" toName="image">'
    '<Label value="disc"/></BrushLabels></View>'
)
_CLICK = {"type": "keypointlabels", "value": {"x": 37, "y": 50, "keypointlabels": ["disc"]}}


class TaskBody(BaseModel):
    """The address of an image, under the key in the labeling configuration."""

    data: dict[str, Any]


class ContextBody(BaseModel):
    """The regions that the annotator has drawn."""

    result: Annotated[list[dict[str, Any]], schemas.Few] | None = None


class ParamsBody(BaseModel):
    """Parameters that Label Studio sends with the tasks."""

    context: ContextBody | None = None


class PredictBody(BaseModel):
    """A prediction request of Label Studio. Other fields are ignored."""

    model_config = schemas.example(
        label_config=_CONFIG,
        tasks=[{"data": {"image": f"data:image/png;base64,{schemas.DISC}"}}],
        params={"context": {"result": [_CLICK]}},
    )

    label_config: str = ""
    tasks: Annotated[list[TaskBody], schemas.Few, schemas.at_most(MAX_TASKS, "tasks")] | None = None
    params: ParamsBody | None = None


class SetupBody(BaseModel):
    """The labeling configuration."""

    model_config = schemas.example(schema=_CONFIG)

    xml: str = Field(default="", alias="schema")


def _version(inference: Inference) -> str:
    now = inference.health()
    return f"anymask-{now.model}-{now.weights_hash[:12]}"


async def setup(body: SetupBody, inference: model_routes.ModelDep) -> dict[str, str]:
    """Check the labeling configuration and return the name of the model."""
    read_config(body.xml)
    return {"model_version": _version(inference)}


def _image_of(images: TaskImages, address: str, limits: Limits) -> UintImage:  # (H, W, 3)
    """Read the image of a task. Raises Refusal."""
    return model_routes.read_image(images.read(address, limits), limits)


async def versions(inference: model_routes.ModelDep) -> dict[str, str | list[str]]:
    """The only version there is."""
    return {"versions": [_version(inference)], "message": ""}


async def train() -> dict[str, str | None]:
    """Nothing is trained here: `anymask project retrain` does."""
    return {"job": None, "status": "ok"}


async def webhook() -> dict[str, str | dict[str, str]]:
    """Told of changes in the project; none of them matters here."""
    return {"result": {}, "status": "ok"}


def label_studio_routes(images: TaskImages) -> APIRouter:
    """Create the routes of a backend, for `anymask.serve(routers=...)`.

    Args:
        images: Where it reads the images of tasks.
    """
    routes = APIRouter(route_class=model_routes.BodyRoute, tags=["Label Studio"])

    @routes.post("/predict")
    async def predict(
        body: PredictBody, inference: model_routes.ModelDep, limits: model_routes.LimitsDep
    ) -> dict[str, list[dict[str, Any]]]:
        """Segment the points and boxes in `params.context`. Without these, the result is empty."""
        tag = read_config(body.label_config)
        context = None if body.params is None else body.params.context
        regions = (context and context.result) or []
        kinds = {str(region.get("type")) for region in regions}
        results: list[dict[str, Any]] = []
        for task in body.tasks or []:
            found: dict[str, Any] = {"result": [], "score": 0.0}
            if kinds & {"keypointlabels", "rectanglelabels"}:
                address = str(task.data.get(tag.image_key, ""))
                look = partial(_image_of, images, address, limits)
                features = await model_routes.done(inference.encode(look))
                prompt = prompt_of(regions, features.embedding.image_hw)
                (answer,) = await model_routes.done(inference.segment(features, [prompt]))
                last = regions[-1]["value"]  # validated by `prompt_of`
                names = last.get("keypointlabels") or last.get("rectanglelabels")
                label = tag.label(str(names[0]) if isinstance(names, list) and names else "")
                found = await run_in_threadpool(prediction, answer, tag, label)
            results.append({"model_version": _version(inference)} | found)
        return {"results": results}

    routes.post("/setup")(setup)
    routes.get("/versions")(versions)
    routes.post("/train", status_code=201)(train)
    routes.post("/webhook", status_code=201)(webhook)
    return routes


def prompt_of(regions: list[dict[str, Any]], image_hw: tuple[int, int]) -> Prompt:
    """Convert key points and rectangles in percent to one prompt. The last rectangle is used."""
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
        message = (
            "A region is invalid. It must have a type, and value.x and value.y in percent, as "
            "Label Studio sends them."
        )
        raise RequestError(422, message) from error
    return Prompt.of(points=points or None, labels=labels or None, box=box)


def prediction(answer: Prediction, tag: Tag, label: str) -> dict[str, Any]:
    """Convert the best mask to a brush region."""
    mask = answer.masks[0]
    score = min(1.0, max(0.0, float(answer.scores[0])))
    region = {
        "id": uuid.uuid4().hex[:10],
        "from_name": tag.name,
        "to_name": tag.to_name,
        "type": "brushlabels",
        "original_height": mask.shape[0],
        "original_width": mask.shape[1],
        "image_rotation": 0,
        "value": {"format": "rle", "rle": mask_to_brush(mask), "brushlabels": [label]},
        "score": score,
        "readonly": False,
    }
    return {"result": [region] if mask.any() else [], "score": score}
