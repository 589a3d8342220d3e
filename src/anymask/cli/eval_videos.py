"""`anymask eval videos --data DIR`: J & F of trackers on annotated videos, by a protocol."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymask.cli.eval_sets import LABELS
from anymask.cli.options import add_options, option_of, read_model, read_options
from anymask.families import DEFAULT_MODEL
from anymask.primitives.errors import DataError, InputError
from anymask.primitives.machine import this_machine
from anymask.primitives.progress import ProgressBar
from anymask.primitives.storage import write_json, write_whole
from anymask.reports.tables import markdown_table
from anymask.video.settings import MemorySettings

if TYPE_CHECKING:
    from anymask.data.clips import Clip
    from anymask.evaluation.video_protocols import Follow
    from anymask.evaluation.video_scores import ObjectScores
    from anymask.predictors.image import Model

VIDEOS = "videos"
OPTIONS: dict[str, Any] = {"protocol": "semi", "rounds": 3, "tracker": "auto"}
IGNORED = ("sets", "clicks", "per_image", "measure", "only", "groups", "peer", "baselines",
           "workers", "cache", "html", "resume")  # fmt: skip
HEADER = ("", "J&F", "J", "F")


def configure_videos(parser: argparse.ArgumentParser) -> None:
    """The options of videos alone."""
    group = parser.add_argument_group(f"videos (`anymask eval {VIDEOS} --data DIR`)")
    add = group.add_argument
    add(
        "--protocol",
        choices=("semi", "offline", "online"),
        help="semi: the first masks are given (default); clicks instead, offline: on the first "
        "frame, then on the worst of all; online: in one pass, where a mask is bad",
    )
    add("--rounds", type=int, metavar="R", help="frames with clicks at most (default: 3)")
    add("--tracker", help="auto (default), memory or match")
    add_options(group, MemorySettings)


def refuse_video_options(args: argparse.Namespace) -> None:
    """Raises InputError for options of videos where photos are measured."""
    for name in (*OPTIONS, *read_options(args, MemorySettings)):
        if getattr(args, name) is not None:
            raise InputError(
                f"{option_of(name)} is for videos; write `anymask eval {VIDEOS} --data DIR`, or "
                "leave it out"
            )


def run_videos(args: argparse.Namespace) -> None:
    """Follow, score and print. Raises DataError that names the video, InputError."""
    _take_options(args)
    clips = _clips(args)
    model = read_model(args, model=(args.model or [DEFAULT_MODEL])[0]).load()
    rounds = list(_scores(args, clips, model))
    text = _to_markdown(args, rounds)
    if args.json:
        write_json(Path(args.json), _document(args, model, rounds))
    if args.markdown:
        write_whole(Path(args.markdown), text)
    print(text, end="")


def _take_options(args: argparse.Namespace) -> None:
    for name, default in OPTIONS.items():
        setattr(args, name, default if (given := getattr(args, name)) is None else given)
    photos = dict(LABELS, **{name: option_of(name) for name in IGNORED})
    for name, option in photos.items():
        if name != "split" and getattr(args, name, None):
            raise InputError(f"{option} is for photos; leave it out for videos")
    MemorySettings(**read_options(args, MemorySettings))
    if args.rounds < 1:
        raise InputError(f"--rounds must be at least 1, got {args.rounds}")
    if args.model and len(args.model) > 1:
        raise InputError("videos are followed by one model at a time; give --model once")
    if not args.data:
        raise InputError(
            f"name the folder of videos: anymask eval {VIDEOS} --data DIR (DAVIS, YouTube-VOS, "
            "MOSE, LVOS, SA-V, or VIDEO/images with VIDEO/masks)"
        )


def _clips(args: argparse.Namespace) -> list[Clip]:
    from anymask.data.layouts import load_clips
    from anymask.evaluation.video_tracking import masked_clips

    folder = Path(args.data)
    own = args.split is None and any(folder.glob("*/masks"))
    clips = masked_clips(folder) if own else load_clips(folder, split=args.split)
    return clips[: args.limit] if args.limit else clips


def _scores(
    args: argparse.Namespace, clips: list[Clip], model: Model
) -> Iterator[list[ObjectScores]]:
    """The scores of all objects, once or after each round."""
    from anymask.data.documents import located
    from anymask.evaluation.video_protocols import follow_given, follow_offline, follow_online
    from anymask.video.opening import open_session

    settings = read_options(args, MemorySettings)
    if args.refine_edges:
        settings["refine_edges"] = True

    def follow(clip: Clip) -> Any:
        return open_session(model, list(clip.frames), tracker=args.tracker, **settings)

    found = []
    session: Follow = follow
    with ProgressBar("videos", len(clips)) as progress:
        for done, clip in enumerate(clips, start=1):
            with located(f"video {clip.name}"):
                if args.protocol == "semi":
                    found.append([follow_given(clip, session)])
                else:
                    way = follow_offline if args.protocol == "offline" else follow_online
                    found.append(list(way(clip, session, args.rounds)))
            progress.update(done)
    for one in zip(*found, strict=True):
        yield [scores for of_clip in one for scores in of_clip]


def _to_markdown(args: argparse.Namespace, rounds: list[list[ObjectScores]]) -> str:
    from anymask.evaluation.video_scores import mean_by_video, mean_over_objects

    if not rounds or not rounds[-1]:
        raise DataError(f"{args.data}: no object in any of its videos")
    rows = []
    for number, scores in enumerate(rounds, start=1):
        frames = "first masks given" if args.protocol == "semi" else f"{number} frames with clicks"
        rows.append([frames, *_cells(mean_over_objects(scores))])
    videos = [[name, *_cells(scores)] for name, scores in mean_by_video(rounds[-1]).items()]
    title = f"{args.protocol}, {len(rounds[-1])} objects, tracker {args.tracker}"
    tables = (markdown_table((title, *HEADER[1:]), rows), markdown_table(HEADER, videos))
    return "\n\n".join(tables) + f"\n\n{this_machine().line()}\n"


def _cells(scores: Any) -> list[str]:
    return [f"{value:.3f}" for value in (scores.j_and_f, scores.j.mean, scores.f.mean)]


def _document(
    args: argparse.Namespace, model: Model, rounds: list[list[ObjectScores]]
) -> dict[str, Any]:
    from anymask.evaluation.video_scores import mean_over_objects

    return {
        "protocol": args.protocol,
        "tracker": args.tracker,
        "memory": read_options(args, MemorySettings),
        "refine_edges": bool(args.refine_edges),
        "model": model.name,
        "weights_hash": model.runtime.weights_hash,
        "machine": dataclasses.asdict(this_machine()),
        "rounds": [
            {
                "j_and_f": mean_over_objects(scores).j_and_f,
                "objects": [
                    {
                        "video": one.video, "object": one.number, "J": one.j.tolist(),
                        "F": one.f.tolist(), "j_and_f": one.scores.j_and_f,
                    }
                    for one in scores
                ],
            }
            for scores in rounds
        ],
    }  # fmt: skip
