"""Limits of the server: what one request may cost, and how many may be under way."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from anymask.base import InputError, Setting, check_settings, describe_settings

MEGA = 1_000_000
COSTLY = re.compile(  # addresses that need the model, or decode a photo
    r"/predict|/api/(encode|segment|everything|find|names)"
    r"|/api/images/[^/]+/(embedding|everything|find|pixels|values)"
    r"|/api/(videos|volumes)/[^/]+/(frames|prompts|masks)"
)
SLOWEST = 64_000  # bytes a second at which any body may come in


def parse_mega(text: str) -> int:
    """Megabytes or megapixels as bytes or pixels. Raises InputError."""
    try:
        return int(float(text) * MEGA)
    except (ValueError, OverflowError):
        raise InputError(f"The limit must be a number. Given: {text!r}.") from None


@describe_settings
@dataclass(frozen=True, kw_only=True)
class Limits:
    """Counts and sizes; a request beyond one of them is refused with the limit's value.

    Raises InputError for anything below 1, or seconds that are not above 0.
    """

    upload_bytes: Annotated[
        int,
        Setting(
            "maximum size of a request, in megabytes",
            least=1, option="--upload-megabytes", form="N", parse=parse_mega, default="64",
        ),
    ] = 64 * MEGA  # fmt: skip
    values: Annotated[
        int, Setting("approximate maximum number of values in a JSON body", least=1)
    ] = 2 * MEGA
    pixels: Annotated[
        int,
        Setting(
            ("maximum size of an image in megapixels, read from its header before it is "
"decoded; also of all masks of a request"),
            least=1, option="--megapixels", form="N", parse=parse_mega, default="100",
        ),
    ] = 100 * MEGA  # fmt: skip
    prompts: Annotated[int, Setting("maximum number of prompts per request", least=1)] = 256
    points: Annotated[int, Setting("maximum number of points per prompt", least=1)] = 1000
    points_together: Annotated[
        int, Setting("maximum number of points in all prompts of a request", least=1)
    ] = 4000
    decodings: Annotated[
        int,
        Setting(
            "maximum number of decodings of the prompts of a request: one for each point, at most "
            "8 for each prompt",
            least=1,
        ),
    ] = 1024
    grid: Annotated[int, Setting("of the grid of everything", least=1)] = 64
    crop_layers: Annotated[int, Setting("of the grid of everything", least=1)] = 2
    clicks: Annotated[
        int,
        Setting(
            (
                "maximum number of clicks of one request for everything, with tiles and "
                "crops; each crop counts as 256 more (`cost_of`)"
            ),
            least=1,
        ),
    ] = 250_000
    requests: Annotated[
        int,
        Setting(
            "maximum number of waiting requests that need the model; others get Retry-After",
            least=1,
        ),
    ] = 64
    body_bytes: Annotated[int, Setting("maximum size of all request bodies together", least=1)] = (
        512 * MEGA
    )
    header_seconds: Annotated[float, Setting("time limit for the header of a request", above=0)] = (
        20.0
    )
    body_seconds: Annotated[
        float,
        Setting(
            "time limit for the body of a request, plus one second for each SLOWEST bytes of it",
            above=0,
        ),
    ] = 60.0
    headers_waiting: Annotated[
        int,
        Setting(
            "maximum number of connections without a header; the oldest one is closed", least=1
        ),
    ] = 256
    videos: Annotated[int, Setting("maximum number of open video and scan sessions", least=1)] = 8
    video_frames: Annotated[int, Setting("of one session", least=1)] = 20_000
    video_objects: Annotated[int, Setting("of one session", least=1)] = 32
    volume_bytes: Annotated[
        int,
        Setting(
            "maximum decompressed size of a scan, in megabytes",
            least=1, option="--volume-megabytes", form="N", parse=parse_mega, default="1024",
        ),
    ] = 1024 * MEGA  # fmt: skip
    volume_seconds: Annotated[
        float,
        Setting("time limit for reading a scan", above=0, option="--volume-seconds", form="N"),
    ] = 300.0
    video_idle_seconds: Annotated[
        float, Setting("idle time after which a session is closed", above=0)
    ] = 600.0
    video_seconds: Annotated[float, Setting("maximum lifetime of a session", above=0)] = 7200.0

    def __post_init__(self) -> None:
        check_settings(self)
