"""uvicorn with our limits, an application on a bound socket until it is stopped; and logging.

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

import asyncio
import json
import logging
import socket
import sys
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, cast, get_args

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from anymask.base import InputError
from anymask.studio.limits import Limits

LEVELS = ("debug", "info", "warning", "error")
LogFormat = Literal["text", "json"]
LOGGERS = ("anymask", "uvicorn")
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
BACKLOG = 128  # connections that are accepted at once: fewer than a process may have open
PATIENCE = 5  # seconds for what is under way when the server is stopped


def open_socket(host: str, port: int) -> socket.socket:
    """Bind an address; port 0 takes a free one. Raises InputError."""
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(kind, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host.strip("[]"), port))
    except (OSError, OverflowError) as error:
        bound.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"The server cannot listen on {host}:{port}: {reason}. Choose another --port, "
            "or 0 for a free one."
        ) from error
    return bound


def address_of(bound: socket.socket) -> str:
    """http://HOST:PORT of a bound socket."""
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class PendingConnections:
    """Connections of which no header of a request is there yet; the oldest of too many goes."""

    def __init__(self, limits: Limits) -> None:
        self._seconds, self._most = limits.header_seconds, limits.headers_waiting
        self._waiting: dict[asyncio.Transport, asyncio.TimerHandle] = {}  # the oldest first

    def wait(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """A header is expected from now on; asked again, the time runs on from the first asking."""
        if transport in self._waiting:
            return
        self._waiting[transport] = loop.call_later(self._seconds, transport.abort)
        if len(self._waiting) > self._most:
            oldest = next(iter(self._waiting))
            self.come(oldest)
            oldest.abort()

    def come(self, transport: asyncio.Transport) -> None:
        """The header is there, or the connection has gone."""
        timer = self._waiting.pop(transport, None)
        if timer is not None:
            timer.cancel()


class TimedProtocol(H11Protocol):
    """uvicorn's HTTP with a time limit for headers, which uvicorn has not."""

    def __init__(self, pending: PendingConnections, **more: Any) -> None:
        super().__init__(**more)
        self._pending = pending

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """A client is there."""
        super().connection_made(transport)
        self._pending.wait(transport, self.loop)

    def data_received(self, data: bytes) -> None:
        """Some bytes, of which the last of a header may be one."""
        before = cast("RequestResponseCycle | None", self.cycle)  # None until the first request
        idle = before is None or before.response_complete
        super().data_received(data)
        if self.cycle is not before:
            self._pending.come(self.transport)
        elif idle:  # the beginning of a further request
            self._pending.wait(self.transport, self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._pending.come(self.transport)
        super().connection_lost(exc)


class Server(uvicorn.Server):
    """uvicorn, which tells when it listens.

    Args:
        app: Of `create_app`.
        told: Called once it listens.
    """

    def __init__(
        self,
        app: FastAPI,
        told: Callable[[], None] = lambda: None,
        limits: Limits | None = None,
    ) -> None:
        protocol = partial(TimedProtocol, PendingConnections(limits or Limits()))
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,  # type: ignore[arg-type]  # called as the class would be
                log_config=None,  # `log_to_stderr` says where, if anybody wants it
                access_log=False,  # addresses may hold tokens
                server_header=False,
                ws="none",
                lifespan="on",
                backlog=BACKLOG,
                timeout_graceful_shutdown=PATIENCE,
            )
        )
        self._told, self._videos = told, app.state.videos

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's; then `told` is called."""
        await super().startup(sockets)
        if self.started:
            self._told()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's; before it waits for what is under way, scans are given up."""
        self._videos.stop()
        await super().shutdown(sockets)


def run_server(
    app: FastAPI,
    bound: socket.socket,
    told: Callable[[], None],
    limits: Limits | None = None,
    model: Future[Any] | None = None,
) -> None:
    """Serve until Ctrl-C, or until the model turns out to be none.

    Raises what loading the model raised.

    Args:
        told: Called once the server answers.
        limits: How long it waits for headers.
        model: That is being loaded, without which the server is of no use.
    """
    server, failed = Server(app, told, limits), []

    def ready(loaded: Future[Any]) -> None:
        error = None if loaded.cancelled() else loaded.exception()
        if error is not None and not server.should_exit:  # at its end, the server gives loading up
            failed.append(error)
            server.should_exit = True

    if model is not None:
        model.add_done_callback(ready)
    with bound:
        server.run(sockets=[bound])
    if failed:
        raise failed[0]


# Logging.


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

    Raises InputError for another word.

    Args:
        level: "debug", "info", "warning" or "error".
        form: "text", or "json": one JSON object a line.
    """
    if level not in LEVELS or form not in get_args(LogFormat):
        raise InputError(
            f"The log level must be one of {', '.join(LEVELS)}, and the format text or "
            f"json. Given: {level!r} and {form!r}."
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
