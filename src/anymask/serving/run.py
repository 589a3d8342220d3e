"""Listen on an address until somebody stops the server."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from anymask.primitives.errors import InputError

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
            f"wanted to listen on {host}:{port}, got {reason!r}; name another --port, or 0 for a "
            "free one"
        ) from error
    return bound


def address_of(bound: socket.socket) -> str:
    """http://HOST:PORT of a bound socket."""
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class Server(uvicorn.Server):
    """uvicorn, which tells when it listens."""

    def __init__(self, app: ASGIApp, told: Callable[[], None] = lambda: None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,  # addresses may hold tokens
                server_header=False,
                ws="none",
                lifespan="on",
                timeout_graceful_shutdown=PATIENCE,
            )
        )
        self._told = told

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's; then `told` is called."""
        await super().startup(sockets)
        if self.started:
            self._told()


def serve(app: ASGIApp, bound: socket.socket, told: Callable[[], None]) -> None:
    """Serve until Ctrl-C.

    told  called once the server answers
    """
    with bound:
        Server(app, told).run(sockets=[bound])
