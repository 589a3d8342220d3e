"""Run a task on all images of a folder, with resume, error log and summary.

A task processes one image (`jobs.engines`). This module adds the error log, progress and summary.
Repeating the same job processes only what is missing.

The error log has one line of JSON per failure, written immediately. It also serves as a lock, so
that two runs do not process the same part.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

from anymask.base import (
    ON_WINDOWS,
    AnymaskError,
    DataError,
    InputError,
    OnProgress,
    lock_file,
    this_machine,
)
from anymask.jobs.engines import ImageResult, ImageTask, process
from anymask.jobs.pool import Idle, WorkerReady
from anymask.jobs.settings import FolderJob

FIRST_FAILURES = 20  # maximum number of failures in a summary; the error log contains all


@dataclass(frozen=True)
class ImageFailure:
    """An image or folder that failed."""

    image: Path  # Path of the image or folder
    reason: str  # Error message for the user
    kind: str  # Class name of the error
    trace: str = ""  # Traceback of an unexpected error

    def to_json(self) -> dict[str, str]:
        """Line of the error log."""
        line = {"file": str(self.image), "reason": self.reason, "kind": self.kind}
        return line | ({"traceback": self.trace} if self.trace else {})


@dataclass
class Summary:
    """Result of a job, or its progress so far."""

    images: int  # Number of images of this machine
    done: int = 0  # Number of images processed in this run
    skipped: int = 0  # Number of images with existing results
    failed: int = 0  # Number of images that failed
    made: int = 0  # Number of results, such as masks
    empty: int = 0  # Number of processed images without any result
    began: float = 0.0  # Start time without model loading, of this machine's `time.monotonic`
    ended: float = 0.0  # End time
    # Model, weights hash and settings of the results
    about: dict[str, Any] = field(default_factory=dict)
    # The first FIRST_FAILURES failures; the error log contains all
    failures: list[ImageFailure] = field(default_factory=list)
    failure: ImageFailure | None = None  # While the job runs: failure of the latest image, or None
    image: Path | None = None  # While the job runs: the latest image if it was processed, or None

    def __repr__(self) -> str:
        return (
            f"<Summary: {self.images} images, {self.done} done, "
            f"{self.skipped} skipped (done before), {self.failed} failed, "
            f"{self.made} masks or other results in {self.seconds:.1f} s>"
        )

    @property
    def tried(self) -> int:
        """Number of finished images, including failed ones."""
        return self.done + self.skipped + self.failed

    @property
    def seconds(self) -> float:
        """Duration without model loading, in seconds."""
        return self.ended - self.began

    @property
    def rate(self) -> float:
        """Images processed per second."""
        return self.done / max(self.seconds, 1e-9) if self.done else 0.0

    def add(self, image: Path, result: ImageResult) -> None:
        """Add the result of one image."""
        self.done += result.state == "done"
        self.skipped += result.state == "skipped"
        self.failed += result.state == "failed"
        self.made += result.made
        self.ended = time.monotonic()
        self.began = min(self.began or self.ended, self.ended - result.seconds)
        self.failure = None
        self.image = image if result.state == "done" else None
        self.empty += result.state == "done" and not result.made
        if result.state == "failed":
            self.failure = ImageFailure(image, result.reason, result.kind, result.trace)
            self.failures = [*self.failures, self.failure][:FIRST_FAILURES]

    def to_json(self, job: FolderJob) -> dict[str, Any]:
        """Convert job, summary and machine to a JSON document."""
        part, parts = job.shard
        source = job.source
        counted = asdict(self)
        del counted["failure"], counted["image"]
        return {
            "source": [*map(str, source)] if isinstance(source, tuple) else str(source),
            "output": str(job.output),
            "shard": f"{part}/{parts}" if parts > 1 else None,
            "output_shards": job.output_shards,
            "workers": job.workers,
            "engine": job.engine,
            **counted,
            "failures": [
                {"file": str(failure.image), "reason": failure.reason} for failure in self.failures
            ],
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.rate, 4),
            "machine": asdict(this_machine()),
        }

    def check(self, job: FolderJob) -> None:
        """Raise DataError if images failed."""
        if self.failed:
            raise DataError(
                f"{self.failed} of {self.images} images failed, see {job.log}. Fix or "
                "remove them and run the same job again; finished results are kept."
            )


OnSummary = Callable[[Summary], None]


def run_job(
    job: FolderJob,
    task: ImageTask,
    on_progress: OnSummary | None = None,
    on_step: OnProgress | None = None,
) -> Summary:
    """Process all images of a job that have no results yet. Failed images do not stop the job.

    If `source` is a single image, its error is raised.

    Args:
        on_progress: Called with a `Summary` after every image of a folder, and about once per
            second while workers are busy.
        on_step: Called with the finished steps and their number, if `source` is a single image.

    Raises:
        InputError: The folder contains no images, or another run uses it.
        AnymaskError: An error affects all images, such as a missing model or a full disk.
    """
    if job.one:
        if job.workers or job.output_shards or job.shard != (1, 1):
            raise InputError(
                "--workers, --shard and --output-shards apply to folders, but "
                f"{str(job.source)!r} is not a folder. Remove them, or pass the folder."
            )
        item = job.item()
        work = task.open()
        summary = Summary(1, about=work.about)
        began = time.monotonic()
        made = work(item, on_step)
        result = ImageResult(
            state="skipped" if made is None else "done", made=made or 0,
            seconds=time.monotonic() - began,
        )  # fmt: skip
        summary.add(item.image, result)
        return summary
    with open_log(job.log) as log:
        unreadable: list[OSError] = []
        items = job.items(unreadable.append)
        summary = Summary(len(items) + len(unreadable))

        def add(image: Path, result: ImageResult) -> None:
            summary.add(image, result)
            if summary.failure is not None:
                log(summary.failure)
            if on_progress is not None:
                on_progress(replace(summary))

        for error in unreadable:
            reason = f"the folder cannot be listed ({error.strerror}). Check its permissions."
            add(Path(error.filename), ImageResult(state="failed", reason=reason, kind="OSError"))
        with contextlib.closing(process(job, task, items)) as events:
            for event in events:
                if isinstance(event, WorkerReady):
                    summary.about = event.about
                elif isinstance(event, Idle):
                    if on_progress is not None:
                        on_progress(replace(summary, failure=None, image=None))
                elif event.result.state == "stop":
                    raise AnymaskError(event.result.reason)
                else:
                    add(event.item.image, event.result)
    return replace(summary, failure=None, image=None)


@contextlib.contextmanager
def open_log(path: Path) -> Iterator[Callable[[ImageFailure], None]]:
    """Create the error log of a run, replacing the previous one. Deleted if nothing failed.

    Raises InputError if the folder cannot be created, or another run uses it.
    """
    out, count = path.parent, 0
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(
            f"Cannot create the output folder {str(out)!r}: part of its path is a "
            "file. Choose another output."
        ) from None
    if path.is_symlink():  # deleted, not followed
        path.unlink()
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666), "ab") as file:
        # On Windows, a lock would prevent other programs from reading the file.
        if not ON_WINDOWS and lock_file(file.fileno(), wait=False) == "taken":
            raise InputError(
                f"Another run is writing to {str(out)!r}. Wait for it, choose another "
                "output, or split the work: --shard 1/2 on one machine, --shard 2/2 "
                "on the other (in Python shard=(1, 2) and shard=(2, 2))."
            )
        file.truncate(0)

        def add(failure: ImageFailure) -> None:
            nonlocal count
            file.write(json.dumps(failure.to_json()).encode() + b"\n")
            file.flush()
            count += 1

        try:
            yield add
        finally:
            if not count:
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def finish_job() -> Iterator[None]:
    """Convert SIGTERM to KeyboardInterrupt, so that processes and drafts are cleaned up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupted = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except Exception:
        if interrupted.is_set():  # an interrupted import can raise another exception
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
