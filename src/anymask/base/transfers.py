"""The one place that opens addresses: downloads end, also those from a server that stalls.

A server that stalls, or whose headers never end, raises TimeoutError.

The timeout of a socket restarts at each byte, so that a server can block a reader forever with a
byte now and then. Here a deadline holds for the headers (`ANSWER_S`), and another one for each
`LEAST` bytes of the content (`STALL_S`).
"""

from __future__ import annotations

import functools
import http.client
import io
import socket
import time
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.error import HTTPError as HTTPError  # with a status; offered to callers

ANSWER_S = 60.0  # until the headers have ended, after all redirects
STALL_S = 30.0  # for LEAST bytes; for a connection to be made
LEAST = 30_000
FAILURES = (OSError, http.client.HTTPException, ValueError)  # of opening and reading an address
_BLOCK = 1 << 18


class Deadline:
    """The moment at which a server must have sent more."""

    def __init__(self, seconds: float) -> None:
        self.set(seconds)

    def set(self, seconds: float) -> None:
        """Move it to so many seconds from now."""
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """The seconds until then. Raises TimeoutError where it has passed."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError("The server stalled")
        return left


def open_address(
    address: str, headers: Mapping[str, str], deadline: Deadline, *, follow: bool = True
) -> Any:
    """Open an address; reading the response raises TimeoutError when the deadline has passed.

    Args:
        address: URL of http, https, or of a file.
        headers: Of the request.
        deadline: `ANSWER_S` from now; `read_blocks` moves it.
        follow: Whether to follow redirects, as `SafeRedirects` does.

    Raises:
        OSError, HTTPException, ValueError: `FAILURES`, as `urllib.request` raises them.
    """
    request = urllib.request.Request(address, headers={**headers})
    redirects = SafeRedirects if follow else _NoRedirects
    opener = urllib.request.build_opener(redirects, _TimedHandler(deadline))
    return opener.open(request, timeout=STALL_S)


def read_address(
    address: str,
    headers: Mapping[str, str],
    max_bytes: int,
    *,
    answer_s: float | None = None,
    follow: bool = True,
) -> bytes:
    """The content at an address, of which reading stops behind `max_bytes`: more came then.

    Args:
        address: See `open_address`.
        headers: See `open_address`.
        max_bytes: A longer content is returned incomplete, with more bytes than these.
        answer_s: Seconds until the headers have ended. Default: `ANSWER_S`.
        follow: See `open_address`.

    Raises:
        OSError, HTTPException, ValueError: `FAILURES`, as `urllib.request` raises them.
    """
    deadline = Deadline(ANSWER_S if answer_s is None else answer_s)
    content = bytearray()
    with open_address(address, headers, deadline, follow=follow) as response:
        for block in read_blocks(response, deadline):
            content += block
            if len(content) > max_bytes:
                break
    return bytes(content)


def read_blocks(response: Any, deadline: Deadline) -> Iterator[bytes]:
    """The content of a response, as it comes. Raises TimeoutError where it stalls."""
    deadline.set(STALL_S)
    count = 0
    while block := response.read1(_BLOCK):
        count += len(block)
        if count >= LEAST:
            deadline.set(STALL_S)
            count = 0
        yield block


class SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https, but never from https to http: what comes from there
    nobody protects."""

    def redirect_request(self, *details: Any) -> urllib.request.Request | None:
        """As the base. Raises ValueError for another kind of address."""
        request, _, _, _, _, address = details
        before, after = (url.partition(":")[0].lower() for url in (request.full_url, address))
        if after not in ("http", "https") or (before == "https" and after != "https"):
            raise ValueError(f"The address redirects from {before} to {address[:200]}")
        return super().redirect_request(*details)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *details: Any) -> None:
        """Follow none: it could lead to another machine."""


class _TimedHandler(urllib.request.HTTPSHandler, urllib.request.HTTPHandler):
    """Opens addresses of http and https whose responses are read until a deadline."""

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._response_class = functools.partial(_TimedResponse, deadline)

    def do_open(self, http_class: Any, *args: Any, **more: Any) -> http.client.HTTPResponse:
        """Send a request, as the base does. Raises OSError."""

        def connect(*args: Any, **more: Any) -> http.client.HTTPConnection:
            connection: http.client.HTTPConnection = http_class(*args, **more)
            connection.response_class = self._response_class  # type: ignore[assignment]
            return connection

        return super().do_open(connect, *args, **more)


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, deadline: Deadline, connection: socket.socket, *args: Any, **more: Any):
        super().__init__(connection, *args, **more)
        self.fp = io.BufferedReader(_TimedSocket(self.fp.detach(), connection, deadline))


class _TimedSocket(io.RawIOBase):
    """What a connection sends, until a deadline."""

    def __init__(self, raw: Any, connection: socket.socket, deadline: Deadline) -> None:
        self._raw, self._connection, self._deadline = raw, connection, deadline

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Fill a part of the buffer. Raises TimeoutError, OSError."""
        self._connection.settimeout(self._deadline.left())
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        """Close the connection."""
        self._raw.close()
        super().close()
