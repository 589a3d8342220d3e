"""Prompts on a frame: earlier and new prompts of an object in, merged ones out."""

from __future__ import annotations

import numpy as np

from anymask.primitives.errors import InputError, PromptError
from anymask.primitives.prompts import Prompt
from anymask.video.tracker import TrackMoment


def merged_prompts(before: Prompt, said: Prompt) -> Prompt:
    """Two prompts about one object on one frame: points add up, the newer box or mask counts."""
    points, labels = before.points, before.labels
    if said.points is not None and said.labels is not None:
        if points is None or labels is None:
            points, labels = said.points, said.labels
        else:
            points = np.concatenate([points, said.points])
            labels = np.concatenate([labels, said.labels])
    return Prompt.of(
        points,
        labels,
        before.box if said.box is None else said.box,
        before.mask if said.mask is None else said.mask,
    )


def rests_on(frame: int, live: int, prompted: list[int], backward: bool) -> bool:
    """Whether a state after the frame `live` was reached from, or over, a prompt's frame."""
    if backward:
        return live <= frame and not any(live <= one < frame for one in prompted)
    return live >= frame and not any(frame < one <= live for one in prompted)


def nearest_prompt(at: TrackMoment, prompted: list[int]) -> int | None:
    """The last prompted frame before a moment, as time runs there."""
    passed = [one for one in prompted if (one > at.frame if at.backward else one < at.frame)]
    return (min if at.backward else max)(passed, default=None)


def read_way(
    direction: object, start: int | None, stop: int | None
) -> tuple[int | None, int | None]:
    """First and last frame of a propagation, as Python's numbers. Raises InputError for another
    direction, PromptError for what is no frame."""
    if direction not in ("forward", "backward", "both"):
        raise InputError(f'direction is "forward", "backward" or "both", got {direction!r}')
    first = None if start is None else read_whole(start=start)[0]
    return first, None if stop is None else read_whole(stop=stop)[0]


def read_whole(**numbers: object) -> list[int]:
    """The numbers as Python's. Raises PromptError for what is no whole number from 0 on."""
    for name, value in numbers.items():
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 0:
            raise PromptError(f"{name} must be a whole number from 0 on, got {value!r}")
    return [int(value) for value in numbers.values()]  # type: ignore[call-overload]  # checked
