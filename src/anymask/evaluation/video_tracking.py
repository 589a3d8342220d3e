"""How well objects are followed: videos with true masks in, J & F of trackers and baselines out.

The semi-supervised task of DAVIS: the first mask is given, every further frame is found, the first
and the last frame do not count. Each method sees the same frames in the same run.

Letters: H W a frame, T frames.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from anymask.data.clips import Clip
from anymask.data.images import load_image
from anymask.data.label_pictures import label_values
from anymask.evaluation.video_metrics import TrackScores, score_track
from anymask.predictors.image import Model
from anymask.primitives.errors import DataError
from anymask.primitives.types import BoolArray, UintImage
from anymask.video.opening import open_session
from anymask.video.sources import natural_order

# the frames and the first mask in; the masks of the further frames out
TrackMethod = Callable[[Sequence[Path], BoolArray], Iterator[BoolArray]]


@dataclass(frozen=True)
class MaskedVideo:
    """A video of one object: its frames, and as many pictures of its masks."""

    name: str
    frames: tuple[Path, ...]
    masks: tuple[Path, ...]


@dataclass(frozen=True)
class VideoScore:
    """One method on one video; `seconds` a frame, pictures read included."""

    method: str
    video: str
    scores: TrackScores
    seconds: float


def read_masked_videos(folder: Path) -> list[MaskedVideo]:
    """VIDEO/images and VIDEO/masks, with as many pictures each. Raises DataError."""
    found = []
    for place in sorted(folder.glob("*/masks")):
        pictures, masks = (
            tuple(sorted((place.parent / part).iterdir(), key=natural_order))
            for part in ("images", "masks")
        )
        if len(pictures) != len(masks) or len(masks) < 3:
            raise DataError(
                f"{place.parent}: wanted a mask for each of three frames or more, got "
                f"{len(pictures)} images and {len(masks)} masks"
            )
        found.append(MaskedVideo(place.parent.name, pictures, masks))
    if not found:
        raise DataError(f"{folder} holds no videos; wanted VIDEO/images and VIDEO/masks in it")
    return found


def masked_clips(folder: Path) -> list[Clip]:
    """The same videos as clips of one object."""
    return [
        Clip(name=one.name, frames=one.frames, annotations=dict(enumerate(one.masks)), single=True)
        for one in read_masked_videos(folder)
    ]


def score_method(method: TrackMethod, name: str, video: MaskedVideo, most: int) -> VideoScore:
    """Follow the object of a video, through `most` frames of it at most."""
    frames = video.frames[:most]
    truth = [label_values(path) > 0 for path in video.masks[:most]]
    begun = time.perf_counter()
    found = list(method(frames, truth[0]))
    spent = (time.perf_counter() - begun) / max(len(found), 1)
    return VideoScore(name, video.name, score_track([truth[0], *found], truth), spent)


def list_methods(model: Model, trackers: Sequence[str]) -> dict[str, TrackMethod]:
    """The model's trackers, and what they must beat."""
    named: dict[str, TrackMethod] = {
        f"{model.name}, {name}": session_method(model, name) for name in trackers
    }
    return named | {
        "copy the first mask": copy_first,
        "DIS flow": warp_by_flow,
        f"OpenCV MIL, box to {model.name}": mil_method(model),
    }


def session_method(model: Model, tracker: Any) -> TrackMethod:
    """A session with one of the model's trackers."""

    def follow(frames: Sequence[Path], first: BoolArray) -> Iterator[BoolArray]:
        with open_session(model, list(frames), tracker=tracker) as session:
            session.add(frame=0, mask=first)
            for frame in session:
                if frame.index:
                    yield frame.masks[1]

    return follow


def copy_first(frames: Sequence[Path], first: BoolArray) -> Iterator[BoolArray]:
    """The object stays where it was."""
    yield from [first] * (len(frames) - 1)


def warp_by_flow(frames: Sequence[Path], first: BoolArray) -> Iterator[BoolArray]:
    """The mask moves along with the optical flow at full size, and nothing else."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    soft, before = first.astype(np.float32), _grey(frames[0])
    columns, rows = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in before.shape[::-1]))
    for path in frames[1:]:
        now = _grey(path)
        flow = search.calc(now, before, np.zeros((*now.shape, 2), np.float32))
        soft = np.asarray(
            cv2.remap(soft, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR),
            np.float32,
        )
        before = now
        yield soft > 0.5


def mil_method(model: Model) -> TrackMethod:
    """OpenCV's MIL tracker finds a box (Babenko et al. 2009), the model draws what is in it."""

    def follow(frames: Sequence[Path], first: BoolArray) -> Iterator[BoolArray]:
        cv2.setRNGSeed(0)
        tracker = cv2.TrackerMIL.create()
        tracker.init(_bgr(frames[0]), cv2.boundingRect(first.view(np.uint8)))
        for path in frames[1:]:
            picture = load_image(path)
            _, (x, y, wide, high) = tracker.update(_bgr(path))
            box = (
                max(x, 0), max(y, 0),
                min(x + wide, picture.shape[1]), min(y + high, picture.shape[0]),
            )  # fmt: skip
            there = box[2] > box[0] and box[3] > box[1]
            yield model.segment(picture, box=box).masks[0] if there else np.zeros_like(first)

    return follow


def _bgr(path: Path) -> UintImage:
    return np.ascontiguousarray(load_image(path)[..., ::-1])


def _grey(path: Path) -> UintImage:
    return np.asarray(cv2.cvtColor(load_image(path), cv2.COLOR_RGB2GRAY), np.uint8)
