"""`anymask bench video`: J & F and speed of a model's trackers beside baselines, same frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anymask.primitives.errors import InputError
from anymask.primitives.timing import Measurement

if TYPE_CHECKING:
    from anymask.evaluation.video_tracking import VideoScore

TRACKERS = ("auto", "match")


def video_figures(
    folder: str | None, model: tuple[str, str | None], most: int, tracker: str | None = None
) -> tuple[list[Measurement], list[str]]:
    """Every method on every video of a folder; the scores are in the notes.

    model    its name, and weights or None
    most     frames of each video
    tracker  only this one, without baselines
    """
    from anymask import load
    from anymask.evaluation.video_tracking import (
        list_methods,
        read_masked_videos,
        score_method,
        session_method,
    )

    if not folder:
        raise InputError(
            "name a folder of videos with masks (VIDEO/images, VIDEO/masks): "
            "anymask bench video FOLDER; or --long N for a made scene"
        )
    if most < 3:
        raise InputError(f"--frames must be at least 3, got {most}; the ends do not count")
    videos = read_masked_videos(Path(folder))
    opened = load(*model)
    methods = list_methods(opened, TRACKERS)
    if tracker is not None:
        methods = {f"{opened.name}, {tracker}": session_method(opened, tracker)}
    figures: list[Measurement] = []
    notes = [f"J & F of {', '.join(video.name for video in videos)}:"]
    for name, method in methods.items():
        scores = [score_method(method, name, video, most) for video in videos]
        notes += list(_lines(name, scores))
        seconds = tuple(one.seconds for one in scores)
        figures.append(Measurement("a frame", name, float(np.median(seconds)), "s", seconds))
        mean = float(np.mean([one.scores.j_and_f for one in scores]))
        figures.append(Measurement("mean J & F", name, mean, ""))
    return figures, notes


def _lines(name: str, scores: Sequence[VideoScore]) -> Iterator[str]:
    whole = [one.scores.j_and_f for one in scores]
    j, f = (np.mean([getattr(one.scores, part).mean for one in scores]) for part in "jf")
    each = " ".join(f"{value:.3f}" for value in whole)
    yield f"{name}: mean {np.mean(whole):.3f}, J {j:.3f}, F {f:.3f}; each {each}"
