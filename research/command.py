"""Run a research command and convert its errors to an exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable

from anymask.base import AnymaskError


def exit_status(name: str, run: Callable[[], object]) -> int:
    """Run a command; print an AnymaskError to stderr and return 2, else return 0."""
    try:
        run()
    except AnymaskError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    return 0
