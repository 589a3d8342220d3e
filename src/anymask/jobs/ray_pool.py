"""A pool of Ray actors: a task and photos in, the events of a process pool out (extra [ray]).

The pool is of Ray Data, on this machine or on a cluster.

Every actor opens the task once and takes photos as they come. All nodes must see the photos, the
output folder and the weights under the same paths.

Traps, each met once:
- A pool on a single CPU hangs: the actor has it, and the step that reads the list waits for it.
- Ray listens on every network interface, unless it is told that there will be no cluster.
- By default a photo that kills its actor is tried again without end.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from anymask.base import (
    InputError,
    MissingExtra,
    limit_threads,
    parse_json,
    pick_threads,
    threads_each,
)
from anymask.jobs.photos import PhotoItem
from anymask.jobs.pool import TRIES, ItemDone, WorkerReady
from anymask.jobs.processing import PhotoEvent, PhotoResult, PhotoTask, lost_photo, process_photo

MOST_BLOCKS = 10_000  # of one data set; what is lost with an actor is a block
STORE_BYTES = 128 * 2**20  # of a local cluster's shared memory: only paths and results go through

Row = dict[str, Any]


def process_on_ray(
    task: PhotoTask, items: Sequence[PhotoItem], workers: int
) -> Generator[PhotoEvent]:
    """Work on the cluster of RAY_ADDRESS, else on one that lives as long as this generator.

    workers  actors; 0 for one for each CPU of the cluster, or of this machine

    Raises MissingExtra without Ray, AnymaskError where the task cannot be opened.
    """
    work = task.open()  # a wrong option is told here, in one sentence
    yield WorkerReady(work.about)
    del work
    if not items:
        return
    with cluster(workers) as actors:
        lost = dict(enumerate(items))
        for turn in range(TRIES):
            for index, result in results_by_number(task, lost, min(actors, len(lost)), turn):
                yield ItemDone(lost.pop(index), result)
            if not lost:
                return
    for item in lost.values():
        yield ItemDone(item, lost_photo("the actor that had it died"))


@contextlib.contextmanager
def cluster(workers: int) -> Iterator[int]:
    """A connection to Ray; how many actors there are to be."""
    address = os.environ.get("RAY_ADDRESS")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters of it we say ourselves
    if not address:
        # Ray's word for "this machine only": its servers then listen on 127.0.0.1.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingExtra("ray", "ray", "--engine ray") from None
    handler = signal.getsignal(signal.SIGTERM)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not address:
        workers = workers or pick_threads()
        options |= {"address": "local", "num_cpus": workers + 1, "include_dashboard": False}
        options["object_store_memory"] = STORE_BYTES
    try:
        ray.init(**options)
    except Exception as error:  # among them plain Exception, where it is not up within 30 s
        ray.shutdown()
        where = f"at RAY_ADDRESS={address}" if address else "on this machine"
        raise InputError(
            f"no Ray cluster answers {where} ({str(error).partition('. ')[0]}); look whether it "
            "runs and the machine is not too busy, or take processes (--engine processes)"
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)  # Ray puts in its own
    with contextlib.redirect_stdout(sys.stderr):  # Ray's own remarks, those at its end too
        try:
            yield workers or max(1, int(ray.cluster_resources().get("CPU", 2)) - 1)
        finally:
            ray.shutdown()


def results_by_number(
    task: PhotoTask, items: dict[int, PhotoItem], actors: int, turn: int
) -> Iterator[tuple[int, PhotoResult]]:
    """What came of the photos, by their numbers; those whose actor died are missing."""
    import ray
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # a dead actor's photos are missing, the rest goes on
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    rows = [item_to_row(index, item) for index, item in items.items()]
    photos = ray.data.from_items(rows, override_num_blocks=min(len(rows), MOST_BLOCKS))
    pool = ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=1 if turn else 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there is no other way yet to say max_task_retries
        done = photos.map(
            RayActor,
            fn_constructor_args=(task, threads_each(actors)),
            compute=pool,
            num_cpus=1,
            max_restarts=-1,
            max_task_retries=0,
        )
        for row in done.iter_rows():
            yield int(row["index"]), PhotoResult(**parse_json(row["result"], "an actor's answer"))


def item_to_row(index: int, item: PhotoItem) -> Row:
    """An item as Ray sends it: absolute paths, in bytes, as not every file name is Unicode."""
    return {
        "index": index,
        "photo": os.fsencode(item.photo.absolute()),
        "stem": os.fsencode(item.stem.absolute()),
        "page": -1 if item.page is None else item.page,
        "place": os.fsencode(item.place or item.photo.name),
        "paged": item.paged,
    }


class RayActor:
    """A process of the pool with an open task."""

    def __init__(self, task: PhotoTask, threads: int) -> None:
        limit_threads(threads)
        self.work = task.open()

    def __call__(self, row: Row) -> Row:
        """One photo."""
        photo, stem, place = (Path(os.fsdecode(row[name])) for name in ("photo", "stem", "place"))
        page = None if row["page"] < 0 else int(row["page"])
        item = PhotoItem(photo, stem, page, place=place, paged=bool(row["paged"]))
        result = process_photo(self.work, item)
        return {"index": row["index"], "result": json.dumps(asdict(result))}
