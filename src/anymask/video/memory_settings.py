"""Settings of long-term memory in trackers; all are off unless one asks for them.

Sources of the ideas: Ding et al. 2024 (SAM2Long, arXiv:2410.16268); Yang et al. 2024 (SAMURAI,
arXiv:2411.11922); Videnovic et al. 2024 (DAM4SAM, arXiv:2411.17576); Cheng and Schwing 2022 (XMem,
arXiv:2207.07115). What is left out of each is said where it is computed: `primitives/memory_bank`,
`runtimes/rivals`, `video/long_memory`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated

from anymask.primitives.errors import InputError
from anymask.primitives.setting import Setting, check_settings, describe_settings
from anymask.runtimes.video import MemoryChoice

OF_MATCHING = frozenset({"long_memory"})
NETWORK = "a network of memory"  # of an image model


@describe_settings
@dataclass(frozen=True, kw_only=True)
class MemorySettings:
    """What a tracker keeps in mind over a long video. Raises InputError for values out of range.

    The defaults are the published models' own way.
    """

    least_quality: Annotated[
        float,
        Setting(
            '"memory": a mask of a lower predicted IoU is not remembered (SAM2Long: 0.3, SAMURAI: '
            "0.5)", least=0, most=1,
        ),
    ] = 0.0  # fmt: skip
    fill_gaps: Annotated[
        bool,
        Setting(
            '"memory": where frames were not remembered, older ones are read in their place '
            "(SAM2Long, SAMURAI)"
        ),
    ] = False
    memory_stride: Annotated[
        int | None,
        Setting(
            '"memory": of the frames before the last one, every n-th is read (DAM4SAM: 5); None: '
            "as the model was published", least=1,
        ),
    ] = None  # fmt: skip
    distinct_frames: Annotated[
        int,
        Setting(
            '"memory": so many frames that told the object from one that looks like it stay in '
            "mind (DAM4SAM: 3)", least=0, most=16,
        ),
    ] = 0  # fmt: skip
    paths: Annotated[
        int,
        Setting(
            '"memory": so many hypotheses of an object are followed at once, each with a memory of '
            "its own; masks of up to 64 earlier frames change where another takes the lead "
            "(SAM2Long: 3)", least=1, most=8,
        ),
    ] = 1  # fmt: skip
    long_memory: Annotated[
        int,
        Setting(
            '"match": so many cells of frames that are long past stay in mind, those that were '
            "met again the most (after XMem)", least=0, most=100_000, unit="cells",
        ),
    ] = 0  # fmt: skip

    def __post_init__(self) -> None:
        check_settings(self)

    def check_tracker(self, tracker: str) -> None:
        """Raises InputError for a setting that says nothing to a tracker; NETWORK, as a
        tracker, has none."""
        known = {"memory": {one.name for one in fields(self)} - OF_MATCHING, "match": OF_MATCHING}
        for one in fields(self):
            if getattr(self, one.name) != one.default and one.name not in known.get(tracker, ()):
                wanted = "match" if one.name in OF_MATCHING else "memory"
                raise InputError(
                    f"{one.name} is a setting of tracker='{wanted}', this one is {tracker!r}; "
                    "leave it out"
                )

    def choice(self) -> MemoryChoice:
        """What of it the model's steps have to know."""
        return MemoryChoice(
            stride=self.memory_stride, fill_gaps=self.fill_gaps, distinct=self.distinct_frames
        )
