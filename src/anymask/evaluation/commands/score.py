"""`anymask score`: results that any program wrote as files, against the truth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymask.base import DataError, InputError, ProgressBar
from anymask.evaluation.pages import markdown_table

if TYPE_CHECKING:
    from anymask.evaluation.panoptic_quality import PanopticQuality
    from anymask.evaluation.video_metrics import TrackScores
    from anymask.evaluation.video_scores import Rules

SUMMARY = "score files of results: J and F of videos, panoptic quality"
EPILOG = """\
what is scored:
  video     J and F by the rules of DAVIS. TRUTH is DAVIS or a folder with VIDEO/00000.png;
            RESULTS has the same pictures of object numbers, a folder a video; --unsupervised
            matches numbers of the program's own choice with the objects
  panoptic  PQ, SQ and RQ as COCO counts. TRUTH and RESULTS are panoptic JSON files, each with the
            folder of its PNGs beside it (val.json, val/)

examples:
  anymask score video DAVIS/ tracks/ --split val --json davis.json
  anymask score video DAVIS/ found/ --split unsupervised/val --unsupervised
  anymask score panoptic panoptic_val2017.json found.json
"""
TRACK_HEADER = ("J&F", "J mean", "J recall", "J decay", "F mean", "F recall", "F decay")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = EPILOG
    add = parser.add_argument
    add("kind", metavar="KIND", choices=("video", "panoptic"), help="video or panoptic")
    add("truth", metavar="TRUTH", type=Path, help="what people drew")
    add("results", metavar="RESULTS", type=Path, help="what the program found")
    add("--split", metavar="NAME", help="video: the part of the data set, such as val or 2016/val")
    add(
        "--all-frames",
        action="store_true",
        help="video: count the first and the last frame, too, which DAVIS does not",
    )
    add(
        "--unsupervised",
        action="store_true",
        help="video: up to 20 proposals in any order, each object is given the one that fits best",
    )
    add("--json", metavar="FILE", type=Path, help="write every figure there")


def run(args: argparse.Namespace) -> None:
    """Score and print. Raises DataError that names file, record and reason."""
    from anymask.base import write_json

    of_videos = args.split is not None or args.all_frames or args.unsupervised
    if args.kind == "panoptic" and of_videos:
        raise InputError("--split, --all-frames, --unsupervised are for videos; leave them out")
    if args.all_frames and args.unsupervised:
        raise InputError("--unsupervised counts all frames already; leave out --all-frames")
    for path in (args.truth, args.results):
        if not path.exists():
            raise InputError(f"there is no file or folder {str(path)!r}; check the path")
    tables, document = _video(args) if args.kind == "video" else _panoptic(args)
    if args.json:
        write_json(args.json, document)
    print("\n\n".join(tables))


def _video(args: argparse.Namespace) -> tuple[list[str], dict[str, Any]]:
    from anymask.evaluation.video_scores import (
        mean_by_video,
        mean_over_objects,
        read_truth,
        score_videos,
    )

    clips, rules = read_truth(args.truth, args.split), _rules(args)
    with ProgressBar("videos", len(clips)) as progress:
        found = score_videos(clips, args.results, rules=rules, told=progress.update)
    if not found:
        raise DataError(f"{args.truth}: no object in the first frame of any of {len(clips)} videos")
    total, videos = mean_over_objects(found), mean_by_video(found)
    rows = [[name, *_cells(scores)] for name, scores in videos.items()]
    objects = [
        [one.video, f"{one.number}{f' ({one.label})' if one.label else ''}"]
        + ([str(one.found_by or "nothing")] if rules == "unsupervised" else [])
        + _cells(one.scores)
        for one in found
    ]
    whose = ("video", "object", *(("found by",) if rules == "unsupervised" else ()))
    tables = [
        markdown_table(("", *TRACK_HEADER), [[f"{len(found)} objects", *_cells(total)]]),
        markdown_table(("video", *TRACK_HEADER), rows),
        markdown_table((*whose, *TRACK_HEADER), objects),
    ]
    document = {
        "global": _figures(total),
        "videos": {name: _figures(scores) for name, scores in videos.items()},
        "objects": [
            {"video": one.video, "object": one.number, "label": one.label, "found_by": one.found_by}
            | _figures(one.scores)
            | {"J": one.j.tolist(), "F": one.f.tolist()}
            for one in found
        ],
        "rules": rules,
    }
    return tables, document


def _rules(args: argparse.Namespace) -> Rules:
    if args.unsupervised:
        return "unsupervised"
    return "all-frames" if args.all_frames else "davis"


def _figures(scores: TrackScores) -> dict[str, float]:
    values = (scores.j_and_f, *_three(scores, "j"), *_three(scores, "f"))
    return dict(zip(TRACK_HEADER, values, strict=True))


def _three(scores: TrackScores, measure: str) -> tuple[float, float, float]:
    one = scores.j if measure == "j" else scores.f
    return one.mean, one.recall, one.decay


def _cells(scores: TrackScores) -> list[str]:
    return [f"{value:.3f}" for value in _figures(scores).values()]


def _panoptic(args: argparse.Namespace) -> tuple[list[str], dict[str, Any]]:
    from anymask.evaluation.panoptic_quality import score_panoptic
    from anymask.formats import read_panoptic

    for path in (args.truth, args.results):
        if path.is_dir():
            raise InputError(
                f"wanted a panoptic JSON file, {str(path)!r} is a folder; name the file, its PNGs "
                "lie in the folder of the same name"
            )
    categories, truth = read_panoptic(args.truth)
    _, results = read_panoptic(args.results)
    if not truth:
        raise DataError(f"{args.truth}: it has no annotations")
    with ProgressBar("pictures", len(truth)) as progress:
        scores = score_panoptic(categories, truth, results, progress.update)
    means = {
        "all": scores.mean(),
        "things": scores.mean(thing=True),
        "stuff": scores.mean(thing=False),
    }
    classes = scores.classes()
    tables = [
        markdown_table(
            ("", "PQ", "SQ", "RQ", "classes"),
            [[name, *_percent(one), str(one.classes)] for name, one in means.items()],
        ),
        markdown_table(
            ("class", "PQ", "SQ", "RQ"), [[n, *_percent(one)] for n, one in classes.items()]
        ),
    ]
    document = {
        "pictures": len(truth),
        "means": {n: _fractions(one) | {"classes": one.classes} for n, one in means.items()},
        "classes": {name: _fractions(one) for name, one in classes.items()},
    }
    return tables, document


def _percent(one: PanopticQuality) -> list[str]:
    return [f"{100 * value:.1f}" for value in (one.pq, one.sq, one.rq)]


def _fractions(one: PanopticQuality) -> dict[str, float]:
    return {"PQ": one.pq, "SQ": one.sq, "RQ": one.rq}
