"""Standard streams that accept any text.

Labels and file names are untrusted: control characters, which could move the cursor or rename the
window of a terminal, are printed as escapes (\\x1b), and so are bytes of a file name that are not
valid text. Output to a stream that was closed before the start is discarded; so is output to
standard error after writing to it has failed.
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
_STATUS = ("wrote ", "exists: ")  # prefixes of status messages
_OWN = "\r\x1b[K"  # written by the progress bar: return to the start and clear the line
_PLACE = "\ue000\ue001"  # temporary placeholder of private-use characters


@contextlib.contextmanager
def utf8_stdio() -> Iterator[None]:
    """Wrap standard output and error inside the block."""
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123 - no path of a user's
        sys.stdout = _Stream(before[0] or nowhere)
        sys.stderr = _Stream(before[1] or nowhere, otherwise=nowhere)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


def quieten_decoders() -> None:
    """Suppress messages of Pillow and OpenCV about corrupted images, which raise an error
    anyway."""
    warnings.filterwarnings("ignore", module=r"PIL\.")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # read when OpenCV first logs a message


def printable(text: str) -> str:
    """Escape control characters except tabs and line ends."""
    return text.replace(_OWN, _PLACE).translate(_SHOWN).replace(_PLACE, _OWN)


def tell(notes: Iterable[str], report: TextIO | None = None) -> None:
    """Print notes of a run: status messages to standard error, the rest to `report`.

    Args:
        report: Output stream. Defaults to standard output.
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
    """Text stream that wraps another one.

    Args:
        otherwise: Stream to use after writing has failed. None raises the error.
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
