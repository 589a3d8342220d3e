"""Limits of the server: cost of a request and number of concurrent requests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from anymask.base import InputError, Setting, describe_settings

MEGA = 1_000_000
COSTLY_PATHS = re.compile(  # endpoints that use the model or decode an image
    r"/predict|/api/(encode|segment|everything|find|names)"
    r"|/api/images/[^/]+/(embedding|everything|find|pixels|values)"
    r"|/api/(videos|volumes)/[^/]+/(frames|prompts|masks)"
)
SLOWEST = 64_000  # minimum transfer rate of a request body, in bytes per second


def parse_mega(text: str) -> int:
    """Parse megabytes or megapixels to bytes or pixels. Raises InputError."""
    try:
        return int(float(text) * MEGA)
    except (ValueError, OverflowError):
        raise InputError(f"Invalid limit {text!r}. Use a number.") from None


@describe_settings
@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of counts and sizes. Requests that exceed one are rejected with its value.

    Raises InputError for counts below 1, or times that are not above 0.
    """

    upload_bytes: Annotated[
        int,
        Setting(
            "maximum size of a request, in megabytes",
            ge=1, option="--upload-megabytes", metavar="N", parse=parse_mega, default="64",
        ),
    ] = 64 * MEGA  # fmt: skip
    values: Annotated[int, Setting("approximate maximum number of values in a JSON body", ge=1)] = (
        2 * MEGA
    )
    pixels: Annotated[
        int,
        Setting(
            ("maximum size of an image in megapixels, checked before the image is "
             "decoded; also the maximum for all masks of a request together"),
            ge=1, option="--megapixels", metavar="N", parse=parse_mega, default="100",
        ),
    ] = 100 * MEGA  # fmt: skip
    prompts: Annotated[int, Setting("maximum number of prompts per request", ge=1)] = 256
    points: Annotated[int, Setting("maximum number of points per prompt", ge=1)] = 1000
    points_together: Annotated[
        int, Setting("maximum total number of points of all prompts in a request", ge=1)
    ] = 4000
    decodings: Annotated[
        int,
        Setting(
            "maximum number of decoder runs per request; each point counts as one, "
            "and each prompt as at most 8",
            ge=1,
        ),
    ] = 1024
    grid: Annotated[int, Setting("maximum `grid` for automatic mask generation", ge=1)] = 64
    crop_layers: Annotated[
        int, Setting("maximum `crop_n_layers` for automatic mask generation", ge=1)
    ] = 2
    clicks: Annotated[
        int,
        Setting(
            "maximum number of points per request for automatic mask generation, "
            "in all tiles and crops together; each tile and each crop counts as "
            "256 additional points",
            ge=1,
        ),
    ] = 250_000
    requests: Annotated[
        int,
        Setting(
            "maximum number of waiting requests that use the model; further ones are "
            "rejected with a Retry-After header",
            ge=1,
        ),
    ] = 64
    body_bytes: Annotated[
        int,
        Setting(
            "maximum size of all request bodies in memory, in bytes; those from one "
            "address can have half of it",
            ge=1,
        ),
    ] = 512 * MEGA
    header_seconds: Annotated[
        float, Setting("time limit for the header of a request, in seconds", gt=0)
    ] = 20.0
    body_seconds: Annotated[
        float,
        Setting(
            "time in seconds in which the body of a request may arrive slower than "
            "64000 bytes per second",
            gt=0,
        ),
    ] = 60.0
    headers_waiting: Annotated[
        int,
        Setting(
            "maximum number of connections that have not sent a complete header; "
            "beyond it, the oldest one is closed",
            ge=1,
        ),
    ] = 256
    videos: Annotated[int, Setting("maximum number of open video and scan sessions", ge=1)] = 8
    video_frames: Annotated[int, Setting("maximum number of frames per video session", ge=1)] = (
        20_000
    )
    video_objects: Annotated[int, Setting("maximum number of objects per session", ge=1)] = 32
    volume_bytes: Annotated[
        int,
        Setting(
            "maximum decompressed size of a scan, in megabytes",
            ge=1, option="--volume-megabytes", metavar="N", parse=parse_mega, default="1024",
        ),
    ] = 1024 * MEGA  # fmt: skip
    volume_seconds: Annotated[float, Setting("time limit for reading a scan, in seconds", gt=0)] = (
        300.0
    )
    video_idle_seconds: Annotated[
        float, Setting("idle time in seconds after which a session is closed", gt=0)
    ] = 600.0
    video_seconds: Annotated[float, Setting("maximum lifetime of a session, in seconds", gt=0)] = (
        7200.0
    )
