"""Progress of long operations: a bar on a terminal, or lines of text on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TextIO, TypeVar, cast

from anymask.base.errors import InputError

T = TypeVar("T")
OnProgress = Callable[[int, int | None], None]  # (done, total); the total is None if unknown
OnNamedProgress = Callable[[str, int, int], None]  # (operation, done, total)
Progress = OnProgress | Callable[[int, int], None] | bool | None  # True shows a bar

BAR_WIDTH = 24
SECONDS_BETWEEN_BARS = 0.1
SECONDS_BETWEEN_LINES = 10.0


class ProgressBar:
    """Progress bar with elapsed and remaining time.

    Use it as a context manager. `update` limits how often it writes, and can be passed as a
    `(done, total)` callback.

    Args:
        what: Name of the operation, in a word or two.
        total: Number of steps, None if unknown.
        stream: Output stream. Defaults to stderr, so that stdout stays clean for pipes.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self,
        what: str,
        total: int | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.what, self.total = what, total
        self.stream = sys.stderr if stream is None else stream
        self.clock = clock
        self.live = self.stream.isatty()
        self.began = self.wrote = clock()
        self.done = self.free = 0
        self.note = ""  # appended to the line
        self._line = ""  # last line written

    def __enter__(self) -> ProgressBar:
        if self.live:
            self._write("")
        return self

    def __exit__(self, failed: object = None, *_: object) -> None:
        if self.done or (failed is None and self.total is not None):
            if self.live or self.text() != self._line:
                self._write("\n")
        elif self.live:  # no step was reported: clear the line
            self.stream.write("\r\x1b[K")
            self.stream.flush()

    def update(self, done: int, total: int | None = None, free: int = 0) -> None:
        """Set the number of finished steps, and the total if given.

        Args:
            done: Finished steps.
            total: New number of steps. None keeps the current one.
            free: Finished steps that took no time (cached), excluded from the time estimate.
        """
        self.done, self.free, self.total = done, free, self.total if total is None else total
        pause = SECONDS_BETWEEN_BARS if self.live else SECONDS_BETWEEN_LINES
        if self.clock() - self.wrote >= pause:
            self._write("" if self.live else "\n")

    def text(self) -> str:
        """Format the state as one line: operation, steps, elapsed and remaining time."""
        spent = self.clock() - self.began
        if self.total is None and not self.done:
            return f"{self.what} ..."
        if not self.total:
            return f"{self.what} {self.done}, {clock_text(spent)}"
        share = min(1.0, self.done / self.total)
        filled = round(share * BAR_WIDTH)
        bar = f" [{'#' * filled}{'.' * (BAR_WIDTH - filled)}]" if self.live else ""
        paid = self.done - self.free
        rest = spent / paid * (self.total - self.done) if paid > 0 else 0.0
        left = f", {clock_text(rest)} left" if paid > 0 and share < 1 else ""
        note = f", {self.note}" if self.note else ""
        return f"{self.what}{bar} {self.done}/{self.total}, {clock_text(spent)}{left}{note}"

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Hide the bar inside the block, so that other output can be printed."""
        if self.live:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
        yield
        if self.live:
            self._write("")

    def _write(self, end: str) -> None:
        self.wrote = self.clock()
        start, tail = ("\r", "\x1b[K") if self.live else ("", "")
        self._line = self.text()
        self.stream.write(f"{start}{self._line}{tail}{end}")
        self.stream.flush()


def follow(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Yield the items and show the progress of the loop."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with ProgressBar(what, total) as progress:
        for done, item in enumerate(items, start=1):
            yield item
            progress.update(done)


@contextmanager
def choose_progress(progress: Progress, what: str) -> Iterator[OnProgress | None]:
    """Convert a `progress` argument to a callback: a bar, the caller's function, or None.

    Raises:
        InputError: `progress` is neither a boolean, None nor a callable.
    """
    if progress is True:
        with ProgressBar(what) as bar:
            yield bar.update
    elif progress is None or progress is False:
        yield None
    elif callable(progress):
        yield cast("OnProgress", progress)  # callbacks here never receive a total of None
    else:
        raise InputError(
            f"Invalid progress {type(progress).__name__}. Pass True or a function of (done, total)."
        )


def report_progress(items: Iterable[T], progress: Progress, what: str) -> Iterator[T]:
    """Yield the items and report (done, total) after each; the total is 0 if unknown."""
    total = len(items) if isinstance(items, Sized) else 0
    with choose_progress(progress, what) as tell:
        for done, item in enumerate(items, start=1):
            yield item
            if tell is not None:
                tell(done, total)


def clock_text(seconds: float) -> str:
    """Format a duration: 8s, 3m20s, 2h05m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole // 60 % 60:02d}m"


def say(text: str) -> None:
    """Print a status message, such as the name of a written file, to standard error.

    Standard output is reserved for results: masks with `-o -`, measurements, tables, reports.
    """
    print(text, file=sys.stderr, flush=True)
