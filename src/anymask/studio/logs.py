"""Logging of the server and its projects: one handler on the loggers of anymask and uvicorn.

    anymask.studio            the server: where it listens, what it refuses, defects
    anymask.studio.requests   each request: method, path, status, milliseconds
    anymask.studio.model      loading of the model and searches for everything
    anymask.studio.videos     sessions about videos, opened and closed
    anymask.studio.stages     stages run over the photos of a project
    anymask.studio.rounds     rounds of training
    anymask.studio.exports    masks that left a project

A path is logged without its query, which may hold a token.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from anymask.base import InputError

LEVELS = ("debug", "info", "warning", "error")
LogFormat = Literal["text", "json"]
LOGGERS = ("anymask", "uvicorn")
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class JsonLines(logging.Formatter):
    """A record as one line of JSON: time, level, logger, message, what came as `extra`, error."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        row: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        row |= {name: value for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info:
            row["error"] = self.formatException(record.exc_info)
        return json.dumps(row, default=str)


class PlainLines(logging.Formatter):
    """A record as a line of text, in which no control character of a client stays."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's own name
        """The line, without its traceback."""
        line = super().formatMessage(record)
        return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in line)


def log_to_stderr(level: str = "warning", form: LogFormat = "text") -> None:
    """Write what is logged to standard error, in place of what was asked for before.

    level  "debug", "info", "warning" or "error"
    form   "text", or "json": one JSON object a line

    Raises InputError for another word.
    """
    if level not in LEVELS or form not in get_args(LogFormat):
        raise InputError(
            f"wanted a level of {', '.join(LEVELS)} and the format text or json, got "
            f"{level!r} and {form!r}"
        )
    handler = logging.StreamHandler(sys.stderr)
    handler.set_name("anymask")
    handler.setFormatter(JsonLines() if form == "json" else PlainLines())
    for name in LOGGERS:
        logger = logging.getLogger(name)
        for old in [one for one in logger.handlers if one.get_name() == "anymask"]:
            logger.removeHandler(old)
        logger.addHandler(handler)
        logger.setLevel(level.upper())
        logger.propagate = False
