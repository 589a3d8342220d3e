"""Advice that is given once: what was said is remembered in ANYMASK_HOME, for all processes.

A home that cannot be written to remembers for this process only.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from contextvars import ContextVar

from anymask.runtime.store import home

LOG = logging.getLogger(__name__)
FOLDER = "notices"  # in the home, an empty file for each

_given: set[str] = set()  # by this process
_silent: ContextVar[bool] = ContextVar("silent", default=False)


@contextlib.contextmanager
def without_advice() -> Iterator[None]:
    """No advice inside the `with`: what runs there was not chosen by the user."""
    before = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(before)


def advise_once(name: str, text: str) -> None:
    """Log a piece of advice as a warning, once on this machine.

    name  of the advice, as part of a file's name
    """
    if _silent.get() or name in _given:
        return
    _given.add(name)
    with contextlib.suppress(OSError):  # of a home that cannot be written to
        folder = home() / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        try:
            (folder / name).touch(exist_ok=False)
        except FileExistsError:
            return
    LOG.warning(text)
