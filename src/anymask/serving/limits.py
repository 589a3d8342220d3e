"""Limits of the server: what one request may cost, and how many may be under way."""

from __future__ import annotations

from dataclasses import dataclass

from anymask.primitives.errors import InputError

MEGA = 1_000_000
SLOWEST = 64_000  # bytes a second at which any body may come in


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Counts and sizes; a request beyond one of them is refused with the limit's value.

    upload_bytes    of one request's body
    values          of one JSON body: numbers, texts, lists and objects, about
    pixels          of one photo, read from its header before it is decoded; also of all masks of
                    one request together
    prompts         in one request
    points          in one prompt
    points_together in all prompts of one request
    points_per_side, crop_layers  of the grid of everything
    clicks          of one request for everything, tiles and crops included, each look counted as
                    256 more (`cost_of`)
    requests        under way that need the model; further ones are told when to come again
    body_bytes      of all bodies under way together
    long_requests   of everything under way or waiting
    header_seconds  until a request's header must be there
    body_seconds    until its body must be there, and a second more for each SLOWEST bytes of it
    headers_waiting connections whose header is not there yet; the oldest of more is closed
    videos          sessions about videos that are open together
    video_frames, video_objects
                    of one session
    video_idle_seconds
                    until a session that nobody asks is closed
    video_seconds   until any session is closed

    Raises InputError for anything below 1.
    """

    upload_bytes: int = 64 * MEGA
    values: int = 2 * MEGA
    pixels: int = 100 * MEGA
    prompts: int = 256
    points: int = 1000
    points_together: int = 4000
    points_per_side: int = 64
    crop_layers: int = 2
    clicks: int = 250_000
    requests: int = 64
    body_bytes: int = 512 * MEGA
    long_requests: int = 16
    header_seconds: float = 20.0
    body_seconds: float = 60.0
    headers_waiting: int = 256
    videos: int = 8
    video_frames: int = 20_000
    video_objects: int = 32
    video_idle_seconds: float = 600.0
    video_seconds: float = 7200.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise InputError(f"{name} must be more than 0, got {value!r}")
