"""One prompt about one photo, with what a step of its answer may use: prompts in, candidates out.

A step takes the answer so far and the question, and gives the answer that goes on (`Step`); the
ordered list of them is in `pipeline`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from anymask.predictors.settings import Retry, SegmentSettings
from anymask.primitives.candidates import Candidates
from anymask.primitives.prompts import Prompt
from anymask.primitives.spec import CloserLook
from anymask.primitives.types import Embedding, UintImage
from anymask.runtimes.protocol import EdgeRefining


@dataclass
class RetryTime:
    """The time that one call has for asking again, and what the larger model saw last.

    settings  of the retries
    deadline  by their clock
    """

    settings: Retry
    deadline: float
    _photo: UintImage | None = None
    _seen: Embedding | None = None

    @classmethod
    def start(cls, settings: Retry) -> RetryTime:
        """The time from now on."""
        return cls(settings, settings.clock() + settings.seconds)

    def wants(self, quality: float) -> bool:
        """Whether an answer is too bad and there is time to ask again."""
        return quality < self.settings.quality and self.settings.clock() < self.deadline

    def seen_by_larger(self, photo: UintImage) -> Embedding:
        """The larger model's embedding of a photo, made once for all masks of it."""
        assert self.settings.larger is not None
        if self._seen is None or self._photo is not photo:
            self._photo, self._seen = photo, self.settings.larger.embed(photo)
        return self._seen


class Ask(Protocol):
    """Answers to other prompts with the same settings, before zoom and retries.

    first  a step that the decoder's answers take before all others
    """

    def __call__(
        self, embedding: Embedding, prompts: Sequence[Prompt], first: Step | None = None, /
    ) -> list[Candidates]: ...


@dataclass(frozen=True)
class Question:
    """What was asked, and how to ask more.

    photo      (H, W, 3), or None where only its embedding is there
    prompt     checked, in pixels of the photo
    see        a picture's embedding by the same model
    ask        answers to other prompts
    time       for retries; None: there are none
    edges      refines edges, where the model learned it
    closer     how a clear prompt is asked once more in a window (`Family.closer`)
    """

    photo: UintImage | None
    embedding: Embedding
    prompt: Prompt
    settings: SegmentSettings
    see: Callable[[UintImage], Embedding]
    ask: Ask
    time: RetryTime | None = None
    edges: EdgeRefining | None = None
    closer: CloserLook | None = None


Step = Callable[[Candidates, Question], Candidates]
