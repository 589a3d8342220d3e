"""HTTP requests with deadlines; all network access goes through this module.

A socket timeout restarts with each byte, so a server can block a reader forever with an occasional
byte. Here one deadline applies to the headers (`ANSWER_S`), and another one to each `STALL_BYTES`
of the content (`STALL_S`). A server that misses a deadline raises TimeoutError.
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
from urllib.error import HTTPError as HTTPError  # re-exported; has the status code

ANSWER_S = 60.0  # seconds until all headers are received, including redirects
STALL_S = 30.0  # seconds for each STALL_BYTES bytes, and for the connection
STALL_BYTES = 30_000
TRANSFER_ERRORS = (OSError, http.client.HTTPException, ValueError)  # of opening and reading a URL
_BLOCK_BYTES = 1 << 18


class Deadline:
    """Time by which a server must have sent more data."""

    def __init__(self, seconds: float) -> None:
        self.set(seconds)

    def set(self, seconds: float) -> None:
        """Set the deadline to `seconds` from now."""
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Return the remaining seconds. Raises TimeoutError if the deadline has passed."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError("The server stalled")
        return left


def open_address(
    address: str, headers: Mapping[str, str], deadline: Deadline, *, follow: bool = True
) -> Any:
    """Open a URL; reading the response raises TimeoutError when the deadline has passed.

    Args:
        address: URL (http, https or file).
        headers: Request headers.
        deadline: Deadline for the headers, `ANSWER_S` from now. `read_blocks` moves it.
        follow: Whether to follow redirects, by the rules of `SafeRedirects`.

    Raises:
        OSError, HTTPException, ValueError: `TRANSFER_ERRORS`, as `urllib.request` raises them.
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
    """Download a URL. Check the length: content above the limit is cut, but longer than the limit.

    Args:
        address: URL (http, https or file).
        headers: Request headers.
        max_bytes: Limit. Longer content is returned truncated, with more than `max_bytes` bytes.
        answer_s: Seconds until all headers are received. Defaults to `ANSWER_S`.
        follow: Whether to follow redirects, by the rules of `SafeRedirects`.

    Raises:
        OSError, HTTPException, ValueError: `TRANSFER_ERRORS`, as `urllib.request` raises them.
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
    """Yield the content of a response in blocks. Raises TimeoutError if the server stalls."""
    deadline.set(STALL_S)
    count = 0
    while block := response.read1(_BLOCK_BYTES):
        count += len(block)
        if count >= STALL_BYTES:
            deadline.set(STALL_S)
            count = 0
        yield block


class SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to http and https, but not from https to unencrypted http."""

    def redirect_request(self, *details: Any) -> urllib.request.Request | None:
        """Create the redirected request. Raises ValueError for other kinds of URL."""
        request, _, _, _, _, address = details
        before, after = (url.partition(":")[0].lower() for url in (request.full_url, address))
        if after not in ("http", "https") or (before == "https" and after != "https"):
            raise ValueError(
                f"The address redirects from {before} to {address[:200]}, which is not followed"
            )
        return super().redirect_request(*details)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *details: Any) -> None:
        """Do not follow: a redirect can lead to another machine."""


class _TimedHandler(urllib.request.HTTPSHandler, urllib.request.HTTPHandler):
    """Open http and https URLs with a deadline for reading the response."""

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
    """Raw stream of a connection that respects a deadline."""

    def __init__(self, raw: Any, connection: socket.socket, deadline: Deadline) -> None:
        self._raw, self._connection, self._deadline = raw, connection, deadline

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Fill part of the buffer. Raises TimeoutError or OSError."""
        self._connection.settimeout(self._deadline.left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Close the connection."""
        self._raw.close()
        super().close()
