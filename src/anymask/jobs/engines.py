"""Execution engines of a job: this process, a pool of processes, or Ray (extra [ray]).

A `ImageTask` contains only plain values, so that it can be sent to another process or machine.
There `open` converts it to `ImageWork`, which holds the model. All engines yield the same events,
and a failed image is a result, never an exception.

With Ray, all nodes must have the images, the output folder and the weights under the same paths.
Pitfalls of Ray Data:
- A pool on a single CPU hangs: the actor uses it, and the step that reads the list waits for it.
- Ray listens on every network interface, unless it is configured without a cluster.
- By default, Ray retries an image that kills its actor forever.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

from anymask.base import (
    AnymaskError,
    ConfigError,
    InputError,
    MissingExtra,
    ModelError,
    PromptError,
    disk_message,
    import_offline,
    limit_threads,
    parse_json,
    pick_threads,
    threads_each,
)
from anymask.jobs.pool import Idle, ItemCrashed, ItemDone, Work, WorkerReady, run_in_pool
from anymask.jobs.settings import FolderJob, ImageItem

# Errors that affect all images.
NO_ROOM = frozenset({errno.ENOSPC, errno.EROFS, errno.EDQUOT})
NOT_THE_IMAGE = (ModelError, PromptError, ConfigError, MissingExtra)

MAX_BLOCKS = 10_000  # maximum blocks of a Ray data set; an actor that dies loses one block


class ImageTask(Protocol):
    """A task to run on each image. Must be picklable."""

    def open(self) -> Work[ImageItem, int | None]:
        """Load the model, and return a function that processes one image.

        The function returns the number of results, or None if they already exist. Its `about`
        states model, weights hash and settings of the results. Raises AnymaskError.
        """


@dataclass(frozen=True, kw_only=True)
class ImageResult:
    """Result of one image."""

    # "done" now, "there" (already exists), "failed", or "stop" if all images would fail
    state: Literal["done", "skipped", "failed", "stop"]
    made: int = 0  # Number of results (masks, embeddings)
    reason: str = ""  # Error message for the user
    kind: str = ""  # Class name of the error
    trace: str = ""  # Traceback of an unexpected error
    seconds: float = 0.0  # Duration


ImageEvent = WorkerReady | ItemDone[ImageItem, ImageResult] | Idle


class ImageWorker:
    """An opened task that converts exceptions to results. Raises AnymaskError if opening fails."""

    def __init__(self, task: ImageTask) -> None:
        self.work = task.open()
        self.about = self.work.about

    def __call__(self, item: ImageItem, report: object = None) -> ImageResult:
        """Process one image."""
        began = time.monotonic()
        fields: dict[str, Any]
        try:
            made = self.work(item, None)
            fields = {"state": "skipped"} if made is None else {"state": "done", "made": made}
        except Exception as error:  # an unexpected error must not stop the other images
            fields = {"state": "failed", "reason": str(error), "kind": type(error).__name__}
            if isinstance(error, NOT_THE_IMAGE):
                fields["state"] = "stop"
            elif isinstance(error, MemoryError):
                reason = "The system is out of memory. Resize the image, or use fewer workers."
                fields |= {"reason": reason, "kind": "MemoryError"}
            elif isinstance(error, OSError) and not isinstance(error, AnymaskError):
                fields["state"] = "stop" if error.errno in NO_ROOM else "failed"
                fields["reason"] = disk_message(error, item.stem.parent)
            elif not isinstance(error, AnymaskError):
                fields["reason"] = f"{fields['kind']}: {error}".removesuffix(": ")
                fields["trace"] = traceback.format_exc()
        return ImageResult(**fields, seconds=time.monotonic() - began)


def process(job: FolderJob, task: ImageTask, items: Sequence[ImageItem]) -> Generator[ImageEvent]:
    """Run the job on its engine. Raises AnymaskError if the task cannot be opened."""
    if job.engine == "ray":
        yield from _process_on_ray(task, items, job.workers)
    elif job.workers and items:
        pool = run_in_pool(partial(ImageWorker, task), items, job.workers)
        with contextlib.closing(pool) as events:
            for event in events:
                if isinstance(event, ItemCrashed):
                    yield ItemDone(event.item, _lost_image(f"its worker {event.how}"))
                elif isinstance(event, WorkerReady | ItemDone | Idle):
                    yield event
    else:
        worker = ImageWorker(task)
        yield WorkerReady(worker.about)
        for item in items:
            yield ItemDone(item, worker(item))


def _lost_image(what: str) -> ImageResult:
    """Result of an image whose workers died. `what` describes how the last one ended."""
    reason = (
        f"{what}, and a second worker failed on the same image. If the system is out of "
        "memory, resize the image or use fewer workers."
    )
    return ImageResult(state="failed", reason=reason, kind="WorkerDied")


# Ray.


def _process_on_ray(
    task: ImageTask, items: Sequence[ImageItem], workers: int
) -> Generator[ImageEvent]:
    """Run on the cluster of RAY_ADDRESS, or on a temporary local one. Raises MissingExtra."""
    yield WorkerReady(task.open().about)  # raises one clear error for an invalid option
    if not items:
        return
    with _cluster(workers) as actors:
        lost = dict(enumerate(items))
        for again in (False, True):
            for index, result in _map_images(task, lost, min(actors, len(lost)), again):
                yield ItemDone(lost.pop(index), result)
            if not lost:
                return
    for item in lost.values():
        yield ItemDone(item, _lost_image("the Ray actor died"))


@contextlib.contextmanager
def _cluster(workers: int) -> Iterator[int]:
    """Connect to Ray and yield the number of actors."""
    address = os.environ.get("RAY_ADDRESS")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # anymask reports the errors
    if not address:
        # Makes the servers of Ray listen on 127.0.0.1 only.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        ray = import_offline("ray")
        import_offline("ray.data")
    except ImportError:
        raise MissingExtra("ray", "ray", "--engine ray") from None
    handler = signal.getsignal(signal.SIGTERM)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not address:
        workers = workers or pick_threads()
        options |= {"address": "local", "num_cpus": workers + 1, "include_dashboard": False}
        options["object_store_memory"] = 128 * 2**20  # bytes, for paths and results only
    try:
        ray.init(**options)
    except Exception as error:  # includes plain Exception after a timeout of 30 s
        ray.shutdown()
        where = f"at RAY_ADDRESS={address}" if address else "on this machine"
        raise InputError(
            f"No Ray cluster responds {where}. Check that it is running and that the "
            "machine is not overloaded, or use processes (--engine processes)."
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)  # Ray installs its own handler
    with contextlib.redirect_stdout(sys.stderr):  # Ray prints messages, also at exit
        try:
            yield workers or max(1, int(ray.cluster_resources().get("CPU", 2)) - 1)
        finally:
            ray.shutdown()


def _map_images(
    task: ImageTask, items: dict[int, ImageItem], actors: int, again: bool
) -> Iterator[tuple[int, ImageResult]]:
    """Results of the images by index. Images whose actor died are missing.

    Args:
        again: Whether this is the retry of images whose actor died.
    """
    ray = import_offline("ray")
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # skip the images of a dead actor and continue
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    rows = [
        {
            "index": index,
            "photo": os.fsencode(item.image.absolute()),
            "stem": os.fsencode(item.stem.absolute()),
            "page": -1 if item.page is None else item.page,
            "place": os.fsencode(item.place or item.image.name),
            "paged": item.paged,
        }
        for index, item in items.items()
    ]
    images = ray.data.from_items(rows, override_num_blocks=min(len(rows), MAX_BLOCKS))
    tasks = 1 if again else 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there is no alternative to max_task_retries yet
        for row in images.map(
            _RayActor,
            fn_constructor_args=(task, threads_each(actors)),
            compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=tasks),
            num_cpus=1,
            max_restarts=-1,
            max_task_retries=0,
        ).iter_rows():
            yield (
                int(row["index"]),
                ImageResult(**parse_json(row["result"], "the response of an actor")),
            )


class _RayActor:
    def __init__(self, task: ImageTask, threads: int) -> None:
        limit_threads(threads)
        self.worker = ImageWorker(task)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Process one image."""
        image, stem, place = (Path(os.fsdecode(row[name])) for name in ("photo", "stem", "place"))
        page = None if row["page"] < 0 else int(row["page"])
        item = ImageItem(image, stem, page, place=place, paged=bool(row["paged"]))
        return {"index": row["index"], "result": json.dumps(asdict(self.worker(item)))}
