"""Evaluation of trackers on annotated videos: J & F by three protocols.

    videos          the first mask of each object is given, as in DAVIS, YouTube-VOS, MOSE, LVOS and
                    SA-V
    videos-offline  clicks on the first frame; then, in each further round, on the frame with the
                    lowest IoU; the video is tracked again in each round
    videos-online   one pass: if the IoU of a mask is below GOOD, clicks are added in that frame,
                    and tracking continues

Clicks are simulated: the first is the center of the object, each next one the center of the largest
error (`protocols.largest_click`), with CLICKS_A_FRAME on a frame. J and F are means over all
annotated frames, or by another rule of `video_metrics.Rules`.

Source: Ravi et al. 2024 (SAM 2, arXiv:2408.00714, section 6.1 and appendix). Deviation: objects are
tracked forwards from the first frame in which they are annotated; no frame before it counts.

Letters: H W a frame, T frames, R rounds.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import numpy as np

from anymask.base import BoolArray, DataError, InputError, ProgressBar, this_machine
from anymask.evaluation.adapters import Method
from anymask.evaluation.protocols import TruthMask, largest_click
from anymask.evaluation.report import Report, Section, TextTable
from anymask.evaluation.video_metrics import (
    ObjectScores,
    Rules,
    TrackScores,
    mean_by_video,
    mean_over_objects,
    outline_f,
    score_frames,
)
from anymask.formats import Clip, load_clips, located
from anymask.jobs import ModelSettings, model_settings
from anymask.masks import Rle, empty_rle, iou, rle_area, rle_to_mask
from anymask.models.rules import DEFAULT_VIDEO_MODEL
from anymask.segment import Model
from anymask.track import MemorySettings, VideoSession, natural_order, open_session

VIDEO_PROTOCOLS = {"videos": "semi", "videos-offline": "offline", "videos-online": "online"}
VIDEO_HEADER = ("J&F", "J", "F")
LOG = logging.getLogger("anymask.evaluation")
Follow = Callable[[Clip], VideoSession]  # opens a session of a clip, which the caller closes


class VideoSettings(TypedDict, total=False):
    """Keyword arguments of `evaluate` on videos."""

    rounds: int  # Maximum number of frames with clicks (default: 3)
    # Tracker: "auto" (default), "memory", "match" or "points"
    tracker: Literal["auto", "memory", "match", "points"]
    split: str | None  # Split of the dataset
    limit: int | None  # Maximum number of videos
    refine_edges: bool  # Whether to refine mask edges
    memory: dict[str, Any]  # Fields of `MemorySettings`


def evaluate_videos(
    model: Method | Sequence[Method],
    data: str | Path,
    protocol: str = "videos",
    **settings: Unpack[VideoSettings],
) -> Report:
    """Evaluate tracking on annotated videos: `evaluate(model, data, protocol="videos")`.

    Raises DataError that names the video, InputError, ModelError, WeightsError.

    Args:
        model: A loaded model, a name, or None.
        data: Videos: DAVIS, YouTube-VOS, MOSE, LVOS, SA-V, or VIDEO/images with VIDEO/masks.
    """
    rounds, split = settings.get("rounds", 3), settings.get("split")
    if rounds < 1:
        raise InputError(f"Invalid rounds={rounds}. Use a whole number of at least 1.")
    if isinstance(model, (list, tuple)):
        if len(model) != 1:
            raise InputError("Videos support only one model at a time. Pass a single model.")
        (model,) = model
    memory, edges = settings.get("memory", {}), settings.get("refine_edges", False)
    MemorySettings(**memory)
    clips = open_clips(Path(data), split)
    if not isinstance(model, Model):
        named = model if model is None or isinstance(model, (str, ModelSettings)) else str(model)
        model = model_settings(named or DEFAULT_VIDEO_MODEL).load()
    opened, way = model, VIDEO_PROTOCOLS[protocol]
    tracker = settings.get("tracker", "auto")
    more: dict[str, Any] = {**memory, **({"refine_edges": True} if edges else {})}

    def follow(clip: Clip) -> VideoSession:
        return open_session(opened, list(clip.frames), tracker=tracker, **more)

    by_clip: list[list[list[ObjectScores]]] = []  # one entry, or one for each round of clicks
    clips = clips[: settings.get("limit")]
    with ProgressBar("videos", len(clips)) as progress:
        for done, clip in enumerate(clips, start=1):
            with located(f"video {clip.name}"):
                if way == "semi":
                    by_clip.append([follow_given(clip, follow)])
                elif way == "offline":
                    by_clip.append(list(follow_offline(clip, follow, rounds)))
                else:
                    by_clip.append(list(follow_online(clip, follow, rounds)))
            progress.update(done)
    after = [[track for tracks in some for track in tracks] for some in zip(*by_clip, strict=True)]
    if not after or not after[-1]:
        raise DataError(
            f"{data} contains no objects in any video. Check that this is an annotated dataset."
        )
    about: dict[str, Any] = {"tracker": tracker, "memory": memory, "refine_edges": edges}
    about |= {"model": model.name, "weights_hash": model.runtime.weights_hash}
    return _video_report(way, after, about)


def _video_report(way: str, rounds: list[list[ObjectScores]], about: dict[str, Any]) -> Report:
    """Create the report from the scores of all objects, once or for each round of clicks."""

    def cells(scores: TrackScores) -> list[str]:
        return [f"{value:.3f}" for value in (scores.j_and_f, scores.j.mean, scores.f.mean)]

    title = f"{way}, {len(rounds[-1])} objects, tracker {about['tracker']}"
    total, rows, plain = [], [], []
    for n, scores in enumerate(rounds, start=1):
        mean, objects = mean_over_objects(scores), []
        round_name = "first masks" if way == "semi" else f"{n} frames with clicks"
        total.append([round_name, *cells(mean)])
        for track in scores:
            of, whole = {"video": track.video, "object": track.number}, track.scores
            means = {"J&F": whole.j_and_f, "J": whole.j.mean, "F": whole.f.mean}
            rows.append({"round": n} | of | means)
            frames = {"J": track.j.tolist(), "F": track.f.tolist(), "j_and_f": whole.j_and_f}
            objects.append(of | frames)
        plain.append({"j_and_f": mean.j_and_f, "objects": objects})
    videos = [[name, *cells(scores)] for name, scores in mean_by_video(rounds[-1]).items()]
    machine = this_machine()
    return Report(
        title=f"{about['model']} on videos",
        about=title,
        sections=[Section(tables=[TextTable((title, *VIDEO_HEADER), total),
                                  TextTable(("", *VIDEO_HEADER), videos)])],
        notes=[f"machine: {machine.line()}"],
        rows=rows,
        data={"protocol": way, **about, "machine": dataclasses.asdict(machine), "rounds": plain},
    )  # fmt: skip


def open_clips(folder: Path, split: str | None = None) -> list[Clip]:
    """Load the videos of a dataset, or of a folder with VIDEO/images and VIDEO/masks.

    Raises DataError or InputError.

    Args:
        split: Split of the dataset. Defaults to that of its layout.
    """
    places = sorted(folder.glob("*/masks")) if split is None else []
    if not places:
        return load_clips(folder, split=split)
    clips = []
    for path in places:  # one mask for each frame
        images, masks = (
            tuple(sorted((path.parent / part).iterdir(), key=natural_order))
            for part in ("images", "masks")
        )
        if len(images) != len(masks) or len(masks) < 3:
            raise DataError(
                f"{path.parent} has {len(images)} images and {len(masks)} masks. Expected a "
                "mask for each image and at least three frames."
            )
        name, annotations = path.parent.name, dict(enumerate(masks))
        clips.append(Clip(name=name, frames=images, annotations=annotations, single=True))
    return clips


CLICKS_A_FRAME = 3
GOOD = 0.75  # IoU from which a mask is not corrected


@dataclass(frozen=True, eq=False)
class TrackTruth:
    """Ground truth of one object of a clip: its masks by frame, from the first frame in which it is
    visible; and ignored pixels."""

    number: int
    masks: Mapping[int, Rle]
    void: Mapping[int, Rle]

    @property
    def first(self) -> int:
        """First frame in which it is visible."""
        return min(frame for frame, rle in self.masks.items() if rle_area(rle))

    def at(self, frame: int) -> TruthMask:
        """Return the ground truth of one frame."""
        void = self.void.get(frame)
        return TruthMask(
            rle_to_mask(self.masks[frame]), None if void is None else rle_to_mask(void)
        )

    def pair(self, frame: int, rle: Rle | None) -> tuple[BoolArray, BoolArray, BoolArray | None]:
        """Return predicted mask (None: an empty one), true mask and ignored pixels of a frame."""
        truth = self.at(frame)
        mask = np.zeros_like(truth.mask) if rle is None else rle_to_mask(rle)
        return mask, truth.mask, truth.ignore

    def iou(self, frame: int, rle: Rle | None) -> float:
        """Return the IoU of a predicted mask."""
        return iou(*self.pair(frame, rle))


def read_tracks(clip: Clip) -> list[TrackTruth]:
    """Read the objects of a clip, in order, each with a mask for every annotated frame."""
    frames = {index: clip.frame(index) for index in sorted(clip.annotations)}
    by_frame = {index: frame.by_id() for index, frame in frames.items()}
    void = {index: frame.ignore for index, frame in frames.items() if frame.ignore is not None}
    tracks = []
    for number in sorted({number for rles in by_frame.values() for number in rles}):
        drawn = {i: rles[number] for i, rles in by_frame.items() if number in rles}
        first = min(index for index, rle in drawn.items() if rle_area(rle))
        masks = {
            index: drawn.get(index) or empty_rle(frame.hw)
            for index, frame in frames.items()
            if index >= first
        }
        tracks.append(TrackTruth(number, masks, void))
    return tracks


def follow_given(clip: Clip, follow: Follow, rules: Rules = "davis") -> list[ObjectScores]:
    """Track all objects of a clip from their first masks (semi-supervised task)."""
    tracks = read_tracks(clip)
    with follow(clip) as session:
        for track in tracks:
            session.add(frame=track.first, id=track.number, mask=track.at(track.first).mask)
        deque(session.propagate(start=min((track.first for track in tracks), default=0)), maxlen=0)
        tracks = [readable_truth(session, track) for track in tracks]
        masks = {track.number: _found(session, track) for track in tracks}
    return [score_object(clip, track, masks[track.number], rules) for track in tracks]


def follow_offline(
    clip: Clip, follow: Follow, rounds: int, rules: Rules = "all-frames"
) -> Iterator[list[ObjectScores]]:
    """Yield the scores of all objects after each of R rounds of clicks, tracking each separately.

    An object without errors keeps its last score.
    """
    runs = []
    for track in read_tracks(clip):
        scores: list[ObjectScores] = []
        with follow(clip) as session:
            frame: int | None = track.first
            for _ in range(rounds):
                if frame is not None:
                    click_on_frame(session, track, frame)
                    deque(session.propagate(start=track.first), maxlen=0)
                    track = readable_truth(session, track)
                    masks = _found(session, track)
                scores.append(score_object(clip, track, masks, rules))
                frame = worst_frame(track, masks)
        runs.append(scores)
    yield from (list(scores) for scores in zip(*runs, strict=True))


def follow_online(
    clip: Clip, follow: Follow, rounds: int, rules: Rules = "all-frames"
) -> Iterator[list[ObjectScores]]:
    """Yield the scores of all objects for at most 1 to R frames with clicks, each in a new pass."""
    tracks = read_tracks(clip)
    for most in range(1, rounds + 1):
        after = []
        for track in tracks:
            masks: dict[int, Rle] = {}
            with follow(clip) as session:
                start: int | None = track.first
                while start is not None:
                    click_on_frame(session, track, start)
                    stops = len(session.prompts(track.number)) < most
                    start = _until_wrong(session, track, start, masks, stops)
                track = readable_truth(session, track)
            after.append(score_object(clip, track, masks, rules))
        yield after


def _until_wrong(
    session: VideoSession, track: TrackTruth, start: int, found: dict[int, Rle], stops: bool
) -> int | None:
    """Track from a frame on; if `stops`, return the first further frame with a bad mask."""
    for frame in session.propagate(start=start):
        if frame.index in track.masks:
            found[frame.index] = frame.objects[track.number].rle
            bad = track.iou(frame.index, found[frame.index]) < GOOD
            if stops and bad and frame.index != start:
                return frame.index
    return None


def click_on_frame(session: VideoSession, track: TrackTruth, frame: int) -> None:
    """Add CLICKS_A_FRAME clicks to a frame, each at the largest error of the mask."""
    truth, known = track.at(frame), session.result(frame).objects.get(track.number)
    mask = np.zeros(truth.mask.shape, np.bool_) if known is None else known.mask
    for _ in range(CLICKS_A_FRAME):
        if (click := largest_click(mask, truth)) is None:
            return
        mask = session.add(
            frame=frame, id=track.number, points=[click.point], labels=[click.label]
        ).mask


def readable_truth(session: VideoSession, track: TrackTruth) -> TrackTruth:
    """Return a track without frames that cannot be decoded; these are logged and not scored."""
    missing = [index for index in track.masks if session.is_missing(index)]
    if not missing:
        return track
    LOG.warning("%s (not scored)", session.frames.damage)
    kept = {index: rle for index, rle in track.masks.items() if index not in missing}
    return TrackTruth(track.number, kept, track.void)


def _found(session: VideoSession, track: TrackTruth) -> dict[int, Rle]:
    """Return the final masks of an object in a session, for annotated frames."""
    masks = {index: session.result(index).objects.get(track.number) for index in track.masks}
    return {index: mask.rle for index, mask in masks.items() if mask is not None}


def worst_frame(track: TrackTruth, found: Mapping[int, Rle]) -> int | None:
    """Return the first annotated frame with the lowest IoU; None if all masks are exact."""
    values = {index: track.iou(index, found.get(index)) for index in track.masks}
    worst = min(values, key=lambda index: values[index])
    return None if values[worst] == 1 else worst


def score_object(
    clip: Clip, track: TrackTruth, found: Mapping[int, Rle | None], rules: Rules
) -> ObjectScores:
    """Compute J and F of one object; frames without a prediction have an empty mask.

    "davis" excludes the first and the last annotated frame, unless none would be left.
    """
    frames = sorted(track.masks)
    counted = frames[1:-1] if rules == "davis" and len(frames) > 2 else frames
    pairs = [track.pair(index, found.get(index)) for index in counted]
    values = np.array([(iou(*pair), outline_f(*pair)) for pair in pairs])
    return score_frames(clip, track.number, track.number, values)
