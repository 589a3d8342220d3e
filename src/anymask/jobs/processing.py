"""The processing of one photo: an item in, a result or a typed failure out, never an exception.

A `PhotoTask` says what is to be done in plain values, so that it can be sent to another process or
another machine; opened there, it becomes `PhotoWork`, which holds the model. Whoever runs it (this
process, a pool of processes, Ray) yields the same events.
"""

from __future__ import annotations

import errno
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from anymask.base import AnymaskError, ConfigError, MissingExtra, ModelError, PromptError
from anymask.jobs.photos import PhotoItem
from anymask.jobs.pool import Idle, ItemDone, ItemLost, ReportStep, WorkerReady, run_in_pool

# With these every further photo would fail too.
NO_ROOM = frozenset({errno.ENOSPC, errno.EROFS, errno.EDQUOT})
NOT_THE_PHOTO = (ModelError, PromptError, ConfigError, MissingExtra)

OnStep = Callable[[int, int], None]  # steps done in a photo, of how many


class PhotoWork(Protocol):
    """What an opened task can do."""

    about: dict[str, Any]  # what the results were made with: model, hash of the weights, settings

    def __call__(self, item: PhotoItem, on_step: OnStep | None = None) -> int | None:
        """Do one photo; how many things were made, or None where they are there already."""


class PhotoTask(Protocol):
    """What is to be done with each photo. It can be pickled."""

    def open(self) -> PhotoWork:
        """Load the model. Raises AnymaskError."""


@dataclass(frozen=True, kw_only=True)
class PhotoResult:
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


PhotoEvent = WorkerReady | ItemDone[PhotoItem, PhotoResult] | Idle


def process_photo(work: PhotoWork, item: PhotoItem) -> PhotoResult:
    """Do one photo; whatever goes wrong with it is a result, never an exception."""
    began = time.time()
    fields: dict[str, Any]
    try:
        made = work(item)
        fields = {"state": "there"} if made is None else {"state": "done", "made": made}
    except NOT_THE_PHOTO as error:
        fields = {"state": "stop", "reason": str(error), "kind": type(error).__name__}
    except (AnymaskError, OSError) as error:
        fields = {"state": "failed", "reason": str(error), "kind": type(error).__name__}
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            remedy = "make room and run the same job again, what is done is kept"
            reason = f"the results cannot be written ({error.strerror}); {remedy}"
            fields |= {"state": "stop", "reason": reason}
    except MemoryError:
        reason = "there is not enough memory for it; make it smaller, or take fewer workers"
        fields = {"state": "failed", "reason": reason, "kind": "MemoryError"}
    except Exception as error:  # a defect, of ours or of a library: the other photos go on
        kind = type(error).__name__
        reason = f"{kind}: {error}" if str(error) else kind
        trace = traceback.format_exc()
        fields = {"state": "failed", "reason": reason, "kind": kind, "trace": trace}
    return PhotoResult(**fields, began=began, ended=time.time())


def process_here(task: PhotoTask, items: Sequence[PhotoItem]) -> Generator[PhotoEvent]:
    """Work in this process, one photo after the other. Raises AnymaskError from opening."""
    work = task.open()
    yield WorkerReady(work.about)
    for item in items:
        yield ItemDone(item, process_photo(work, item))


def process_in_pool(
    task: PhotoTask, items: Sequence[PhotoItem], workers: int
) -> Generator[PhotoEvent]:
    """Work in a pool of processes; a photo whose workers died has failed.

    Raises AnymaskError where the task cannot be opened.
    """
    for event in run_in_pool(_PooledTask(task), items, workers):
        if isinstance(event, ItemLost):
            yield ItemDone(event.item, lost_photo(f"the worker that had it {event.how}"))
        elif isinstance(event, WorkerReady | ItemDone | Idle):
            yield event


def lost_photo(what: str) -> PhotoResult:
    """The result of a photo whose processes died; `what` says how the last one did."""
    reason = (
        f"{what}, and so did another one; if memory was short, make the photo smaller or take "
        "fewer workers"
    )
    return PhotoResult(state="failed", reason=reason, kind="WorkerDied")


@dataclass(frozen=True)
class _PooledTask:
    """A photo's task as the pool wants it."""

    task: PhotoTask

    def open(self) -> _PooledWork:
        return _PooledWork(self.task.open())


class _PooledWork:
    def __init__(self, work: PhotoWork) -> None:
        self.work, self.about = work, work.about

    def __call__(self, item: PhotoItem, report: ReportStep) -> PhotoResult:
        return process_photo(self.work, item)
