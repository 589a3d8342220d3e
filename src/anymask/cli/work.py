"""One photo's work, and what came of it: the words that every way of working through a folder uses.

A `Task` says what is to be done in plain values, so that it can be sent to another process or
another machine; opened there, it becomes `Work`, which holds the model. Whoever runs it (this
process, several of them, Ray) yields the same events.
"""

from __future__ import annotations

import errno
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from anymask.cli.photos import Job
from anymask.primitives.errors import (
    AnymaskError,
    ConfigError,
    MissingExtra,
    ModelError,
    PromptError,
)

# With these every further photo would fail too.
NO_ROOM = frozenset({errno.ENOSPC, errno.EROFS, errno.EDQUOT})
NOT_THE_PHOTO = (ModelError, PromptError, ConfigError, MissingExtra)


class Work(Protocol):
    """What an opened task can do."""

    about: dict[str, Any]  # what the results were made with: model, hash of the weights, settings

    def __call__(self, job: Job) -> int | None:
        """Do one photo; how many things were made, or None where they are there already."""


class Task(Protocol):
    """What is to be done with each photo. It can be pickled."""

    def open(self) -> Work:
        """Load the model. Raises AnymaskError."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one photo.

    state   "done" now, "there" already, "failed", or "stop": so that the rest would fail too
    made    how many things (masks, embeddings) were made
    reason  why it failed, for people
    kind    the error's class, for programs
    trace   the traceback where the error is nobody's fault but ours
    began   seconds since 1970
    ended   seconds since 1970
    """

    state: Literal["done", "there", "failed", "stop"]
    made: int = 0
    reason: str = ""
    kind: str = ""
    trace: str = ""
    began: float = 0.0
    ended: float = 0.0


@dataclass(frozen=True)
class Ready:
    """A model is loaded; `about` is what the work says of itself."""

    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    """A photo is behind us."""

    job: Job
    outcome: Outcome


@dataclass(frozen=True)
class Tick:
    """Nothing happened for a second."""


Event = Ready | Done | Tick


def attempt(work: Work, job: Job) -> Outcome:
    """Do one photo; whatever goes wrong with it is an outcome, never an exception."""
    began = time.time()
    outcome: dict[str, Any]
    try:
        made = work(job)
        outcome = {"state": "there"} if made is None else {"state": "done", "made": made}
    except NOT_THE_PHOTO as error:
        outcome = {"state": "stop", "reason": str(error), "kind": type(error).__name__}
    except (AnymaskError, OSError) as error:
        outcome = {"state": "failed", "reason": str(error), "kind": type(error).__name__}
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            told = "make room and run the same command again, what is done is kept"
            reason = f"the results cannot be written ({error.strerror}); {told}"
            outcome |= {"state": "stop", "reason": reason}
    except MemoryError:
        reason = "there is not enough memory for it; make it smaller, or take fewer --workers"
        outcome = {"state": "failed", "reason": reason, "kind": "MemoryError"}
    except Exception as error:  # a defect, of ours or of a library: the other photos go on
        kind = type(error).__name__
        reason = f"{kind}: {error}" if str(error) else kind
        trace = traceback.format_exc()
        outcome = {"state": "failed", "reason": reason, "kind": kind, "trace": trace}
    return Outcome(**outcome, began=began, ended=time.time())


def run_here(task: Task, jobs: Sequence[Job]) -> Iterator[Event]:
    """Work in this process, one photo after the other. Raises AnymaskError from opening."""
    work = task.open()
    yield Ready(work.about)
    for job in jobs:
        yield Done(job, attempt(work, job))
