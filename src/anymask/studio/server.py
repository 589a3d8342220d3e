"""uvicorn server with time limits, and logging.

    anymask.studio            the server: address, rejected requests, internal errors
    anymask.studio.requests   each request: method, path, status, milliseconds
    anymask.studio.model      model loading and automatic mask generation
    anymask.studio.videos     video sessions, opened and closed
    anymask.studio.proposals     stages on the images of a project
    anymask.studio.retraining     training rounds
    anymask.studio.exports    exports of a project

Paths are logged without the query, which may contain a token.
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

LOG_LEVELS = ("debug", "info", "warning", "error")
LogFormat = Literal["text", "json"]
LOGGERS = ("anymask", "uvicorn")
_LOG_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
SHUTDOWN_SECONDS = 5  # grace period of running requests on shutdown, in seconds


def open_socket(host: str, port: int) -> socket.socket:
    """Bind an address. Port 0 selects a free port.

    Raises:
        InputError: The address is not available.
    """
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host.strip("[]"), port))
    except (OSError, OverflowError) as error:
        bound.close()
        reason = (getattr(error, "strerror", None) or str(error)).rstrip(".")
        raise InputError(
            f"The server cannot listen on {host}:{port}: {reason}. Choose another --port."
        ) from error
    return bound


def address_of(bound: socket.socket) -> str:
    """URL http://HOST:PORT of a bound socket."""
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class PendingConnections:
    """Connections without a complete request header. The oldest is closed if there are too many."""

    def __init__(self, limits: Limits) -> None:
        self._seconds, self._most = limits.header_seconds, limits.headers_waiting
        self._waiting: dict[asyncio.Transport, asyncio.TimerHandle] = {}  # oldest first

    def wait(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """Start the timer of a connection, unless it is already running."""
        if transport in self._waiting:
            return
        self._waiting[transport] = loop.call_later(self._seconds, transport.abort)
        if len(self._waiting) > self._most:
            oldest = next(iter(self._waiting))
            self.come(oldest)
            oldest.abort()

    def come(self, transport: asyncio.Transport) -> None:
        """Stop the timer: the header is complete, or the connection was closed."""
        timer = self._waiting.pop(transport, None)
        if timer is not None:
            timer.cancel()


class TimedProtocol(H11Protocol):
    """HTTP protocol of uvicorn with a time limit for headers."""

    def __init__(self, pending: PendingConnections, **more: Any) -> None:
        super().__init__(**more)
        self._pending = pending

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._pending.wait(transport, self.loop)

    def data_received(self, data: bytes) -> None:
        before = cast("RequestResponseCycle | None", self.cycle)  # None until the first request
        idle = before is None or before.response_complete
        super().data_received(data)
        if self.cycle is not before:
            self._pending.come(self.transport)
        elif idle:  # start of another request
            self._pending.wait(self.transport, self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pending.come(self.transport)
        super().connection_lost(exc)


class Server(uvicorn.Server):
    """uvicorn server with a callback after startup.

    Args:
        app: Application from `create_app`.
        on_listening: Called when the server listens.
    """

    def __init__(
        self,
        app: FastAPI,
        on_listening: Callable[[], None] = lambda: None,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=partial(TimedProtocol, PendingConnections(limits or Limits())),  # type: ignore[arg-type]  # called like the class
                log_config=None,  # see `log_to_stderr`
                access_log=False,  # URLs may contain tokens
                server_header=False,
                ws="none",
                lifespan="on",
                backlog=128,  # less than the usual limit of open files
                timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            )
        )
        self._on_listening, self._videos = on_listening, app.state.videos

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._videos.stop()  # cancels reading of scans
        await super().shutdown(sockets)


def run_server(
    app: FastAPI,
    bound: socket.socket,
    on_listening: Callable[[], None],
    limits: Limits | None = None,
    model: Future[Any] | None = None,
) -> None:
    """Serve until Ctrl-C, or until loading the model fails.

    Raises the error of loading the model.

    Args:
        on_listening: Called when the server listens.
        limits: Time limits of headers.
        model: Future of the model.
    """
    server, failed = Server(app, on_listening, limits), []

    def ready(loaded: Future[Any]) -> None:
        error = None if loaded.cancelled() else loaded.exception()
        if error is not None and not server.should_exit:  # on shutdown, the server cancels loading
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
    """Format a log record as one line of JSON, including `extra` fields and errors."""

    def format(self, record: logging.LogRecord) -> str:
        row: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        row |= {name: value for name, value in vars(record).items() if name not in _LOG_FIELDS}
        if record.exc_info:
            row["error"] = self.formatException(record.exc_info)
        return json.dumps(row, default=str)


class PlainLines(logging.Formatter):
    """Format a log record as text, with control characters escaped."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # name defined by logging
        line = super().formatMessage(record)
        return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)


def log_to_stderr(level: str = "warning", format: LogFormat = "text") -> None:
    """Configure logging to standard error, replacing an earlier configuration.

    Raises InputError for other values.

    Args:
        level: "debug", "info", "warning" or "error".
        format: "text", or "json": one JSON object per line.
    """
    if level not in LOG_LEVELS or format not in get_args(LogFormat):
        raise InputError(
            f"The log level {level!r} or format {format!r} is invalid. Use {', '.join(LOG_LEVELS)}."
        )
    handler = logging.StreamHandler(sys.stderr)
    handler.set_name("anymask")
    handler.setFormatter(JsonLines() if format == "json" else PlainLines())
    for name in LOGGERS:
        logger = logging.getLogger(name)
        for old in [handler for handler in logger.handlers if handler.get_name() == "anymask"]:
            logger.removeHandler(old)
        logger.addHandler(handler)
        logger.setLevel(level.upper())
        logger.propagate = False
