"""Standard streams: makes stdout and stderr take any text, whatever is behind them.

Labels and file names come from anybody: control characters in them, which could move the cursor or
rename the window of a terminal, are printed as escapes (\\x1b), and so are bytes of a file name
that are no text. A stream that was closed before the start takes everything and keeps nothing; so
does standard error once it is full or gone, as nobody is there to be told.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from anymask.base import InputError

_SHOWN = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"
}
_STATUS = ("wrote ", "exists: ")  # how status messages begin
_OWN = "\r\x1b[K"  # what our progress bar writes itself: back to the start, clear the line
_PLACE = "\ue000\ue001"  # stands for it meanwhile; private characters, which no label needs


@contextlib.contextmanager
def utf8_stdio() -> Iterator[None]:
    """Standard output and error as the module says, until the end of the `with`."""
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123 - no path of a user's
        sys.stdout = _Stream(before[0] or nowhere)
        sys.stderr = _Stream(before[1] or nowhere, otherwise=nowhere)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


def quieten_decoders() -> None:
    """Keep Pillow's and OpenCV's remarks on damaged pictures off this process's terminal: what is
    damaged is told by one error."""
    warnings.filterwarnings("ignore", module=r"PIL\.")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # read when OpenCV first has a remark


def printable(text: str) -> str:
    """Text without control characters but tabs and line ends."""
    return text.replace(_OWN, _PLACE).translate(_SHOWN).replace(_PLACE, _OWN)


def say(text: str) -> None:
    """Print a status message, such as what was written, to standard error.

    Standard output holds what a command is run for: masks with `-o -`, measurements, tables,
    reports.
    """
    print(text, file=sys.stderr, flush=True)


def tell(notes: Iterable[str], report: TextIO | None = None) -> None:
    """Print what a run reports: what it wrote to standard error, the rest to `report`.

    Args:
        report: Standard output when left out.
    """
    for note in notes:
        print(note, file=sys.stderr if note.startswith(_STATUS) else report, flush=True)


def write_stdout(data: bytes) -> None:
    """Write a file to standard output. Raises InputError for binary data on a terminal."""
    if sys.stdout.isatty() and b"\0" in data:
        raise InputError(
            "An image cannot be shown on a terminal. Redirect it: anymask ... -o - > FILE"
        )
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


class _Stream:
    """A text stream around another one.

    Args:
        otherwise: Where to go on once writing has failed; None: the failure is told.
    """

    def __init__(self, inside: TextIO, otherwise: TextIO | None = None) -> None:
        self._inside, self._otherwise = inside, otherwise

    def write(self, text: str) -> int:
        encoding = self._inside.encoding or "utf-8"
        shown = printable(text).encode(encoding, "backslashreplace").decode(encoding)
        self._attempt(lambda: self._inside.write(shown))
        return len(text)

    def flush(self) -> None:
        self._attempt(self._inside.flush)

    def _attempt(self, work: Any) -> None:
        try:
            work()
        except (OSError, ValueError):
            if self._otherwise is None:
                raise
            self._inside = self._otherwise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inside, name)
