"""Going on with a session: its file and frames in, a refusal out where they do not belong together.

Masks are kept by the number of their frame in what the session looks at. Of other frames, or of
another video, they would be drawn without a word where they do not belong. A video is known by its
size and by its first frame, small and grey: it may be moved, encoded anew or become longer.
"""

from __future__ import annotations

import json

import cv2
import numpy as np

from anymask.primitives.errors import InputError
from anymask.primitives.notation import parse_json
from anymask.primitives.types import UintImage
from anymask.video.flow import reduce_frame
from anymask.video.picks import FramePicks, PickedFrames
from anymask.video.store import SessionStore

SIDE = 16  # cells of a look
APART = 8.0  # of 255: mean difference of two looks from which on they show different pictures
NUMBERING = ("every", "fps", "start")  # the picks that say which frame a number means


def check_same_video(store: SessionStore, frames: PickedFrames) -> None:
    """Note which frames a session looks at, or compare them with those that it was begun with.

    A source that is read once and forwards is not looked at. Raises InputError for other frames.
    """
    numbering = frame_numbering(frames.picks)
    held = store.about("frames")
    if held is not None and held != numbering:
        raise InputError(
            f"{store.path} was begun with {held}, and its masks would lie on other frames with "
            f"{numbering}; choose the frames as before, or name another file for the session"
        )
    store.tell("frames", numbering)
    first = frames.read(0) if frames.length is not None else None
    if first is None:
        return
    look, seen = store.about("look"), small_look(first)
    if look is not None and _are_apart(parse_json(look, "a look"), seen):
        raise InputError(
            f"{store.path} was begun with another video, whose first frame is another one; give "
            "that video, or name another file for the session"
        )
    store.tell("look", look or json.dumps(seen))


def frame_numbering(picks: FramePicks) -> str:
    """What says which frame of the source a number means, in the user's words."""
    chosen = {name: getattr(picks, name) for name in NUMBERING}
    return ", ".join(f"{k}={v}" if v is None else f"{k}={v:g}" for k, v in chosen.items())


def small_look(image: UintImage) -> list[int]:  # (H, W, 3) -> H, W and SIDE * SIDE values
    """A frame's size, and the frame in few cells of grey."""
    cells = cv2.resize(reduce_frame(image), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return [*image.shape[:2], *cells.ravel().tolist()]


def _are_apart(before: list[int], now: list[int]) -> bool:
    difference = np.abs(np.subtract(before[2:], now[2:])).mean()
    return before[:2] != now[:2] or bool(difference > APART)
