"""Folder jobs: a task and a folder of photos in, files and a summary out; shared and resumed.

A task says what it does with one photo (`jobs.processing`); this is everything around it: which
photos, who works, the error log, progress, the summary. The same job again does what is missing.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypedDict, get_args

from anymask.base import AnymaskError, DataError, InputError, this_machine
from anymask.jobs.choices import PictureChoice
from anymask.jobs.failures import FailureLog, PhotoFailure, failure_log, failures_name
from anymask.jobs.photos import Division, Naming, PhotoItem, PlacedPhotos, find_items
from anymask.jobs.pool import Idle, WorkerReady
from anymask.jobs.processing import (
    OnStep,
    PhotoEvent,
    PhotoResult,
    PhotoTask,
    process_here,
    process_in_pool,
)

FIRST_FAILURES = 20  # that a summary holds; the error log has them all

Engine = Literal["processes", "ray"]
Photos = str | Path | Sequence[str | Path]  # a folder, a photo, or several photos


@dataclass(frozen=True, kw_only=True)
class FolderJob:
    """Which photos, where the results go, and who works.

    source         a folder of photos, with its sub-folders; or one photo, or several, or those of
                   a data set
    output         the folder of the results
    workers        processes beside this one; 0 works in this one
    engine         what starts them: "processes" of this machine, or "ray"
    shard          (I, N): the I-th of N parts of the photos, each for another machine
    output_shards  spread the results over so many folders, as SA-1B does; 0: one folder
    naming         which pages are looked at, and what the results are called
    named          of one photo: outputs by suffix that are called otherwise

    Raises InputError for values out of range.
    """

    source: Path | tuple[Path, ...] | PlacedPhotos
    output: Path
    workers: int = 0
    engine: Engine = "processes"
    shard: tuple[int, int] = (1, 1)
    output_shards: int = 0
    naming: Naming = Naming()
    named: tuple[tuple[str, Path], ...] = ()

    def __post_init__(self) -> None:
        for name in ("workers", "output_shards"):
            value: object = getattr(self, name)
            if not isinstance(value, int) or value < 0:
                raise InputError(f"{name} must be 0 or more, got {value!r}")
        if self.engine not in get_args(Engine):
            raise InputError(f'engine must be "processes" or "ray", got {self.engine!r}')
        shard: Any = self.shard
        whole = isinstance(shard, tuple) and all(isinstance(number, int) for number in shard)
        if not whole or len(shard) != 2 or not 1 <= shard[0] <= shard[1]:
            raise InputError(f"shard must be (I, N) with I from 1 to N, got {shard!r}")

    @property
    def one(self) -> bool:
        """Whether it is a single photo, whose failure is an error."""
        source = self.source
        return isinstance(source, Path) and not source.is_dir() and self.naming.page != "all"

    def item(self) -> PhotoItem:
        """The single photo."""
        (item,) = find_items(self.source, self.output, naming=self.naming)
        return replace(item, named=self.named)

    @property
    def division(self) -> Division:
        """How the work and its results are divided."""
        return Division(part=self.shard[0], parts=self.shard[1], folders=self.output_shards)

    @property
    def log(self) -> Path:
        """The error log, which is there where photos failed."""
        return self.output / failures_name(self.division)


class FolderDict(TypedDict, total=False):
    """The keyword arguments of a folder job: those of `FolderJob`, and how photos are read."""

    workers: int
    engine: Engine
    shard: tuple[int, int]
    output_shards: int
    pictures: PictureChoice


def make_job(
    source: Photos, output: str | Path, how: FolderDict
) -> tuple[FolderJob, PictureChoice]:
    """The job of keyword arguments, and how its photos are read. Raises InputError."""
    pictures = how.get("pictures", PictureChoice())
    rest: dict[str, Any] = {name: value for name, value in how.items() if name != "pictures"}
    known = list(FolderDict.__annotations__)
    for name in rest:
        if name not in known:
            raise InputError(
                f"there is no argument {name!r}; beside those of the signature there are "
                f"{', '.join(known)}"
            )
    photos = Path(source) if isinstance(source, str | Path) else tuple(map(Path, source))
    out = Path(output)
    for place in (out, *out.parents):
        if os.path.isfile(place):  # noqa: PTH113 - False for impossible names, too
            raise InputError(
                f"the output must be a folder, got {str(output)!r}, and {str(place)!r} is a file; "
                "name a new folder"
            )
    naming = Naming(page=pictures.page)
    return FolderJob(source=photos, output=out, naming=naming, **rest), pictures


@dataclass(frozen=True)
class JobProgress:
    """How far a job is.

    photos              of this machine
    done, there, failed  of them; `there` were done before
    failure             of the photo that was tried just now, where it failed
    """

    photos: int
    done: int = 0
    there: int = 0
    failed: int = 0
    failure: PhotoFailure | None = None

    @property
    def tried(self) -> int:
        """Photos that need no more work in this run."""
        return self.done + self.there + self.failed


OnProgress = Callable[[JobProgress], None]


@dataclass
class Summary:
    """What a job did.

    done, there, failed  photos; `there` were done before
    made                 masks, or whatever the task makes
    began, ended         of the work itself, seconds since 1970, without loading the model
    about                what the results were made with: model, hash of the weights, settings
    failures             the first FIRST_FAILURES; the job's log has them all
    """

    photos: int
    done: int = 0
    there: int = 0
    failed: int = 0
    made: int = 0
    began: float = 0.0
    ended: float = 0.0
    about: dict[str, Any] = field(default_factory=dict)
    failures: list[PhotoFailure] = field(default_factory=list)

    def __repr__(self) -> str:
        return (
            f"<Summary: {self.photos} photos, {self.done} done, {self.there} there already, "
            f"{self.failed} failed, {self.made} made in {self.seconds:.1f} s>"
        )

    @property
    def seconds(self) -> float:
        """Of the work itself."""
        return self.ended - self.began

    @property
    def rate(self) -> float:
        """Photos done in a second."""
        return self.done / max(self.seconds, 1e-9) if self.done else 0.0

    def add(self, result: PhotoResult) -> None:
        """Count one photo."""
        self.done += result.state == "done"
        self.there += result.state == "there"
        self.failed += result.state == "failed"
        self.made += result.made
        self.began = min(self.began or result.began, result.began or self.began)
        self.ended = max(self.ended, result.ended)

    def progress(self, failure: PhotoFailure | None = None) -> JobProgress:
        """How far the job is by now."""
        return JobProgress(self.photos, self.done, self.there, self.failed, failure)


def run_job(
    job: FolderJob,
    task: PhotoTask,
    on_progress: OnProgress | None = None,
    on_step: OnStep | None = None,
) -> Summary:
    """Do every photo that this machine has to do and that is not done; one that fails stops nobody.

    on_progress  called after every photo of a folder, and at least about once a second while
                 workers are busy
    on_step      called with the steps done and their number, where `source` is a single photo

    Raises InputError for a folder without photos or one that another run works in, and whatever
    would make every photo fail: ModelError, MissingExtra, a full disk. Where `source` is one photo,
    its own error is raised.
    """
    if job.one:
        return _run_photo(job, task, on_step)
    with failure_log(job.output, job.division) as log:
        unreadable: list[OSError] = []
        items = find_items(job.source, job.output, job.division, unreadable.append, job.naming)
        run = _Run(Summary(len(items) + len(unreadable)), log, on_progress)
        for error in unreadable:
            reason = f"the folder cannot be listed ({error.strerror}); check its permissions"
            run.add(
                PhotoItem(Path(error.filename), job.output),
                PhotoResult(state="failed", reason=reason, kind="OSError"),
            )
        with contextlib.closing(_events(job, task, items)) as events:
            for event in events:
                run.follow(event)
    return run.summary


def _run_photo(job: FolderJob, task: PhotoTask, on_step: OnStep | None) -> Summary:
    """Do one photo in this process; its error is raised."""
    if job.workers or job.output_shards or job.shard != (1, 1):
        raise InputError(
            f"--workers, --shard and --output-shards are for a folder, {str(job.source)!r} is "
            "none; leave them out, or name the folder"
        )
    item = job.item()
    work = task.open()
    summary = Summary(1, about=work.about)
    began = time.time()
    made = work(item, on_step)
    state: Literal["done", "there"] = "there" if made is None else "done"
    summary.add(PhotoResult(state=state, made=made or 0, began=began, ended=time.time()))
    return summary


def _events(job: FolderJob, task: PhotoTask, items: Sequence[PhotoItem]) -> Generator[PhotoEvent]:
    """Work as the job says. Raises AnymaskError where the task cannot be opened."""
    if job.engine == "ray":
        from anymask.jobs.ray_pool import process_on_ray

        return process_on_ray(task, items, job.workers)
    if job.workers and items:
        return process_in_pool(task, items, job.workers)
    return process_here(task, items)


@dataclass
class _Run:
    """A job at work: what is counted, logged and told."""

    summary: Summary
    log: FailureLog
    on_progress: OnProgress | None

    def follow(self, event: PhotoEvent) -> None:
        """Take note of an event. Raises AnymaskError where the rest would fail too."""
        if isinstance(event, WorkerReady):
            self.summary.about = event.about
        elif isinstance(event, Idle):
            self.tell()
        elif event.result.state == "stop":
            raise AnymaskError(event.result.reason)
        else:
            self.add(event.item, event.result)

    def add(self, item: PhotoItem, result: PhotoResult) -> None:
        """Count one photo, and log it where it failed."""
        self.summary.add(result)
        if result.state != "failed":
            self.tell()
            return
        failure = PhotoFailure(item.photo, result.reason, result.kind, result.trace)
        self.log.add(failure)
        if len(self.summary.failures) < FIRST_FAILURES:
            self.summary.failures.append(failure)
        self.tell(failure)

    def tell(self, failure: PhotoFailure | None = None) -> None:
        if self.on_progress is not None:
            self.on_progress(self.summary.progress(failure))


def check_summary(job: FolderJob, summary: Summary) -> None:
    """Raises DataError where photos failed."""
    if summary.failed:
        raise DataError(
            f"{summary.failed} of {summary.photos} photos failed, see {job.log}; mend or remove "
            "them and run the same job again, what is done is kept"
        )


def summary_to_json(job: FolderJob, summary: Summary) -> dict[str, Any]:
    """Job and summary as a document, with the machine that the rate was measured on."""
    part, parts = job.shard
    failures = [{"file": str(one.photo), "reason": one.reason} for one in summary.failures]
    return {
        "source": [*map(str, job.source)] if isinstance(job.source, tuple) else str(job.source),
        "output": str(job.output),
        "shard": f"{part}/{parts}" if parts > 1 else None,
        "output_shards": job.output_shards,
        "workers": job.workers,
        "engine": job.engine,
        **asdict(summary),
        "failures": failures,
        "seconds": round(summary.seconds, 3),
        "photos_per_second": round(summary.rate, 4),
        "machine": asdict(this_machine()),
    }
