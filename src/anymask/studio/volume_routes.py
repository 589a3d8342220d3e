"""Routes of scan sessions: open, display slices, prompt, track, measure, export and close."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, Field, WithJsonSchema
from starlette.responses import JSONResponse

from anymask.base import csv_text, write_whole
from anymask.masks import mask_to_rle, rle_to_coco
from anymask.studio.model_routes import BINARY, BodyRoute, LimitsDep, done, file_answer
from anymask.studio.records import MAX_ID
from anymask.studio.schemas import (
    VOLUME,
    CocoRleBody,
    Count,
    PromptBody,
    Strict,
    at_most,
    check_prompts,
    example,
    settings_schema,
)
from anymask.studio.session_routes import (
    JSON_LINES_RESPONSES,
    Frame,
    Number,
    SessionsDep,
    add_shared,
    asked,
    begin,
    export_answer,
    export_path,
    lines_of,
    state_of,
)
from anymask.studio.video_schemas import NamedObjectBody, ObjectBody, SessionBody, object_body
from anymask.studio.video_sessions import own_file
from anymask.studio.volume_sessions import AXES, OpenScan
from anymask.track import Direction
from anymask.volumes import LabelMeasure, TrackedSlice, Volume, measure_labels, write_labels

Axis = Literal["z", "y", "x"]
Ending = Literal[".nii.gz", ".nii", ".mgz", ".mgh", ".nrrd", ".tif", ".zip", ".dcm", ".scan"]
OfAxis = Annotated[Axis, InPath(examples=["z"])]
SliceNumber = Annotated[int, InPath(ge=0, le=MAX_ID, examples=[0])]
MIME_TYPES = {".csv": "text/csv", ".dcm": "application/dicom", ".rtstruct.dcm": "application/dicom",
         ".nii.gz": "application/gzip", ".seg.nrrd": "application/octet-stream"}  # fmt: skip
VOLUME_BODY = {"requestBody": {"required": True, "content": {"application/octet-stream": BINARY}}}


class VolumeBody(SessionBody):
    """`settings`: keyword arguments of `Model.volume`, such as {"stop": false}.

    `name`: the name of the session, as for videos.
    """

    model_config = example(name="scan", settings={"stop": True})

    settings: Annotated[dict[str, Any], WithJsonSchema(settings_schema(VOLUME))] = Field({})


class ScanChoiceBody(BaseModel):
    """`scan`: the name of a scan on the server. `frame`: index of the volume, counted from 0."""

    model_config = example(scan="scan.nii.gz")

    scan: str = Field(max_length=1000)
    frame: Count | None = None


class WindowBody(BaseModel):
    """The intensity window in raw values: level and width."""

    model_config = example(level=60, width=120)

    level: float = Field(allow_inf_nan=False)
    width: float = Field(gt=0, allow_inf_nan=False)


class SlicePromptBody(PromptBody):
    """A prompt on a slice: as for /api/segment, with the slice and the object number."""

    model_config = example(axis="z", slice=0, object=1, points=[[24, 24]])

    axis: Axis = "z"
    slice: Count = 0
    object: Annotated[int, Field(ge=1, lt=2**16)] = 1
    replace: bool = Field(default=False, description="remove the earlier prompts of this slice")


class VolumeExportBody(BaseModel):
    """The file ending, the title of the scan, and the names and colors of the objects."""

    model_config = example(ending=".nii.gz", title="scan")

    ending: Literal[".nii.gz", ".seg.nrrd", ".csv", ".dcm", ".rtstruct.dcm"]
    title: str = Field(default="scan", max_length=200)
    objects: Annotated[list[NamedObjectBody], at_most(1000, "objects")] = []


Known = Annotated[list[int], Field(min_length=3, max_length=3)]


class VolumeStateBody(Strict):
    """An open session: its scan, segmented slices, and remaining time."""

    name: str
    model: str = Field(description="name of the tracking model")
    shape: Annotated[list[int], Field(min_length=3, max_length=3)] | None = Field(
        description="voxels along z, y, x; null before a scan is sent"
    )
    spacing: Annotated[list[float], Field(min_length=3, max_length=3)] | None = Field(
        description="voxel spacing along z, y, x in mm"
    )
    orientation: str | None = Field(description="axis directions of x, y and z, such as LPS")
    window: list[float] | None = Field(
        description="level and width of the intensity window that is applied to the slices"
    )
    endings: list[str] = Field(description="supported export formats")
    objects: list[int]
    known: dict[str, list[Known]] = Field(
        description=(
            "for each object number, the ranges of slices with masks as [axis, first, "
            "last]; axis 0 is z"
        )
    )
    seconds_left: float


class VolumeOffersBody(Strict):
    """The scans on the server, and the limits of a session."""

    scans: list[str] = Field(description="scans on the server")
    files: bool = Field(description="whether NIfTI is supported (nibabel is installed)")
    upload_bytes: int
    volume_bytes: int
    most_objects: int


class PromptedSliceBody(ObjectBody):
    """The object on the slice, and the slices on which its masks are still valid."""

    known: list[Known]


class LabeledObjectBody(Strict):
    """An object on a slice."""

    object: int
    segmentation: CocoRleBody


class LabeledSliceBody(Strict):
    """The labels on a slice."""

    axis: int
    slice: int
    objects: list[LabeledObjectBody]


class LabeledSlicesBody(Strict):
    """The labels on the three slices across z, y and x through a voxel."""

    planes: list[LabeledSliceBody]


class MeasuresBody(Strict):
    """The measurements of each object."""

    rows: list[LabelMeasure]


_SCAN = asked(OpenScan, "scan")
Asked = Annotated[OpenScan, _SCAN]
router = APIRouter(prefix="/api/volumes", route_class=BodyRoute, tags=["volumes"])
_ACTION_SUMMARIES = {
    "look": "Return the shape, spacing, objects, segmented slices and remaining time of a session.",
    "remove": "Remove an object of the scan. Other objects are not changed.",
    "pause": "Pause tracking after the current slice, and wait until this slice is finished.",
}
add_shared(router, _SCAN, VolumeStateBody, _ACTION_SUMMARIES)


# Sessions.


@router.get("", response_model=VolumeOffersBody)
async def offers(videos: SessionsDep, limits: LimitsDep) -> dict[str, Any]:
    """List the scans on the server and the limits of a session."""
    return {
        "scans": sorted(videos.scans),
        "files": importlib.util.find_spec("nibabel") is not None,
        "upload_bytes": limits.upload_bytes,
        "volume_bytes": limits.volume_bytes,
        "most_objects": limits.video_objects,
    }


@router.post("", response_model=VolumeStateBody)
async def begin_scan(body: VolumeBody, videos: SessionsDep) -> Response:
    """Open a scan session. Then send a scan, or choose one on the server."""
    return await begin(videos, OpenScan, body, VOLUME)


@router.put("/{name}/file", response_model=VolumeStateBody, openapi_extra=VOLUME_BODY)
async def take_file(
    scan: Asked,
    videos: SessionsDep,
    request: Request,
    ending: Ending = ".nii.gz",
    frame: Annotated[int | None, Query(ge=0, le=MAX_ID)] = None,
) -> Response:
    """Upload the scan of a session: a NIfTI, NRRD, MGH or TIFF file, or a zip of DICOM slices."""
    await videos.receive(
        scan, request.stream(), f"scan{ending}", partial(scan.read, videos, request, frame, False)
    )
    return await state_of(videos, scan)


@router.put("/{name}/scan", response_model=VolumeStateBody)
async def take_own(
    scan: Asked, body: ScanChoiceBody, videos: SessionsDep, request: Request
) -> Response:
    """Choose a scan on the server for a session."""
    read = partial(scan.read, videos, request, body.frame, True)
    await videos.receive(scan, own_file(videos.scans, body.scan), read=read)
    return await state_of(videos, scan)


# Display.


@router.get(
    "/{name}/slices/{axis}/{index}", response_class=Response, responses=file_answer("image/png")
)
async def picture(
    scan: Asked,
    axis: OfAxis,
    index: SliceNumber,
    videos: SessionsDep,
    level: Annotated[float | None, Query(allow_inf_nan=False)] = None,
    width: Annotated[float | None, Query(gt=0, allow_inf_nan=False)] = None,
) -> Response:
    """Return a slice as an 8-bit PNG. Without a window, the window of the model is used."""
    session = scan.about
    window = (
        session.window[0] if level is None else level,
        session.window[1] if width is None else width,
    )

    def png() -> bytes:
        gray = session.volume.image(index, AXES.index(axis), window)
        return bytes(cv2.imencode(".png", gray, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1])

    headers = {"Cache-Control": "private, max-age=3600"} if level is not None else {}
    return Response(await done(videos.view(png)), media_type="image/png", headers=headers)


@router.put("/{name}/window", response_model=VolumeStateBody)
async def window(scan: Asked, body: WindowBody, videos: SessionsDep) -> Response:
    """Set the intensity window that is applied to the slices, before any prompt."""
    await done(videos.work(lambda: scan.change_window(videos, (body.level, body.width))))
    return await state_of(videos, scan)


@router.get("/{name}/labels", response_model=LabeledSlicesBody)
async def labels(
    scan: Asked, videos: SessionsDep, z: Frame = 0, y: Frame = 0, x: Frame = 0
) -> Response:
    """Return the labels on the three slices through a voxel, as they would be exported."""

    def planes() -> list[dict[str, Any]]:
        return [
            {
                "axis": axis,
                "slice": index,
                "objects": [
                    {"object": number, "segmentation": rle_to_coco(mask_to_rle(mask))}
                    for number, mask in masks.items()
                ],
            }
            for axis, index, masks in scan.planes((z, y, x))
        ]

    return JSONResponse({"planes": await done(videos.work(planes))})


# Prompts.


@router.post("/{name}/prompts", response_model=PromptedSliceBody)
async def prompt(
    scan: Asked, body: SlicePromptBody, videos: SessionsDep, limits: LimitsDep
) -> Response:
    """Add a prompt to an object on a slice. Returns the mask of the object on this slice."""
    check_prompts([body], limits)
    scan.check_room(body.object, limits)

    def add() -> dict[str, Any]:
        prompt, session = body.as_prompt(), scan.changed()
        mask = session.add(
            body.slice, body.object, axis=AXES.index(body.axis), points=prompt.points,
            labels=prompt.labels, box=prompt.box, mask=prompt.mask, lasso=prompt.lasso,
            replace=body.replace,
        )  # fmt: skip
        scan.objects.add(body.object)
        return object_body(body.object, mask) | {"known": session.slice_ranges(body.object)}

    return JSONResponse(await done(videos.work(add)))


@router.delete("/{name}/objects/{number}/prompts/{axis}/{index}", response_model=VolumeStateBody)
async def remove_prompts(
    scan: Asked, number: Number, axis: OfAxis, index: SliceNumber, videos: SessionsDep
) -> Response:
    """Remove the prompts of an object on a slice. Removes the object if it has no other prompt."""

    def back() -> None:
        session = scan.changed()
        session.remove_prompts(number, index, AXES.index(axis))
        scan.objects &= set(session.objects)

    await done(videos.work(back))
    return await state_of(videos, scan)


# Results.


def slice_body(found: TrackedSlice) -> dict[str, Any]:
    """Axis, slice, and its objects as `ObjectBody`."""
    objects = [object_body(number, mask) for number, mask in found.objects.items()]
    return {"axis": found.axis, "slice": found.index, "objects": objects}


@router.get("/{name}/masks", response_class=StreamingResponse, responses=JSON_LINES_RESPONSES)
async def masks(scan: Asked, videos: SessionsDep, direction: Direction = "both") -> Response:
    """Track the objects through the slices to their ends. Streams one line per slice."""
    scan.turn += 1

    def slices() -> Iterator[TrackedSlice]:
        for tracked in scan.about.propagate(direction):
            scan.changed()
            yield tracked

    return await lines_of(videos, scan, slices(), slice_body)


@router.get("/{name}/results", response_class=StreamingResponse, responses=JSON_LINES_RESPONSES)
async def results(scan: Asked, videos: SessionsDep) -> Response:
    """Return the masks of all segmented slices, one line per slice, without tracking."""

    def slices() -> Iterator[TrackedSlice]:
        session = scan.about
        stretches = {span for number in session.objects for span in session.slice_ranges(number)}
        known = {(axis, i) for axis, first, last in stretches for i in range(first, last + 1)}
        for axis, index in sorted(known):
            yield session.slice(index, axis)

    return await lines_of(videos, scan, slices(), slice_body)


@router.get("/{name}/measures", response_model=MeasuresBody)
async def measures(scan: Asked, videos: SessionsDep) -> Response:
    """Return the volume in ml, largest area and diameter in mm of each object."""
    known = await done(videos.work(lambda: scan.named({}, {})))
    rows = await done(videos.view(lambda: measure_labels(known)))
    return JSONResponse({"rows": [asdict(row) for row in rows]})


@router.post(
    "/{name}/export",
    response_class=FileResponse,
    responses=file_answer(*sorted(set(MIME_TYPES.values()))),
)
async def export(scan: Asked, body: VolumeExportBody, videos: SessionsDep) -> Response:
    """Export the objects as a label file on the grid of the scan, or as a table."""
    names = {entry.object: entry.name for entry in body.objects if entry.name}
    colors = {entry.object: entry.rgb for entry in body.objects}
    known = await done(videos.work(lambda: scan.named(names, colors)))
    path = export_path(scan, body.title, "scan", body.ending)
    path.parent.mkdir()
    try:
        await done(videos.view(partial(write_known, path, known, scan.scan)))
    except BaseException:
        shutil.rmtree(path.parent, ignore_errors=True)
        raise
    return export_answer(path, MIME_TYPES[body.ending])


def write_known(path: Path, labels: Volume, scan: Volume | None) -> None:
    """Write labels, or the table of their measurements. Raises InputError, MissingExtra."""
    if path.suffix != ".csv":
        write_labels(path, labels, scan)
        return
    head = [field.name for field in fields(LabelMeasure)]
    rows = ([_cell(value) for value in asdict(row).values()] for row in measure_labels(labels))
    write_whole(path, csv_text([head, *rows]))


def _cell(value: Any) -> Any:
    """Format a table cell: three numbers in one cell, and rounded fractions."""
    if isinstance(value, tuple):
        return " ".join(f"{part:.2f}" for part in value)
    return f"{value:.4g}" if isinstance(value, float) else value
