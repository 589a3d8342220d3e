"""Clients that are slow, for ever or on purpose: nobody waits for them without end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.types import Message

from anymask.studio import ServerParts, create_app
from anymask.studio.errors import RequestError
from anymask.studio.limits import SLOWEST, Limits
from anymask.studio.middleware import BoundedBody
from tests.patience import PATIENCE_S
from tests.studio.servers import IMAGE, inference, listening, png

HALF = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long:"
WHOLE = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
SCOPE: dict[str, Any] = {
    "type": "http", "method": "POST", "path": "/api/encode", "raw_path": b"/api/encode",
    "query_string": b"", "http_version": "1.1", "scheme": "http", "root_path": "",
    "headers": [(b"host", b"127.0.0.1"), (b"content-length", b"600")],
}  # fmt: skip


@contextlib.contextmanager
def connecting(limits: Limits) -> Iterator[Callable[[], socket.socket]]:
    """A server; what is given connects to it."""
    with listening(ServerParts(inference()), limits) as address, contextlib.ExitStack() as stack:
        place = urlsplit(address)

        def connect() -> socket.socket:
            made = socket.create_connection((place.hostname, place.port), PATIENCE_S)
            return stack.enter_context(made)

        yield connect


def ending(one: socket.socket) -> bytes:
    """What comes until the server closes the connection; fails where it does not."""
    with contextlib.suppress(ConnectionResetError):
        return one.recv(65536)
    return b""


def answer(one: socket.socket, request: bytes) -> bytes:
    """The whole answer to /health."""
    one.sendall(request)
    got = b""
    while not got.endswith(b"}"):
        part = one.recv(65536)
        assert part, "closed"
        got += part
    return got


@pytest.mark.parametrize("sent", [b"", HALF])
def test_a_header_that_never_ends_is_not_waited_for(sent: bytes) -> None:
    with connecting(Limits(header_seconds=0.2)) as connect:
        one = connect()
        one.sendall(sent)
        assert ending(one) == b""


def test_a_second_header_that_never_ends_is_not_waited_for() -> None:
    with connecting(Limits(header_seconds=0.2)) as connect:
        one = connect()
        assert answer(one, WHOLE).startswith(b"HTTP/1.1 200")
        one.sendall(HALF)
        assert ending(one) == b""


def test_the_oldest_of_too_many_half_headers_goes_and_whole_ones_are_answered() -> None:
    with connecting(Limits(header_seconds=1000, headers_waiting=2)) as connect:
        oldest, second, third = connect(), connect(), connect()
        for one in (oldest, second, third):
            one.sendall(HALF)
        assert ending(oldest) == b""
        for one in (second, third):
            assert answer(one, b"x\r\n\r\n").startswith(b"HTTP/1.1 200")


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time a test moves."""

    now = 1000.0

    def time(self) -> float:
        return self.now


def read_body(parts: list[tuple[float, int]], seconds: float = 60) -> int:
    """Take a body of (seconds later, bytes) parts; returns the bytes."""
    loop = Clock()
    left = list(parts)

    async def receive() -> Message:
        later, size = left.pop(0)
        loop.now += later
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return {"type": "http.request", "body": bytes(size), "more_body": bool(left)}

    async def read() -> int:
        body, got, more = (
            BoundedBody(receive, 10**9, seconds, None, lambda size, whole: None),
            0,
            True,
        )
        while more:
            message = await body()
            got, more = got + len(message["body"]), message["more_body"]
        return got

    try:
        return loop.run_until_complete(read())
    finally:
        loop.close()


def test_the_seconds_of_a_body_are_counted_in_all() -> None:
    with pytest.raises(
        RequestError, match="after 4 bytes, it was slower than 64000 bytes per second"
    ):
        read_body([(15, 1)] * 100)
    assert read_body([(15, 1)] * 3) == 3


def test_a_long_body_may_take_longer() -> None:
    assert read_body([(1, SLOWEST)] * 500) == 500 * SLOWEST
    for parts in ([(61, SLOWEST)], [(0, 1000 * SLOWEST), (61, SLOWEST)]):
        with pytest.raises(RequestError, match="was not received in time"):
            read_body(parts)


def test_requests_count_only_when_their_bodies_have_arrived() -> None:
    head = b"POST /api/encode HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: "
    image = png(IMAGE)
    with connecting(Limits(requests=1, upload_bytes=10**6, body_bytes=10**6)) as connect:
        for _ in range(3):
            connect().sendall(head + b"1000000\r\n\r\nx")
        one = connect()
        one.sendall(head + str(len(image)).encode() + b"\r\n\r\n" + image)
        assert one.recv(65536).startswith(b"HTTP/1.1 200")


def test_an_address_holds_half_of_the_bytes() -> None:
    limits = Limits(upload_bytes=1000, body_bytes=2000)
    app = create_app(ServerParts(inference(), limits=limits))

    async def post(address: str, held: asyncio.Event | None = None) -> int:
        sent: list[Message] = []
        parts = [{"type": "http.request", "body": bytes(900), "more_body": held is not None}]

        async def receive() -> Message:
            if not parts and held is not None:
                await held.wait()
            return parts.pop() if parts else {"type": "http.request"}

        async def send(message: Message) -> None:
            sent.append(message)

        await app(SCOPE | {"client": (address, 1)}, receive, send)
        return int(sent[0]["status"])

    async def check() -> None:
        held = asyncio.Event()
        tasks = [asyncio.create_task(post("10.0.0.1", held))]
        await asyncio.sleep(0)
        assert [await post("10.0.0.1"), await post("10.0.0.2")] == [429, 415]
        tasks.append(asyncio.create_task(post("10.0.0.2", held)))
        await asyncio.sleep(0)
        assert await post("10.0.0.3") == 429
        held.set()
        assert [*await asyncio.gather(*tasks), await post("10.0.0.1")] == [415] * 3

    asyncio.run(check())


def test_a_client_that_leaves_within_its_body_writes_no_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app, sent = create_app(ServerParts(inference())), []
    messages = iter([
        {"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.disconnect"},
    ])  # fmt: skip

    async def receive() -> Message:
        return next(messages)

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(SCOPE, receive, send))
    assert sent[0]["status"] == 499
    assert caplog.records == []
