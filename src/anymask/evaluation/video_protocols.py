"""Trackers measured on annotated videos: J & F by three protocols.

    videos          the first mask of each object is given, as DAVIS, YouTube-VOS, MOSE, LVOS and
                    SA-V do
    videos-offline  clicks on the first frame; then, in each further round, on the frame that is
                    worst of all; the video is followed anew each time
    videos-online   one pass: where a mask is worse than GOOD, clicks are made there, and time goes
                    on

Clicks are simulated: the first at the object's centre, each next one at the centre of the largest
error (`protocols.largest_click`); CLICKS_A_FRAME on a frame. J and F are the means over all
annotated frames, or by another rule of `video_metrics.Rules`.

Source: Ravi et al. 2024 (SAM 2, arXiv:2408.00714, section 6.1 and appendix). Deviation: the tracker
goes forwards from the first frame on which the object is annotated, no frame before it counts.

Letters: H W a frame, T frames, R rounds.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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
from anymask.jobs import ModelChoice, model_choice
from anymask.masks import Rle, empty_rle, iou, rle_area, rle_to_mask
from anymask.segment import Model
from anymask.track import MemorySettings, VideoSession, natural_order, open_session

VIDEO_PROTOCOLS = {"videos": "semi", "videos-offline": "offline", "videos-online": "online"}
HEADER = ("J&F", "J", "F")
Follow = Callable[[Clip], VideoSession]  # a new session about a clip, closed by who asked for it


class VideoSettings(TypedDict, total=False):
    """What `evaluate` takes besides on videos.

    rounds        frames with clicks at most (default: 3)
    tracker       "auto" (default), "memory" or "match"
    split         which part of the data
    limit         videos at most
    refine_edges  masks with refined edges
    memory        settings of `MemorySettings`
    """

    rounds: int
    tracker: Literal["auto", "memory", "match"]
    split: str | None
    limit: int | None
    refine_edges: bool
    memory: dict[str, Any]


def evaluate_videos(
    model: Method | Sequence[Method],
    data: str | Path,
    protocol: str = "videos",
    **settings: Unpack[VideoSettings],
) -> Report:
    """Follow the objects of annotated videos: `evaluate(model, data, protocol="videos")`.

    model  a loaded model, a name, or None
    data   videos: DAVIS, YouTube-VOS, MOSE, LVOS, SA-V, or VIDEO/images with VIDEO/masks

    Raises DataError that names the video, InputError, ModelError, WeightsError.
    """
    rounds, split = settings.get("rounds", 3), settings.get("split")
    if rounds < 1:
        raise InputError(f"rounds must be at least 1, got {rounds}")
    if isinstance(model, (list, tuple)):
        if len(model) != 1:
            raise InputError("videos are followed by one model at a time; name one")
        (model,) = model
    memory, edges = settings.get("memory", {}), settings.get("refine_edges", False)
    MemorySettings(**memory)
    folder = Path(data)
    own = split is None and any(folder.glob("*/masks"))
    clips = masked_clips(folder) if own else load_clips(folder, split=split)
    if not isinstance(model, Model):
        named = model if model is None or isinstance(model, (str, ModelChoice)) else str(model)
        model = model_choice(named).load()
    tracker = settings.get("tracker", "auto")
    more: dict[str, Any] = {**memory, **({"refine_edges": True} if edges else {})}
    follow = partial(_open_session, model, tracker, more)
    way = VIDEO_PROTOCOLS[protocol]
    after = _follow_all(clips[: settings.get("limit")], follow, way, rounds)
    if not after or not after[-1]:
        raise DataError(f"{data}: no object in any of its videos")
    about: dict[str, Any] = {"tracker": tracker, "memory": memory, "refine_edges": edges}
    about |= {"model": model.name, "weights_hash": model.runtime.weights_hash}
    return _video_report(way, after, about)


def _open_session(model: Model, tracker: Any, settings: dict[str, Any], clip: Clip) -> VideoSession:
    return open_session(model, list(clip.frames), tracker=tracker, **settings)


def _follow_all(
    clips: Sequence[Clip], follow: Follow, way: str, rounds: int
) -> list[list[ObjectScores]]:
    """The scores of all objects of all videos, once or after each round of clicks."""
    found = []
    with ProgressBar("videos", len(clips)) as progress:
        for done, clip in enumerate(clips, start=1):
            with located(f"video {clip.name}"):
                if way == "semi":
                    found.append([follow_given(clip, follow)])
                else:
                    by_clicks = follow_offline if way == "offline" else follow_online
                    found.append(list(by_clicks(clip, follow, rounds)))
            progress.update(done)
    return [[one for of_clip in some for one in of_clip] for some in zip(*found, strict=True)]


def _video_report(way: str, rounds: list[list[ObjectScores]], about: dict[str, Any]) -> Report:
    """rounds  the scores of all objects, once or after each round of clicks"""

    def cells(scores: TrackScores) -> list[str]:
        return [f"{value:.3f}" for value in (scores.j_and_f, scores.j.mean, scores.f.mean)]

    title = f"{way}, {len(rounds[-1])} objects, tracker {about['tracker']}"
    asked = [f"{n} frames with clicks" for n in range(1, len(rounds) + 1)]
    total = [
        [what, *cells(mean_over_objects(scores))]
        for what, scores in zip(
            ["first masks given"] if way == "semi" else asked, rounds, strict=True
        )
    ]
    videos = [[name, *cells(scores)] for name, scores in mean_by_video(rounds[-1]).items()]
    tables = [TextTable((title, *HEADER), total), TextTable(("", *HEADER), videos)]
    machine = this_machine()
    objects = [
        [
            {
                "video": one.video, "object": one.number, "J": one.j.tolist(),
                "F": one.f.tolist(), "j_and_f": one.scores.j_and_f,
            }
            for one in scores
        ]
        for scores in rounds
    ]  # fmt: skip
    return Report(
        title=f"{about['model']} on videos",
        about=title,
        sections=[Section(tables=tables)],
        notes=[f"machine: {machine.line()}"],
        rows=[
            {
                "round": n, "video": one.video, "object": one.number,
                "J&F": one.scores.j_and_f, "J": one.scores.j.mean, "F": one.scores.f.mean,
            }
            for n, scores in enumerate(rounds, start=1)
            for one in scores
        ],
        data={"protocol": way, **about, "machine": dataclasses.asdict(machine)}
        | {
            "rounds": [
                {"j_and_f": mean_over_objects(scores).j_and_f, "objects": some}
                for scores, some in zip(rounds, objects, strict=True)
            ]
        },
    )  # fmt: skip


def masked_clips(folder: Path) -> list[Clip]:
    """The videos of a folder, with as many masks as frames each. Raises DataError."""
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
        clip = Clip(
            name=place.parent.name,
            frames=pictures,
            annotations=dict(enumerate(masks)),
            single=True,
        )
        found.append(clip)
    if not found:
        raise DataError(f"{folder} holds no videos; wanted VIDEO/images and VIDEO/masks in it")
    return found


CLICKS_A_FRAME = 3  # on a frame
GOOD = 0.75  # IoU of a mask that nobody corrects


@dataclass(frozen=True, eq=False)
class TrackTruth:
    """One object of a clip: its masks by frame, from the first one on which it is seen; and the
    pixels that do not count."""

    number: int
    masks: Mapping[int, Rle]
    void: Mapping[int, Rle]

    @property
    def first(self) -> int:
        """The frame on which it is first seen."""
        return min(frame for frame, rle in self.masks.items() if rle_area(rle))

    def at(self, frame: int) -> TruthMask:
        """Pixels of one frame."""
        void = self.void.get(frame)
        return TruthMask(
            rle_to_mask(self.masks[frame]), None if void is None else rle_to_mask(void)
        )


def read_tracks(clip: Clip) -> list[TrackTruth]:
    """The objects of a clip, in order, each with a mask for every annotated frame."""
    frames = {index: clip.frame(index) for index in sorted(clip.annotations)}
    by_frame = {index: frame.by_id() for index, frame in frames.items()}
    void = {index: frame.ignore for index, frame in frames.items() if frame.ignore is not None}
    tracks = []
    for number in sorted({number for found in by_frame.values() for number in found}):
        masks = {
            index: found.get(number) or empty_rle(frames[index].hw)
            for index, found in by_frame.items()
        }
        first = min(index for index, rle in masks.items() if rle_area(rle))
        later = {index: rle for index, rle in masks.items() if index >= first}
        tracks.append(TrackTruth(number, later, void))
    return tracks


def follow_given(clip: Clip, follow: Follow, rules: Rules = "davis") -> list[ObjectScores]:
    """The semi-supervised task: every object of a clip at once, by its first mask."""
    tracks = read_tracks(clip)
    with follow(clip) as session:
        for track in tracks:
            mask = rle_to_mask(track.masks[track.first])
            session.add(frame=track.first, id=track.number, mask=mask)
        deque(session.propagate(start=min((one.first for one in tracks), default=0)), maxlen=0)
        masks = {track.number: _found(session, track) for track in tracks}
    return [score_object(clip, track, masks[track.number], rules) for track in tracks]


def follow_offline(
    clip: Clip, follow: Follow, rounds: int, rules: Rules = "all-frames"
) -> Iterator[list[ObjectScores]]:
    """After each of R rounds of clicks the scores of every object, each followed by itself."""
    tracks = read_tracks(clip)
    runs = [_offline(clip, follow, track, rounds, rules) for track in tracks]
    yield from (list(scores) for scores in zip(*runs, strict=True))


def _offline(
    clip: Clip, follow: Follow, track: TrackTruth, rounds: int, rules: Rules
) -> list[ObjectScores]:
    """R scores; an object without an error left keeps its last one."""
    scores: list[ObjectScores] = []
    with follow(clip) as session:
        frame: int | None = track.first
        for _ in range(rounds):
            if frame is not None:
                click_on_frame(session, track, frame)
                found = _followed(session, track)
            scores.append(score_object(clip, track, found, rules))
            frame = worst_frame(track, found)
    return scores


def follow_online(
    clip: Clip, follow: Follow, rounds: int, rules: Rules = "all-frames"
) -> Iterator[list[ObjectScores]]:
    """For 1 to R frames with clicks at most, the scores of every object; each is a new pass."""
    tracks = read_tracks(clip)
    for most in range(1, rounds + 1):
        yield [
            score_object(clip, track, _online(clip, follow, track, most), rules) for track in tracks
        ]


def _online(clip: Clip, follow: Follow, track: TrackTruth, most: int) -> dict[int, Rle]:
    """The masks of one pass that stops at most so often."""
    found: dict[int, Rle] = {}
    with follow(clip) as session:
        start: int | None = track.first
        while start is not None:
            click_on_frame(session, track, start)
            stops = len(session.prompts(track.number)) < most
            start = _until_wrong(session, track, start, found, stops)
    return found


def _until_wrong(
    session: VideoSession, track: TrackTruth, start: int, found: dict[int, Rle], stops: bool
) -> int | None:
    """Follow from a frame on; where `stops`, the first further frame whose mask is bad."""
    for frame in session.propagate(start=start):
        if frame.index in track.masks:
            found[frame.index] = frame.objects[track.number].rle
            bad = _quality(track, frame.index, found[frame.index]) < GOOD
            if stops and bad and frame.index != start:
                return frame.index
    return None


def click_on_frame(session: VideoSession, track: TrackTruth, frame: int) -> None:
    """CLICKS_A_FRAME clicks on a frame, each where the mask is most wrong."""
    truth, known = track.at(frame), session.result(frame).objects.get(track.number)
    mask = np.zeros(truth.mask.shape, np.bool_) if known is None else known.mask
    for _ in range(CLICKS_A_FRAME):
        click = largest_click(mask, truth)
        if click is None:
            return
        mask = session.add(
            frame=frame, id=track.number, points=[click.point], labels=[click.label]
        ).mask


def _followed(session: VideoSession, track: TrackTruth) -> dict[int, Rle]:
    deque(session.propagate(start=track.first), maxlen=0)
    return _found(session, track)


def _found(session: VideoSession, track: TrackTruth) -> dict[int, Rle]:
    """What a session in the end says of an object, where that is annotated."""
    known = {index: session.result(index).objects.get(track.number) for index in track.masks}
    return {index: one.rle for index, one in known.items() if one is not None}


def worst_frame(track: TrackTruth, found: Mapping[int, Rle]) -> int | None:
    """The annotated frame with the lowest IoU, the first of several; None where all are right."""
    values = {index: _quality(track, index, found.get(index)) for index in track.masks}
    worst = min(values, key=lambda index: values[index])
    return None if values[worst] == 1 else worst


def _quality(track: TrackTruth, frame: int, rle: Rle | None) -> float:
    truth = track.at(frame)
    return iou(_pixels(rle, truth.mask), truth.mask, truth.ignore)


def score_object(
    clip: Clip, track: TrackTruth, found: Mapping[int, Rle | None], rules: Rules
) -> ObjectScores:
    """J and F of one object; a frame without a mask has an empty one.

    "davis" leaves out the first and the last annotated frame, unless nothing is left then.
    """
    frames = sorted(track.masks)
    counted: Sequence[int] = frames[1:-1] if rules == "davis" and len(frames) > 2 else frames
    values = []
    for index in counted:
        truth = track.at(index)
        mask = _pixels(found.get(index), truth.mask)
        pair = (mask, truth.mask, truth.ignore)
        values.append((iou(*pair), outline_f(*pair)))
    label = clip.labels.get(track.number)
    return score_frames(clip.name, track.number, label, track.number, np.array(values))


def _pixels(rle: Rle | None, like: BoolArray) -> BoolArray:
    return np.zeros(like.shape, np.bool_) if rle is None else rle_to_mask(rle)
