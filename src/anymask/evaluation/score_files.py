"""Score prediction files of any program against the ground truth: J & F of videos.

Tracks are evaluated like in davis2017-evaluation: objects are the numbers from 1 to the maximum of
the first annotated frame; a number without pixels has empty masks. Objects have equal weights,
regardless of their video. Frames are read one at a time, so memory use is constant.

    "davis"         the semi-supervised task: object numbers are kept, larger ones are rejected;
                    the first and the last frame do not count
    "all-frames"    the same, with those two frames
    "unsupervised"  no objects are given (Caelles et al., 2019): numbers 1 to 20 are proposals,
                    every frame counts, and objects are matched one-to-one to proposals so that
                    the mean of J and F over the video is maximal; other objects have empty masks

Letters: T frames that count, O objects, P proposals, H W a frame.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, DataError, InputError, ProgressBar, need_packages
from anymask.evaluation.coco import report_masks
from anymask.evaluation.concepts import report_concepts
from anymask.evaluation.report import Report, Section, TextTable
from anymask.evaluation.video_metrics import (
    ObjectScores,
    Rules,
    TrackScores,
    mean_by_video,
    mean_over_objects,
    outline_f,
    outline_f_table,
    score_frames,
)
from anymask.evaluation.volume_scores import TOLERANCE_MM, report_volumes
from anymask.formats import Clip, binary_mask, find_place, label_values, load_clips, located
from anymask.masks import empty_rle, iou, rle_to_mask
from anymask.track import natural_order

FILE_PROTOCOLS = ("tracks", "volume", "concepts", "masks")
PROPOSALS = 20  # maximum per video
TRACK_HEADER = ("J&F", "J mean", "J recall", "J decay", "F mean", "F recall", "F decay")


def score_files(
    results: str | Path,
    truth: str | Path,
    protocol: str = "tracks",
    *,
    rules: str = "davis",
    split: str | None = None,
    tolerance: float | None = None,
) -> Report:
    """Score prediction files: `evaluate(results, truth, protocol=...)`, one of FILE_PROTOCOLS.

    Raises DataError that names file, record and reason, InputError if a path does not exist.

    Args:
        rules: "tracks": evaluation rules.
        split: "tracks": split of the dataset.
        tolerance: "volume": tolerance of surface distances in mm (default: TOLERANCE_MM).
    """
    results, truth = Path(results), Path(truth)
    for path in (truth, results):
        if not path.exists():
            raise InputError(f"{str(path)!r} does not exist. Check the path.")
    if protocol != "volume" and tolerance is not None:
        raise InputError("Option `tolerance` applies only to volumes. Omit it.")
    if protocol != "tracks" and (split is not None or rules != "davis"):
        raise InputError("Options `split` and `rules` apply only to videos. Omit them.")
    if protocol == "concepts":
        return report_concepts(results, truth)
    if protocol == "masks":
        return report_masks(results, truth)
    if protocol == "volume":
        need_packages(("scipy",), "volumes", "Surface distance")
        return report_volumes(results, truth, TOLERANCE_MM if tolerance is None else tolerance)
    if rules not in get_args(Rules):
        raise InputError(f"Unknown rules {rules!r}. Use one of: {', '.join(get_args(Rules))}.")
    if rules == "unsupervised":
        need_packages(("scipy",), "evaluate", "Matching of proposals and objects")
    return _track_report(results, truth, cast(Rules, rules), split)


def _track_report(results: Path, truth: Path, rules: Rules, split: str | None) -> Report:
    clips = read_truth(truth, split)
    tracks: list[ObjectScores] = []
    with ProgressBar("videos", len(clips)) as progress:
        for done, clip in enumerate(clips, start=1):
            with located(f"video {clip.name}"):
                places = [clip.name, f"*/{clip.name}", f"*/*/{clip.name}"]
                folder = find_place(results, places, f"results for the video {clip.name!r}")
                tracks += score_video(clip, folder, rules)
            progress.update(done)
    if not tracks:
        raise DataError(
            f"{truth} has no object in the first frame of any of its {len(clips)} videos. Check "
            "that this is the ground truth folder."
        )
    total, videos = mean_over_objects(tracks), mean_by_video(tracks)
    matched = rules == "unsupervised"
    objects = [
        [track.video, f"{track.number}{f' ({track.label})' if track.label else ''}"]
        + ([str(track.found_by or "nothing")] if matched else [])
        + _cells(track.scores)
        for track in tracks
    ]
    whose = ("video", "object", *(("found by",) if matched else ()))
    by_video = [[name, *_cells(scores)] for name, scores in videos.items()]
    rows = [
        {
            "video": track.video,
            "object": track.number,
            "label": track.label,
            "found_by": track.found_by,
        }
        | _figures(track.scores)
        for track in tracks
    ]
    return Report(
        title=f"{results.name} against {truth.name}",
        about=f"J and F, {rules} rules: {len(tracks)} objects in {len(videos)} videos",
        sections=[
            Section(
                tables=[
                    TextTable(("", *TRACK_HEADER), [[f"{len(tracks)} objects", *_cells(total)]]),
                    TextTable(("video", *TRACK_HEADER), by_video),
                    TextTable((*whose, *TRACK_HEADER), objects),
                ]
            )
        ],
        rows=rows,
        data={
            "global": _figures(total),
            "videos": {name: _figures(scores) for name, scores in videos.items()},
            "objects": [
                row | {"J": track.j.tolist(), "F": track.f.tolist()}
                for row, track in zip(rows, tracks, strict=True)
            ],
            "rules": rules,
        },
    )


def _figures(scores: TrackScores) -> dict[str, float]:
    parts = [
        value for part in (scores.j, scores.f) for value in (part.mean, part.recall, part.decay)
    ]
    return dict(zip(TRACK_HEADER, (scores.j_and_f, *parts), strict=True))


def _cells(scores: TrackScores) -> list[str]:
    return [f"{value:.3f}" for value in _figures(scores).values()]


def read_truth(path: Path, split: str | None = None) -> list[Clip]:
    """Load the videos of a dataset (DAVIS, YouTube-VOS), or of a plain folder: VIDEO/00000.png.

    Raises DataError if there is neither.
    """
    plain = sorted({image.parent for image in path.glob("*/*.png")})
    if not plain and split is None and next(path.glob("*.png"), None) is not None:
        raise DataError(
            f"{path} contains the frames of a single video. Pass the parent folder of this folder."
        )
    if not plain or split is not None:
        return load_clips(path, split=split)
    clips = []
    for folder in plain:
        frames = tuple(sorted(folder.glob("*.png"), key=natural_order))
        clips.append(Clip(name=folder.name, frames=frames, annotations=dict(enumerate(frames))))
    return clips


def score_video(clip: Clip, results: Path, rules: Rules = "davis") -> list[ObjectScores]:
    """Compute J and F of the objects of one video; [] if its first frame has none."""
    frames = sorted(clip.annotations)
    if rules == "davis" and len(frames) < 3:
        raise DataError(
            f"The video has only {len(frames)} annotated frames, and the first and the last "
            "are not scored. Use --rules all-frames to score them."
        )
    counted = frames[1:-1] if rules == "davis" else frames
    if clip.layers:
        return _score_layers(clip, counted, results, rules)
    objects = max(clip.frame(frames[0]).by_id(), default=0)
    if rules == "unsupervised":
        return _score_proposals(clip, counted, results, objects)
    table = np.zeros((len(counted), objects, 2))
    for row, frame in enumerate(counted):
        values, drawn, void = _frame_pair(clip, frame, results, objects, proposals=False)
        for number, truth in enumerate(drawn, start=1):
            mask = values == number
            table[row, number - 1] = iou(mask, truth, void), outline_f(mask, truth, void)
    return [score_frames(clip, n, n, table[:, n - 1]) for n in range(1, objects + 1)]


def _score_layers(clip: Clip, frames: list[int], results: Path, rules: Rules) -> list[ObjectScores]:
    """Compute J and F if every object has its own images, OBJECT/FRAME.png, as in SA-V."""
    if rules == "unsupervised":
        raise DataError("The objects of this video overlap. Use other rules than 'unsupervised'.")
    truths = {frame: clip.frame(frame) for frame in frames}
    tracks = []
    for number, folder in clip.layers.items():
        rows = []
        for frame, truth in truths.items():
            path = results / folder.name / clip.annotations[frame].name
            with located(path):
                if not path.is_file():
                    raise DataError(
                        "The result for this object is missing. If it is hidden, add an empty mask."
                    )
                mask = binary_mask(path)
                if mask.shape != truth.hw:
                    raise DataError(
                        f"The result has the size (H, W) = {mask.shape}, but the ground truth has "
                        f"{truth.hw}. Resize it to the size of the ground truth."
                    )
            true = rle_to_mask(truth.by_id().get(number, empty_rle(truth.hw)))
            rows.append((iou(mask, true), outline_f(mask, true)))
        tracks.append(score_frames(clip, number, number, np.array(rows)))
    return tracks


def _score_proposals(
    clip: Clip, frames: list[int], results: Path, objects: int
) -> list[ObjectScores]:
    """Assign a proposal to each object by the mean of J and F over all frames."""
    if not objects:
        return []
    rows = max(PROPOSALS, objects)
    table, seen = np.zeros((len(frames), rows, objects, 2)), np.zeros(rows, np.bool_)
    for index, frame in enumerate(frames):
        values, drawn, void = _frame_pair(clip, frame, results, objects, proposals=True)
        present = np.unique(values[values > 0]).astype(np.intp)
        masks = [values == number for number in (*present.tolist(), PROPOSALS + 1)]
        j = np.array([[iou(mask, truth, void) for truth in drawn] for mask in masks])
        scores = np.stack([j, outline_f_table(masks, drawn, void)], axis=-1)  # (P + 1, O, 2)
        table[index] = scores[-1]  # scores of an empty mask
        table[index, present - 1] = scores[:-1]
        seen[present - 1] = True
    used = max(objects, int(np.flatnonzero(seen).max(initial=-1)) + 1)
    from scipy.optimize import linear_sum_assignment

    means = table[:, :used].mean(axis=(0, 3))  # (P, O)
    chosen, objects_in_order = linear_sum_assignment(means, maximize=True)
    tracks = []
    for row, index in sorted(zip(chosen, objects_in_order, strict=True), key=lambda pair: pair[1]):
        number, found_by = int(index) + 1, int(row) + 1 if seen[row] else None
        tracks.append(score_frames(clip, number, found_by, table[:, row, index]))
    return tracks


def _frame_pair(
    clip: Clip, frame: int, results: Path, objects: int, *, proposals: bool
) -> tuple[NDArray[Any], list[BoolArray], BoolArray | None]:
    """Return predicted numbers (H, W) of a frame, the masks of objects, and ignored pixels."""
    path = results / clip.annotations[frame].name
    with located(path):
        if not path.is_file():
            raise DataError(
                "The result for this frame is missing. Without objects, add an empty mask."
            )
        truth, values = clip.frame(frame), label_values(path).astype(np.int64)
        largest = 0 if clip.single else int(values.max(initial=0))
        if proposals and largest > PROPOSALS:
            raise DataError(
                f"The result has the proposal {largest}, but at most {PROPOSALS} proposals are "
                "allowed. Number the best proposals from 1 and do not use void (255)."
            )
        if not proposals and largest > objects:
            raise DataError(
                f"The result has the object {largest}, but the first frame of the ground truth "
                f"has {objects} objects. Use the object numbers of the ground truth and no "
                "void (255), or the rules 'unsupervised', which match proposals to objects."
            )
        if values.shape != truth.hw:
            raise DataError(
                f"The result has the size (H, W) = {values.shape}, but the ground truth has "
                f"{truth.hw}. Resize it with nearest-neighbor interpolation."
            )
    rles, empty = truth.by_id(), empty_rle(truth.hw)
    drawn = [rle_to_mask(rles.get(number, empty)) for number in range(1, objects + 1)]
    numbers = (values > 0).astype(np.int64) if clip.single else values
    return numbers, drawn, None if truth.ignore is None else rle_to_mask(truth.ignore)
