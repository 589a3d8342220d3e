"""What one request may cost the server, and how many may be under way."""

from __future__ import annotations

from dataclasses import dataclass

from anymask.primitives.errors import InputError

MEGA = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Counts and sizes; a request beyond one of them is refused with the limit's value.

    upload_bytes    of one request's body
    pixels          of one photo, read from its header before it is decoded
    prompts         in one request
    points          in one prompt
    points_per_side, crop_layers  of the grid of everything
    requests        under way that need the model; further ones are told when to come again
    body_bytes      of all bodies under way together
    long_requests   of everything under way or waiting
    body_seconds    until a body must be there

    Raises InputError for anything below 1.
    """

    upload_bytes: int = 64 * MEGA
    pixels: int = 100 * MEGA
    prompts: int = 256
    points: int = 1000
    points_per_side: int = 64
    crop_layers: int = 2
    requests: int = 64
    body_bytes: int = 512 * MEGA
    long_requests: int = 16
    body_seconds: float = 60.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise InputError(f"{name} must be more than 0, got {value!r}")
