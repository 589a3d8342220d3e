"""Settings of one answer: keyword arguments of `Model.segment` in, checked values out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypedDict

from anymask.families.family import Multimask, Ranking
from anymask.predictors.granularity import Granularity, check_granularity
from anymask.primitives.errors import InputError
from anymask.primitives.spec import ModelSpec
from anymask.primitives.types import Embedding, UintImage

Zoom = bool | Literal["auto"]
RetryStep = Literal["shift", "zoom", "tile", "larger"]

RETRY_STEPS: tuple[RetryStep, ...] = ("zoom", "tile", "larger", "shift")


class LargerModel(Protocol):
    """What asking again needs of another model (`Model` is one)."""

    @property
    def spec(self) -> ModelSpec: ...

    def embed(self, image: UintImage) -> Embedding: ...

    @property
    def segment(self) -> Callable[..., Any]: ...


@dataclass(frozen=True, kw_only=True)
class Retry:
    """When and how long to ask again.

    seconds  for one call, however many prompts or masks it is about
    quality  answers of at least this quality are left alone
    steps    which ways, in this order
    larger   a model for the step "larger"; its quality is compared as it is
    clock    tells the time in seconds

    Raises InputError for values out of range.
    """

    seconds: float = 2.0
    quality: float = 0.7
    steps: tuple[RetryStep, ...] = RETRY_STEPS
    larger: LargerModel | None = None
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    def __post_init__(self) -> None:
        for name in ("seconds", "quality"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise InputError(f"{name} must be a number, 0 or more, got {value!r}")
        strange = [step for step in self.steps if step not in RETRY_STEPS]
        if strange:
            raise InputError(f"steps are {', '.join(RETRY_STEPS)}; got {strange[0]!r}")


def check_retry(retry: object) -> Retry | None:
    """Raises InputError for what is neither a `Retry` nor None."""
    if retry is None or isinstance(retry, Retry):
        return retry
    raise InputError(f"retry must be anymask.Retry(...) or None, got {retry!r}")


class SettingsDict(TypedDict, total=False):
    """The keyword arguments of `Settings`."""

    multimask: Multimask
    zoom: Zoom
    granularity: Granularity
    ranking: Ranking
    max_hole_area: float
    min_island_area: float
    retry: Retry | None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How prompts are answered.

    multimask        "auto": the model's three masks for a lone click, which may mean a part or the
                     whole, its one mask for a clearer prompt, and negative clicks are always
                     honoured. True or False: the three or the one, untouched, as the model's own
                     reference code answers
    zoom             True: decode again on a window around the answer, and keep that when its
                     quality is higher; "auto": only where the object is small; False: never
    granularity      which of several masks comes first: "all": that of the highest quality; "part"
                     or "whole": the smallest or the largest of those of comparable quality; or a
                     number from 0 (part) to 1 (whole), such as `Candidates.granularity_of` gives
    ranking          what orders the masks of a lone click: "expected": what the model's family
                     learned of their order, where it did; "own": the network's own number
    max_hole_area    fill holes of fewer pixels of the photo; a negative click keeps its hole
    min_island_area  drop parts of fewer pixels of the photo; a positive click keeps its part
    retry            when and how long to ask again for a better answer; None: never

    Raises InputError for other values.
    """

    multimask: Multimask = "auto"
    zoom: Zoom = False
    granularity: Granularity = "all"
    ranking: Ranking = "expected"
    max_hole_area: float = 0
    min_island_area: float = 0
    retry: Retry | None = None

    def __post_init__(self) -> None:
        for name in ("multimask", "zoom"):
            value = getattr(self, name)
            if value not in (True, False, "auto"):
                raise InputError(f'{name} must be True, False or "auto", got {value!r}')
        check_granularity(self.granularity)
        check_retry(self.retry)
        if self.ranking not in ("expected", "own"):
            raise InputError(f'ranking must be "expected" or "own", got {self.ranking!r}')
        for name in ("max_hole_area", "min_island_area"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and value >= 0):
                raise InputError(f"{name} must be a number of pixels, 0 or more, got {value!r}")

    @property
    def cleans(self) -> bool:
        """Whether holes or islands are to be removed."""
        return self.max_hole_area > 0 or self.min_island_area > 0
