"""Progress of long work: steps done in, a bar on a terminal or lines of text on stderr out."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TextIO, TypeVar, cast

from anymask.base.errors import InputError

T = TypeVar("T")
OnProgress = Callable[[int, int | None], None]  # (steps done, all steps; None: unknown)
OnNamedProgress = Callable[[str, int, int], None]  # (what is done, steps done, all steps)
Progress = OnProgress | Callable[[int, int], None] | bool | None  # True: a bar; False: nothing

BAR_WIDTH = 24
SECONDS_BETWEEN_BARS = 0.1
SECONDS_BETWEEN_LINES = 10.0


class ProgressBar:
    """Tell how far a piece of work is, and about how long the rest takes.

    Use it as a context manager; `update(done)` may be called as often as one likes, also as a
    callback `(done, total)` of a download.

    Args:
        what: The work, in a word or two.
        total: How many steps there are; None when nobody knows.
        stream: Where to write; stderr when left out, so that stdout stays clean for pipes.
        clock: Seconds that only grow; tests hand in their own.
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
        self.note = ""  # shown behind the rest
        self._line = ""  # what was written last

    def __enter__(self) -> ProgressBar:
        if self.live:
            self._write("")
        return self

    def __exit__(self, failed: object = None, *_: object) -> None:
        if failed is None or self.done:
            if self.live or self.text() != self._line:
                self._write("\n")
        elif self.live:  # nothing was done: the error alone is told
            self.stream.write("\r\x1b[K")
            self.stream.flush()

    def update(self, done: int, total: int | None = None, free: int = 0) -> None:
        """`done` steps are behind us; a `total` that became known replaces the old one.

        Args:
            free: How many of those took no time, so that the time left is not promised too
                short.
        """
        self.done, self.total = done, self.total if total is None else total
        self.free = free
        pause = SECONDS_BETWEEN_BARS if self.live else SECONDS_BETWEEN_LINES
        if self.clock() - self.wrote >= pause:
            self._write("" if self.live else "\n")

    def text(self) -> str:
        """The state in one line: what, how much, and the time taken and left."""
        spent = self.clock() - self.began
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
        """Take the bar away while something else is printed, and put it back."""
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
    """Yield the items and show how far the loop over them is."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with ProgressBar(what, total) as progress:
        for done, item in enumerate(items, start=1):
            yield item
            progress.update(done)


@contextmanager
def choose_progress(progress: Progress, what: str) -> Iterator[OnProgress | None]:
    """Whom a piece of work tells how far it is: a bar, the caller's own function, or nobody.

    Raises InputError for anything else.
    """
    if progress is True:
        with ProgressBar(what) as bar:
            yield bar.update
    elif progress is None or progress is False:
        yield None
    elif callable(progress):
        yield cast("OnProgress", progress)  # a total that is unknown is never reported here
    else:
        raise InputError(
            f"Invalid progress {progress!r}. Pass True or a function of (done, total)."
        )


def report_progress(items: Iterable[T], progress: Progress, what: str) -> Iterator[T]:
    """The items one after the other; after each, `progress` is told, of 0 where none knows all."""
    total = len(items) if isinstance(items, Sized) else 0
    with choose_progress(progress, what) as tell:
        for done, item in enumerate(items, start=1):
            yield item
            if tell is not None:
                tell(done, total)


def clock_text(seconds: float) -> str:
    """Seconds as a person reads them: 8s, 3m20s, 2h05m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole // 60 % 60:02d}m"


if __name__ == "__main__":
    for _ in follow(range(40), "sleeping"):
        time.sleep(0.05)
