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
        raise InputError(f"wanted a number, got {text!r}") from None


@describe_settings
@dataclass(frozen=True, kw_only=True)
class Limits:
    """Counts and sizes; a request beyond one of them is refused with the limit's value.

    Raises InputError for anything below 1, or seconds that are not above 0.
    """

    upload_bytes: Annotated[
        int,
        Setting(
            "the largest body of a request, in megabytes",
            least=1, option="--upload-megabytes", form="N", parse=parse_mega, default="64",
        ),
    ] = 64 * MEGA  # fmt: skip
    values: Annotated[
        int, Setting("of one JSON body: numbers, texts, lists and objects, about", least=1)
    ] = 2 * MEGA
    pixels: Annotated[
        int,
        Setting(
            "the largest photo, in megapixels, read from its header before it is decoded; also all "
            "masks of one request together",
            least=1, option="--megapixels", form="N", parse=parse_mega, default="100",
        ),
    ] = 100 * MEGA  # fmt: skip
    prompts: Annotated[int, Setting("in one request", least=1)] = 256
    points: Annotated[int, Setting("in one prompt", least=1)] = 1000
    points_together: Annotated[int, Setting("in all prompts of one request", least=1)] = 4000
    grid: Annotated[int, Setting("of the grid of everything", least=1)] = 64
    crop_layers: Annotated[int, Setting("of the grid of everything", least=1)] = 2
    clicks: Annotated[
        int,
        Setting(
            "of one request for everything, tiles and crops included, each look counted as 256 "
            "more (`cost_of`)",
            least=1,
        ),
    ] = 250_000
    requests: Annotated[
        int,
        Setting("under way that need the model; further ones are told when to come again", least=1),
    ] = 64
    body_bytes: Annotated[int, Setting("of all bodies under way together", least=1)] = 512 * MEGA
    header_seconds: Annotated[float, Setting("until a request's header must be there", above=0)] = (
        20.0
    )
    body_seconds: Annotated[
        float,
        Setting(
            "until its body must be there, and a second more for each SLOWEST bytes of it", above=0
        ),
    ] = 60.0
    headers_waiting: Annotated[
        int,
        Setting("connections whose header is not there yet; the oldest of more is closed", least=1),
    ] = 256
    videos: Annotated[
        int, Setting("sessions about videos and scans that are open together", least=1)
    ] = 8
    video_frames: Annotated[int, Setting("of one session", least=1)] = 20_000
    video_objects: Annotated[int, Setting("of one session", least=1)] = 32
    volume_bytes: Annotated[
        int,
        Setting(
            "the voxels of the largest scan, unpacked, in megabytes",
            least=1, option="--volume-megabytes", form="N", parse=parse_mega, default="1024",
        ),
    ] = 1024 * MEGA  # fmt: skip
    volume_seconds: Annotated[
        float,
        Setting("until reading a scan is given up", above=0, option="--volume-seconds", form="N"),
    ] = 300.0
    video_idle_seconds: Annotated[
        float, Setting("until a session that nobody asks is closed", above=0)
    ] = 600.0
    video_seconds: Annotated[float, Setting("until any session is closed", above=0)] = 7200.0

    def __post_init__(self) -> None:
        check_settings(self)
