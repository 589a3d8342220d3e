"""Commands over many photos: shared among processes and machines, resumed, summed up.

A command says what it does with one photo (`cli/work.py`); this is everything around it.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from anymask.cli.failures import FailureLog, failure_log, remove_drafts
from anymask.cli.photos import Division, Job, find_jobs, read_shard
from anymask.cli.progress import Progress, clock_text
from anymask.cli.work import Done, Event, Outcome, Ready, Task, run_here
from anymask.primitives.errors import AnymaskError, DataError, InputError
from anymask.primitives.storage import write_json

TOLD = 20  # failures that are printed; the error log has them all

Engine = Literal["processes", "ray"]


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """Who works.

    workers  processes beside this one; 0 works in this one
    engine   what starts them
    """

    workers: int = 0
    engine: Engine = "processes"

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise InputError(f"--workers must be 0 or more, got {self.workers}")


@dataclass
class Summary:
    """What a run did.

    done, there, failed  photos
    made                 masks, or whatever the work makes
    began, ended         of the work itself, seconds since 1970, without loading the model
    about                what the work says of itself: model, hash of the weights, settings
    failures             the first failures: file and reason
    """

    photos: int
    done: int = 0
    there: int = 0
    failed: int = 0
    made: int = 0
    began: float = 0.0
    ended: float = 0.0
    about: dict[str, Any] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Photos done in a second."""
        return self.done / max(self.ended - self.began, 1e-9) if self.done else 0.0

    def add(self, outcome: Outcome) -> None:
        """Count one photo."""
        self.done += outcome.state == "done"
        self.there += outcome.state == "there"
        self.failed += outcome.state == "failed"
        self.made += outcome.made
        self.began = min(self.began or outcome.began, outcome.began or self.began)
        self.ended = max(self.ended, outcome.ended)

    def line(self) -> str:
        """For people."""
        counts = f"{self.done} done, {self.there} there already, {self.failed} failed"
        if not self.done:
            return counts
        return f"{counts}; {clock_text(self.ended - self.began)}, {self.rate:.2g} photos a second"


def add_folder_options(parser: argparse.ArgumentParser) -> None:
    """How the work on a folder is shared and told; for the commands that take one."""
    group = parser.add_argument_group("many photos")
    group.add_argument(
        "--workers", metavar="N", type=int, default=0,
        help="work in N processes, each with its part of the cores; one that dies costs no more "
        "than its photo (default: 0, work in this process)",
    )  # fmt: skip
    group.add_argument(
        "--engine", choices=["processes", "ray"], default="processes",
        help="what runs the workers: processes of this machine, or a Ray cluster (the one of "
        "RAY_ADDRESS, else a local one; needs the extra [ray]) (default: processes)",
    )  # fmt: skip
    group.add_argument(
        "--shard", metavar="I/N",
        help="do the I-th of N parts of the photos; each machine takes another I, 1 to N",
    )  # fmt: skip
    group.add_argument(
        "--output-shards", metavar="K", type=int, default=0,
        help="spread the results over K folders sa_000000, sa_000001, ...; "
        "photos / 1000 is a good K (default: 0, one folder)",
    )  # fmt: skip
    group.add_argument(
        "--json", metavar="FILE", type=Path,
        help="write what was done, how fast and with what there; failures are listed in "
        "DIR/errors.jsonl in any case",
    )  # fmt: skip


def read_division(args: argparse.Namespace) -> Division:
    """`--shard` and `--output-shards`. Raises InputError."""
    part, parts = read_shard(args.shard) if args.shard else (1, 1)
    if args.output_shards < 0:
        raise InputError(f"--output-shards must be 0 or more, got {args.output_shards}")
    if not args.source.is_dir() and (args.shard or args.output_shards or args.workers):
        raise InputError(
            f"--workers, --shard and --output-shards are for a folder, {str(args.source)!r} is "
            "none; leave them out, or name the folder"
        )
    return Division(part=part, parts=parts, folders=args.output_shards)


def work_through(task: Task, args: argparse.Namespace, what: str) -> None:
    """Do every photo of a folder that this machine has to do; a failure is told, the rest goes on.

    task  what to do with each
    args  with `source`, `output` and the options of `add_folder_options`
    what  the work in a word, for the progress

    Raises InputError for options that make no sense; DataError at the end when photos failed.
    """
    division = read_division(args)
    crowd = Crowd(workers=args.workers, engine=args.engine)
    with failure_log(args.output, division) as log, ending_well():
        unreadable: list[OSError] = []
        jobs = find_jobs(args.source, args.output, division, unreadable.append)
        remove_drafts(jobs)
        summary = Summary(len(jobs) + len(unreadable))
        for error in unreadable:
            job = Job(Path(error.filename), args.output)
            reason = f"the folder cannot be listed ({error.strerror}); check its permissions"
            _record(job, Outcome(state="failed", reason=reason, kind="OSError"), summary, log)
        events = run_jobs(task, jobs, crowd)
        with Progress(what, len(jobs)) as progress, contextlib.closing(events):
            _follow(events, summary, log, progress)
    finish(summary, args, crowd, log.path)


def work_on_one(
    work: Callable[[Job], int | None], job: Job, about: dict[str, Any], args: argparse.Namespace
) -> int | None:
    """Do one photo and return what the work does; `--json` gets a summary all the same."""
    began = time.time()
    with ending_well():
        made = work(job)
    state: Literal["done", "there"] = "there" if made is None else "done"
    if args.json:
        summary = Summary(1, about=about)
        summary.add(Outcome(state=state, made=made or 0, began=began, ended=time.time()))
        write_summary(args.json, summary, args, Crowd())
    return made


def run_jobs(task: Task, jobs: Sequence[Job], crowd: Crowd) -> Generator[Event]:
    """Work as the crowd says. Raises AnymaskError where the task cannot be opened."""
    if crowd.engine == "ray":
        from anymask.cli.ray_engine import run_on_ray

        yield from run_on_ray(task, jobs, crowd.workers)
    elif crowd.workers and jobs:
        from anymask.cli.workers import run_in_workers

        yield from run_in_workers(task, jobs, crowd.workers)
    else:
        yield from run_here(task, jobs)


def _follow(events: Iterator[Event], summary: Summary, log: FailureLog, progress: Progress) -> None:
    """Count, record and show what happens. Raises AnymaskError where the rest would fail too."""
    for event in events:
        if isinstance(event, Ready):
            summary.about = event.about
        elif isinstance(event, Done):
            if event.outcome.state == "stop":
                raise AnymaskError(event.outcome.reason)
            with progress.silent() if event.outcome.state == "failed" else contextlib.nullcontext():
                _record(event.job, event.outcome, summary, log)
            progress.note = f"{summary.failed} failed" if summary.failed else ""
            progress.update(progress.done + 1, free=summary.there)
        else:
            progress.update(progress.done, free=summary.there)


def _record(job: Job, outcome: Outcome, summary: Summary, log: FailureLog) -> None:
    summary.add(outcome)
    if outcome.state != "failed":
        return
    log.add(job.photo, outcome.reason, outcome.kind, outcome.trace)
    if len(summary.failures) < TOLD:
        summary.failures.append({"file": str(job.photo), "reason": outcome.reason})
        print(f"anymask: {job.photo}: {outcome.reason}", file=sys.stderr)
    elif summary.failed == TOLD + 1:
        print(f"anymask: further failures are in {log.path} only", file=sys.stderr)


def finish(summary: Summary, args: argparse.Namespace, crowd: Crowd, log: Path) -> None:
    """Print and write what was done. Raises DataError when photos failed."""
    print(summary.line())
    if args.json:
        write_summary(args.json, summary, args, crowd)
    if summary.failed:
        raise DataError(
            f"{summary.failed} of {summary.photos} photos failed, see {log}; mend or remove them "
            "and run the same command again, what is done is kept"
        )


def write_summary(path: Path, summary: Summary, args: argparse.Namespace, crowd: Crowd) -> None:
    """The summary as JSON, with the machine that it was measured on."""
    from anymask.primitives.machine import this_machine

    document = {
        "source": str(args.source),
        "output": str(args.output),
        "shard": args.shard,
        "output_shards": args.output_shards,
        **asdict(crowd),
        **asdict(summary),
        "seconds": round(summary.ended - summary.began, 3),
        "photos_per_second": round(summary.rate, 4),
        "machine": asdict(this_machine()),
    }
    write_json(path, document, indent=2)


@contextlib.contextmanager
def ending_well() -> Iterator[None]:
    """SIGTERM as Ctrl-C: an exception, on whose way out every process and draft is cleared away."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
