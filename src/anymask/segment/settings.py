"""Granularity: candidates in, those of the wanted level (part or whole) first out.

A click on a wheel may mean the bolt, the wheel or the car (Segment Anything, section 3, "resolving
ambiguity"): models answer it with several masks, and rank them by quality. Somebody who cuts out
cars, or labels wheels, knows which it is, and says so once.

Letters: K candidates.

Settings of one answer: keyword arguments of `Model.segment` in, checked values out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Protocol, TypedDict

import numpy as np

from anymask.base import (
    InputError,
    Setting,
    UintImage,
    check_settings,
    describe_settings,
    name_all_keywords,
)
from anymask.masks import CLEAN, Features, LeastArea, ModelSpec, RegionSize, parse_region_size
from anymask.models.rules import Multimask, Ranking
from anymask.segment.prediction import Prediction

Level = Literal["part", "whole", "all"]
Granularity = Level | float

LEVELS = ("part", "whole", "all")
COMPARABLE = 0.1  # of quality: candidates so far below the best one are no choice


def check_granularity(granularity: object) -> None:
    """Raises InputError for what is neither a level nor a place between part and whole."""
    if granularity in LEVELS and isinstance(granularity, str):
        return
    if isinstance(granularity, bool) or not isinstance(granularity, int | float):
        place = math.nan
    else:
        place = float(granularity)
    if not 0 <= place <= 1:
        raise InputError(
            'granularity must be "part", "whole", "all" or a number from 0 (part) to 1 (whole), '
            f"got {granularity!r}"
        )


def order_by_granularity(answer: Prediction, granularity: Granularity) -> Prediction:
    """The same candidates, the one that the granularity means first, then by quality.

    Among the candidates that have an object and whose quality is within `COMPARABLE` of the best
    one's, "part" means the smallest, "whole" the largest, and a number the one at that place
    between them. "all" leaves the order as it is.
    """
    if granularity == "all" or len(answer) < 2:
        return answer
    sizes = answer.cells()
    good = answer.scores >= answer.scores.max() - np.float32(COMPARABLE)
    choice = np.flatnonzero(good & (sizes > 0))
    if not len(choice):
        return answer
    by_size = choice[np.argsort(sizes[choice], kind="stable")]
    place = {"part": 0.0, "whole": 1.0}.get(str(granularity), granularity)
    first = int(by_size[math.floor(float(place) * (len(by_size) - 1) + 0.5)])
    return answer.picked([first, *(index for index in range(len(answer)) if index != first)])


Zoom = bool | Literal["auto"]
RefineEdges = bool | Literal["auto"]
RetryStep = Literal["shift", "zoom", "tile", "larger"]

RETRY_STEPS: tuple[RetryStep, ...] = ("zoom", "tile", "larger", "shift")


class LargerModel(Protocol):
    """What asking again needs of another model (`Model` is one)."""

    @property
    def spec(self) -> ModelSpec: ...

    def encode(self, image: UintImage) -> Features: ...

    @property
    def segment(self) -> Callable[..., Any]: ...


def _check_steps(steps: object) -> None:
    listed = steps if isinstance(steps, tuple | list) else (steps,)
    strange = [step for step in listed if step not in RETRY_STEPS]
    if strange:
        raise InputError(f"steps are {', '.join(RETRY_STEPS)}; got {strange[0]!r}")


@name_all_keywords
@describe_settings
@dataclass(frozen=True, kw_only=True)
class Retry:
    """When and how long to ask again. Raises InputError for values out of range."""

    seconds: Annotated[
        float, Setting("for one call, however many prompts or masks it is about", below=None)
    ] = 2.0
    quality: Annotated[float, Setting("answers of at least this quality are left alone")] = 0.7
    steps: Annotated[
        tuple[RetryStep, ...], Setting("which ways, in this order", check=_check_steps)
    ] = RETRY_STEPS
    larger: Annotated[
        LargerModel | None,
        Setting('a model for the step "larger"; its quality is compared as it is'),
    ] = None
    clock: Annotated[
        Callable[[], float], Setting("tells the time in seconds", default="time.monotonic")
    ] = field(default=time.monotonic, repr=False)

    def __post_init__(self) -> None:
        check_settings(self)


def check_retry(retry: object) -> Retry | None:
    """Raises InputError for what is neither a `Retry` nor None."""
    if retry is None or isinstance(retry, Retry):
        return retry
    raise InputError(f"retry must be anymask.Retry(...) or None, got {retry!r}")


def _check_area(name: str) -> Callable[[object], object]:
    return lambda given: given == "auto" or parse_region_size(given, name)


class SegmentSettingsDict(TypedDict, total=False):
    """The keyword arguments of `SegmentSettings`; a test says that the two agree."""

    multimask: Multimask
    zoom: Zoom
    mirror: bool
    granularity: Granularity
    ranking: Ranking
    max_hole_area: RegionSize
    min_island_area: RegionSize
    refine_edges: RefineEdges
    retry: Retry | None


@describe_settings
@dataclass(frozen=True, kw_only=True)
class SegmentSettings:
    """How prompts are answered. Raises InputError for values out of range."""

    multimask: Annotated[
        Multimask,
        Setting(
            '"auto": three masks for a lone click, which may mean a part or the whole, '
            "one mask for a clearer prompt, and negative clicks are always obeyed; True or "
            "False: the three or the one, untouched, as the model's own reference code answers"
        ),
    ] = "auto"
    zoom: Annotated[
        Zoom,
        Setting(
            '"auto": with multimask="auto", by models that gain by it: answer once more in '
            "a window around the first answer, where that shows the object larger; True: by every "
            "model, where others keep the second answer only when its quality is higher; False: "
            "never; it needs the photo, from an embedding answers stay as they are"
        ),
    ] = "auto"
    mirror: Annotated[
        bool,
        Setting(
            "ask about the photo's mirror image, too, and answer with the mean of both: better "
            "masks for twice the time; it needs the photo, not its embedding"
        ),
    ] = False
    granularity: Annotated[
        Granularity,
        Setting(
            'which of several masks comes first: "all": that of the highest quality; "part" or '
            '"whole": the smallest or the largest of those of comparable quality; or a number from '
            "0 (part) to 1 (whole), such as `Prediction.granularity_of` gives",
            check=check_granularity,
        ),
    ] = "all"
    ranking: Annotated[
        Ranking,
        Setting(
            'what orders the masks of a lone click: "expected": what the model\'s family '
            'learned of their order, where it did; "own": the network\'s own number'
        ),
    ] = "expected"
    max_hole_area: Annotated[
        RegionSize,
        Setting(
            'fill enclosed holes of less: pixels (50) or a share of the mask (0.05, "5%"), 0 for '
            'none; "auto": 5% of the mask with multimask="auto", else 0; a negative click keeps '
            "its hole",
            check=_check_area("max_hole_area"),
            form="PIXELS|SHARE",
        ),
    ] = "auto"
    min_island_area: Annotated[
        RegionSize,
        Setting(
            "remove parts of less, in the same units; the largest part and those of positive "
            "clicks stay",
            check=_check_area("min_island_area"),
            form="PIXELS|SHARE",
        ),
    ] = "auto"
    refine_edges: Annotated[
        RefineEdges,
        Setting(
            "True: where the model's cells are coarser than the photo, put the mask's edge where "
            "the photo has it, by a network that was trained for the model, or by colours where "
            "there is none; it needs the photo, from an embedding masks stay as they are; "
            '"auto": with multimask="auto"; False: never'
        ),
    ] = "auto"
    retry: Annotated[
        Retry | None,
        Setting(
            "when and how long to ask again for a better answer; None: never", check=check_retry
        ),
    ] = None

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def least_areas(self) -> tuple[LeastArea, LeastArea]:
        """Below which holes are filled and islands removed."""
        usual = CLEAN if self.multimask == "auto" else 0
        holes, islands = (
            parse_region_size(usual if given == "auto" else given, "area")
            for given in (self.max_hole_area, self.min_island_area)
        )
        return holes, islands
